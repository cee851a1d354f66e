import { expect, test } from 'vitest'
import { type FinderHost, findEngine, usualSockets } from '#driver/wine/engine-finder.ts'
import type { EngineFacts } from '#driver/wine/engine-probe.ts'
import { Fault } from '#lib/fault.ts'

const linux: EngineFacts = {
  version: '28.0.0',
  apiVersion: '1.48',
  os: 'linux',
  arch: 'amd64',
  operatingSystem: 'Debian',
  dataRoot: '/data',
  podman: false,
  gateway: false
}

function host(engines: Record<string, Partial<EngineFacts>>, more: Partial<FinderHost> = {}): FinderHost {
  return {
    home: '/home/me',
    platform: 'linux',
    uid: 1000,
    currentContext: async () => undefined,
    socket: async path => (`unix://${path}` in engines ? 'there' : 'absent'),
    probe: async ({ url }) => {
      const facts = engines[url]
      if (facts === undefined) throw new Fault(`nobody at ${url}`, { exitCode: 4 })
      return { ...linux, ...facts }
    },
    ...more
  }
}

function find(
  engines: Record<string, Partial<EngineFacts>>,
  options: { asked?: Parameters<typeof findEngine>[0]; env?: NodeJS.ProcessEnv; host?: Partial<FinderHost> } = {}
) {
  const work = { machine: 'x', env: options.env ?? {}, signal: new AbortController().signal, report: () => undefined }
  return findEngine(options.asked ?? {}, work, host(engines, options.host))
}

const context = (url: string, ours = false) => ({
  currentContext: async () => ({ name: 'mine', reference: { url }, ours })
})

test('what is asked for comes before all else', async () => {
  const found = await find(
    { 'unix:///asked': {}, 'unix:///recorded': {} },
    { asked: { url: 'unix:///asked', recorded: { url: 'unix:///recorded' } }, env: { DOCKER_HOST: 'unix:///env' } }
  )
  expect(found).toEqual({
    reference: { url: 'unix:///asked' },
    description: 'Docker 28.0.0 on Debian, amd64 (--engine)'
  })
})

test('then the one used before, then DOCKER_HOST, then the context, then the usual sockets', async () => {
  const engines = { 'unix:///r': {}, 'unix:///e': {}, 'unix:///c': {}, 'unix:///var/run/docker.sock': {} }
  const env = { DOCKER_HOST: 'unix:///e' }
  const more = { env, host: context('unix:///c') }
  expect((await find(engines, { ...more, asked: { recorded: { url: 'unix:///r' } } })).reference.url).toBe('unix:///r')
  expect((await find(engines, more)).reference.url).toBe('unix:///e')
  expect((await find(engines, { ...more, env: {} })).reference.url).toBe('unix:///c')
  expect((await find(engines)).reference.url).toBe('unix:///var/run/docker.sock')
})

test('an engine that a person named and that is out of reach is no reason to take another', async () => {
  const engines = { 'unix:///var/run/docker.sock': {} }
  await expect(find(engines, { env: { DOCKER_HOST: 'unix:///gone' } })).rejects.toThrow('nobody at unix:///gone')
  await expect(find(engines, { asked: { recorded: { url: 'unix:///gone' } } })).rejects.toThrow('unix:///gone')
})

test('the context of an Oriel machine is passed over', async () => {
  const engines = { 'unix:///ours': {}, 'unix:///home/me/.colima/default/docker.sock': {} }
  const found = await find(engines, { host: context('unix:///ours', true) })
  expect(found.reference.url).toBe('unix:///home/me/.colima/default/docker.sock')
})

test('TLS follows the variables of the docker client, for TCP alone', async () => {
  const env = { DOCKER_HOST: 'tcp://e:2376', DOCKER_TLS_VERIFY: '1', DOCKER_CERT_PATH: '/certs' }
  const engines = { 'tcp://e:2376': {}, 'unix:///e': {} }
  expect((await find(engines, { env })).reference).toEqual({ url: 'tcp://e:2376', tlsFolder: '/certs' })
  const lax = { DOCKER_HOST: 'tcp://e:2376', DOCKER_TLS: '1', HOME: '/home/me' }
  expect((await find(engines, { env: lax })).reference).toEqual({
    url: 'tcp://e:2376',
    tlsFolder: '/home/me/.docker',
    skipVerify: true
  })
  expect((await find(engines, { env: { ...env, DOCKER_HOST: 'unix:///e' } })).reference).toEqual({ url: 'unix:///e' })
})

test.each<[string, Partial<EngineFacts>, RegExp]>([
  ['a Windows engine', { os: 'windows' }, /is a Windows engine/],
  ['a gateway of ours', { gateway: true, os: 'windows' }, /is an Oriel machine itself/],
  ['Podman', { podman: true }, /is Podman/],
  ['another processor', { arch: 'riscv64' }, /runs on riscv64/],
  ['another system', { os: 'freebsd' }, /"freebsd"/],
  ['an old engine', { apiVersion: '1.24', version: '1.12' }, /Docker 1\.12 \(API 1\.24\).*1\.40/]
])('%s is refused', async (_, facts, words) => {
  const asked = { asked: { url: 'unix:///e' } }
  await expect(find({ 'unix:///e': facts }, asked)).rejects.toMatchObject({
    exitCode: 4,
    message: expect.stringMatching(words)
  })
})

test('the first usual socket that works is taken', async () => {
  const engines = { 'unix:///var/run/docker.sock': { os: 'windows' }, 'unix:///home/me/.rd/docker.sock': {} }
  expect((await find(engines)).reference.url).toBe('unix:///home/me/.rd/docker.sock')
})

test('without any engine, what to install is said', async () => {
  await expect(find({})).rejects.toMatchObject({ exitCode: 4, hint: expect.stringContaining('docker.io') })
  await expect(find({}, { host: { platform: 'darwin' } })).rejects.toMatchObject({
    hint: expect.stringContaining('brew install')
  })
})

test('a socket without permission is told, with what to do', async () => {
  const forbidden: Partial<FinderHost> = {
    socket: async path => (path === '/var/run/docker.sock' ? 'forbidden' : 'absent')
  }
  await expect(find({}, { host: forbidden })).rejects.toMatchObject({
    message: expect.stringContaining('/var/run/docker.sock is there, but may not be opened'),
    hint: expect.stringContaining('docker group')
  })
})

test('rootless sockets are looked for in the runtime folder', () => {
  const where = { home: '/h', platform: 'linux' as const, uid: 7 }
  expect(usualSockets(where, {})).toContain('/run/user/7/docker.sock')
  expect(usualSockets(where, { XDG_RUNTIME_DIR: '/x' })).toContain('/x/podman/podman.sock')
})
