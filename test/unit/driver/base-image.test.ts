import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { extract } from 'tar-stream'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { BASE_LABEL, buildBases, contextArchive, missingBases, removeBases } from '#driver/wine/base-image.ts'
import { type GuestFile, hashOf } from '#driver/wine/guest-folder.ts'
import type { ProgressEvent } from '#lib/progress.ts'
import { FakeEngine } from './fake-engine.ts'

const file = (path: string, text: string, mode = 0o644): GuestFile => ({ path, mode, data: Buffer.from(text) })
const files = [file('Dockerfile', 'FROM debian'), file('init.c', 'int main;', 0o755)]
const hash = hashOf(files)
let fake: FakeEngine
let events: ProgressEvent[]

beforeEach(async () => {
  fake = await new FakeEngine().start()
  events = []
})
afterEach(() => fake.stop())

function work() {
  return {
    signal: new AbortController().signal,
    report: (event: ProgressEvent) => void events.push(event),
    logFile: join(fake.folder, 'build.log'),
    engineArch: 'amd64',
    dataRoot: '/data'
  }
}

test('the hash tells content, names and modes apart, and nothing else', () => {
  expect(hashOf([...files])).toBe(hash)
  expect(hashOf([file('Dockerfile', 'FROM debian '), ...files.slice(1)])).not.toBe(hash)
  expect(hashOf([file('Dockerfile2', 'FROM debian'), ...files.slice(1)])).not.toBe(hash)
  expect(hashOf([...files.slice(0, 1), file('init.c', 'int main;')])).not.toBe(hash)
  expect(hashOf([file('a', 'bc')])).not.toBe(hashOf([file('ab', 'c')]))
})

test('the build context is the same bytes for the same files', async () => {
  const bytes = async () => Buffer.concat(await contextArchive(files).toArray())
  const first = await bytes()
  expect(first.equals(await bytes())).toBe(true)
  const names: string[] = []
  const reader = extract()
  reader.on('entry', (header, body, next) => {
    names.push(`${header.name} ${header.mode?.toString(8)}`)
    body.resume()
    next()
  })
  await new Promise<void>(resolve => reader.on('finish', () => resolve()).end(first))
  expect(names).toEqual(['Dockerfile 644', 'init.c 755'])
})

test('only images of this hash count as present', async () => {
  expect(await missingBases(fake.engine, hash)).toEqual(['ltsc2019', 'ltsc2022', 'ltsc2025'])
  fake.has('oriel/wine:ltsc2019', { [BASE_LABEL]: hash })
  fake.has('oriel/wine:ltsc2022', { [BASE_LABEL]: 'older' })
  expect(await missingBases(fake.engine, hash)).toEqual(['ltsc2022', 'ltsc2025'])
})

test('every release is built, with its target, label and progress', async () => {
  await buildBases(fake.engine, files, work())
  expect(await missingBases(fake.engine, hash)).toEqual([])
  const builds = fake.named('POST', '/build')
  expect(builds.map(({ query }) => query.get('target'))).toEqual(['ltsc2019', 'ltsc2022', 'ltsc2025'])
  expect(builds.every(({ query }) => query.get('version') === '1' && !query.has('platform'))).toBe(true)
  expect(events).toContainEqual({ type: 'step', stage: 'base image', text: 'ltsc2019: RUN true', fraction: 0.45 })
  expect(readFileSync(join(fake.folder, 'build.log'), 'utf8')).toContain('Step 2/2 : RUN true')
})

test('on an arm64 engine the images are for amd64', async () => {
  await buildBases(fake.engine, files, { ...work(), engineArch: 'arm64' })
  expect(fake.named('POST', '/build')[0]?.query.get('platform')).toBe('linux/amd64')
})

test('a build without network is tried again on the network of the host, and the later ones begin there', async () => {
  fake.build = ({ query }) =>
    query.get('networkmode') === 'host'
      ? [{ stream: 'ok' }]
      : [{ stream: "W: Temporary failure resolving 'mirror.example'\n" }, { error: 'returned a non-zero code: 100' }]
  await buildBases(fake.engine, files, work())
  const modes = fake.named('POST', '/build').map(({ query }) => query.get('networkmode'))
  expect(modes).toEqual([null, 'host', 'host', 'host'])
})

test('the images of single steps go, but for those that have a name or are needed', async () => {
  fake.build = () => [
    { stream: ' ---> aaaaaaaaaaaa\n' },
    { stream: ' ---> bbbbbbbbbbbb\n' },
    { stream: ' ---> cccccccccccc\n' }
  ]
  fake.has('aaaaaaaaaaaa')
  fake.has('bbbbbbbbbbbb')
  Object.assign(fake.images.get('aaaaaaaaaaaa') ?? {}, { RepoTags: ['debian:trixie-slim'] })
  await buildBases(fake.engine, files, work())
  expect([...fake.images.keys()].sort()).toEqual([
    'aaaaaaaaaaaa',
    'oriel/wine:ltsc2019',
    'oriel/wine:ltsc2022',
    'oriel/wine:ltsc2025'
  ])
})

test('a failed step is told with the end of the output and the log', async () => {
  fake.build = () => [{ stream: 'Step 1/1 : RUN cc\n' }, { stream: 'cc: no input\n' }, { error: 'returned code 1' }]
  await expect(buildBases(fake.engine, files, work())).rejects.toMatchObject({
    name: 'Fault',
    exitCode: 1,
    message: expect.stringMatching(/returned code 1\n.*cc: no input/s),
    hint: expect.stringContaining('build.log')
  })
  expect(fake.named('POST', '/build')).toHaveLength(1)
})

test('a full disk is told as such', async () => {
  fake.build = () => [{ error: 'write /x: no space left on device' }]
  await expect(buildBases(fake.engine, files, work())).rejects.toMatchObject({
    exitCode: 4,
    message: expect.stringContaining('no space left in /data'),
    hint: expect.stringContaining('docker system prune')
  })
})

test('an answer that is not JSON is an error of the build', async () => {
  fake.other = ({ path }, response) => {
    if (path !== '/build') return false
    response.statusCode = 502
    response.end('<html>Bad Gateway</html>')
    return true
  }
  await expect(buildBases(fake.engine, files, work())).rejects.toThrow('Bad Gateway')
})

test('a build that is interrupted says so', async () => {
  const controller = new AbortController()
  fake.other = ({ path }) => {
    if (path === '/build') controller.abort()
    return path === '/build'
  }
  await expect(buildBases(fake.engine, files, { ...work(), signal: controller.signal })).rejects.toMatchObject({
    exitCode: 130
  })
})

test('removing takes what may be removed', async () => {
  fake.has('oriel/wine:ltsc2022')
  expect(await removeBases(fake.engine, new AbortController().signal)).toEqual(['oriel/wine:ltsc2022'])
})
