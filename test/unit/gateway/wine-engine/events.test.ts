import { request } from 'node:http'
import { afterEach, describe, expect, test } from 'vitest'
import { translateFilters } from '#gateway/wine-engine/events.ts'
import { launchArguments } from '#image/launch.ts'
import { CONTAINER_LABEL, IMAGE_LABEL, MACHINE_LABEL } from '#image/windows-config.ts'
import { type FakeAnswer, type Stage, stage } from '../../../support/fake-engine.ts'

const record = JSON.stringify({ machine: 'm1', image: 'windowsservercore', config: {}, mounts: [], folders: [] })
const own = { [MACHINE_LABEL]: 'm1', [CONTAINER_LABEL]: record, mine: 'x' }

let open: Stage | undefined
afterEach(async () => {
  await open?.close()
  open = undefined
})

interface Event {
  Type: string
  Action: string
  Actor: { ID: string; Attributes: Record<string, string> }
  [name: string]: unknown
}

function event(Type: string, Action: string, ID: string, Attributes: Record<string, string>, more = {}): Event {
  return { Type, Action, Actor: { ID, Attributes }, scope: 'local', ...more }
}

/** What a client sees of these events. */
async function seen(
  events: (Event | string)[],
  options: { query?: string; answers?: Record<string, FakeAnswer>; accept?: string } = {}
): Promise<string> {
  open = await stage({
    ...options.answers,
    'GET /events': ({ query }, response) => {
      // The gateway's own listener for --rm.
      if (query.get('filters')?.includes('"die"') === true) {
        response.flushHeaders()
        return undefined
      }
      for (const each of events) response.write(typeof each === 'string' ? each : `${JSON.stringify(each)}\n`)
      response.end()
      return undefined
    }
  })
  const answer = await open.client.request('GET', `/v1.41/events${options.query ?? ''}`)
  return Buffer.concat(await answer.body.toArray()).toString()
}

async function shown(...parameters: Parameters<typeof seen>): Promise<Event[]> {
  return (await seen(...parameters))
    .split('\n')
    .filter(Boolean)
    .map(line => JSON.parse(line))
}

describe('containers', () => {
  test('of this machine are shown, by the image that the client named and without labels of Oriel', async () => {
    const [only, ...rest] = await shown([
      event(
        'container',
        'start',
        'c1',
        { ...own, image: 'sha256:1', name: 'a' },
        { status: 'start', id: 'c1', from: 'sha256:1' }
      ),
      event('container', 'start', 'c2', { [MACHINE_LABEL]: 'm2', [CONTAINER_LABEL]: record }),
      event('container', 'start', 'c3', { image: 'debian' })
    ])
    expect(rest).toEqual([])
    expect(only).toEqual({
      Type: 'container',
      Action: 'start',
      status: 'start',
      id: 'c1',
      from: 'windowsservercore',
      scope: 'local',
      Actor: { ID: 'c1', Attributes: { image: 'windowsservercore', name: 'a', mine: 'x' } }
    })
  })

  test('exec shows the Windows command, and those of the gateway do not show', async () => {
    const launch = launchArguments({
      commandLine: 'cmd /c echo "a b"',
      cwd: 'C:\\',
      user: '',
      env: [],
      role: 'exec',
      services: 'auto',
      state: '/oriel/run/exec-1'
    })
    const actions = await shown([
      event('container', `exec_create: ${launch.join(' ')}`, 'c1', { ...own, execID: 'e1' }, { status: 'x' }),
      event('container', `exec_start: ${launch.join(' ')}`, 'c1', { ...own, execID: 'e1' }),
      event('container', 'exec_create: /oriel/init resolve C:\\x', 'c1', { ...own, execID: 'e2' }),
      event('container', 'exec_start: /oriel/init resolve C:\\x', 'c1', { ...own, execID: 'e2' }),
      event('container', 'exec_die', 'c1', { ...own, execID: 'e2', exitCode: '0' }),
      event('container', 'exec_die', 'c1', { ...own, execID: 'e1', exitCode: '3' }),
      event('container', 'archive-path', 'c1', own)
    ])
    expect(actions.map(({ Action, status }) => [Action, status])).toEqual([
      ['exec_create: cmd /c echo "a b"', 'exec_create: cmd /c echo "a b"'],
      ['exec_start: cmd /c echo "a b"', undefined],
      ['exec_die', undefined]
    ])
  })

  test('can be asked for by image', async () => {
    const events = [event('container', 'start', 'c1', { ...own, image: 'sha256:1' })]
    const filtered = (image: string) =>
      shown(events, { query: `?${new URLSearchParams({ filters: `{"image":["${image}"]}` })}` })
    expect(await filtered('windowsservercore')).toHaveLength(1)
    await open?.close()
    expect(await filtered('nanoserver')).toHaveLength(0)
  })
})

test('images: the Windows ones, also when they have lost their labels', async () => {
  const events = await shown(
    [
      event('image', 'tag', 'sha256:1', { [IMAGE_LABEL]: '{}', name: 'a:1' }),
      event('image', 'delete', 'sha256:1', { name: 'sha256:1' }),
      event('image', 'delete', 'sha256:2', { name: 'sha256:2' }),
      event('image', 'delete', 'sha256:3', { name: 'sha256:3' }),
      event('image', 'tag', 'sha256:4', { [IMAGE_LABEL]: '{}', name: 'oriel/wine:ltsc2022' })
    ],
    { answers: { 'GET /images/json': [{ Id: 'sha256:2' }] } }
  )
  expect(events.map(({ Actor }) => Actor.ID)).toEqual(['sha256:1', 'sha256:1', 'sha256:2'])
  expect(events[0]?.Actor.Attributes).toEqual({ name: 'a:1' })
})

test('networks and volumes: those of this machine, under their Windows names', async () => {
  const events = await shown(
    [
      event('network', 'connect', 'b1', { name: 'bridge', type: 'bridge', container: 'c1' }),
      event('network', 'connect', 'b1', { name: 'bridge', type: 'bridge', container: 'c2' }),
      event('network', 'connect', 'h1', { name: 'host', type: 'host', container: 'c1' }),
      event('network', 'destroy', 'n1', { name: 'app', type: 'bridge' }),
      event('volume', 'mount', 'v1', { destination: '/c/drive_c/data', driver: 'local' }),
      event('volume', 'mount', 'v2', { destination: '/x', driver: 'local' }),
      event('daemon', 'reload', 'd', {}),
      event('builder', 'prune', '', {})
    ],
    {
      answers: {
        'GET /containers/c1/json': { Config: { Labels: own } },
        'GET /containers/c2/json': { Config: { Labels: {} } },
        'GET /networks': [{ Id: 'n1', Labels: own }],
        'GET /volumes/v1': { Name: 'v1', Labels: own },
        'GET /volumes/v2': { Name: 'v2', Labels: null }
      }
    }
  )
  expect(events.map(({ Actor }) => Actor)).toEqual([
    { ID: 'b1', Attributes: { name: 'nat', type: 'nat', container: 'c1' } },
    { ID: 'n1', Attributes: { name: 'app', type: 'nat' } },
    { ID: 'v1', Attributes: { destination: 'C:\\data', driver: 'local' } }
  ])
})

test('nanoseconds keep all their digits', async () => {
  const line = JSON.stringify(event('container', 'start', 'c1', own, { timeNano: 0 }))
  const text = await seen([`${line.replace('"timeNano":0', '"timeNano":1795437493147828573')}\n`])
  expect(text).toContain('"timeNano":1795437493147828573')
})

test('a JSON text sequence stays one', async () => {
  const text = await seen([`\x1e${JSON.stringify(event('container', 'start', 'c1', own))}\n`])
  expect(text.startsWith('\x1e{')).toBe(true)
})

test('filters: nat is the bridge, and the image is left to the view', () => {
  const { engine, images } = translateFilters(
    new Map([
      ['network', ['nat', 'app']],
      ['image', ['a']],
      ['type', ['container']]
    ])
  )
  expect(Object.fromEntries(engine)).toEqual({ network: ['bridge', 'app'], type: ['container'] })
  expect(images).toEqual(['a'])
})

test('the head comes before the first event', async () => {
  open = await stage({ 'GET /events': (_request, response) => response.flushHeaders() })
  const { socket } = open
  const status = await new Promise<number | undefined>((resolve, reject) => {
    const asked = request({ socketPath: socket, path: '/events' }, response => {
      resolve(response.statusCode)
      asked.destroy()
    })
    asked.on('error', reject).end()
  })
  expect(status).toBe(200)
})
