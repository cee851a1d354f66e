import { mkdtemp, rm } from 'node:fs/promises'
import { createServer, type Server, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Duplex } from 'node:stream'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { dial, type Endpoint, endpointUrl, parseEndpoint } from '#docker/endpoint.ts'
import { Fault } from '#lib/fault.ts'

const good: [url: string, endpoint: Endpoint, again?: string][] = [
  ['unix:///var/run/docker.sock', { kind: 'unix', path: '/var/run/docker.sock' }],
  ['unix:///a b/é.sock', { kind: 'unix', path: '/a b/é.sock' }],
  ['tcp://127.0.0.1:2375', { kind: 'tcp', host: '127.0.0.1', port: 2375 }],
  ['tcp://host', { kind: 'tcp', host: 'host', port: 2375 }, 'tcp://host:2375'],
  ['TCP://host:1/', { kind: 'tcp', host: 'host', port: 1 }, 'tcp://host:1'],
  ['tcp://[::1]:65535', { kind: 'tcp', host: '::1', port: 65535 }],
  ['http://host', { kind: 'tcp', host: 'host', port: 80 }, 'tcp://host:80'],
  ['https://host', { kind: 'tcp', host: 'host', port: 443, tls: {} }, 'tcp://host:443'],
  ['ssh://host', { kind: 'ssh', destination: ['host'] }],
  ['ssh://me@host', { kind: 'ssh', destination: ['me@host'] }],
  ['ssh://me@host:22', { kind: 'ssh', destination: ['-p', '22', 'me@host'] }]
]

test.each(good)('%s is read, and written back', (url, endpoint, again = url) => {
  expect(parseEndpoint(url)).toEqual(endpoint)
  expect(endpointUrl(endpoint)).toBe(again)
})

test('TLS changes the default port', () => {
  expect(parseEndpoint('tcp://host', { ca: 'x' })).toEqual({ kind: 'tcp', host: 'host', port: 2376, tls: { ca: 'x' } })
})

test.each([
  '',
  'nonsense',
  '/var/run/docker.sock',
  'unix://docker.sock',
  'unix://',
  'npipe:////./pipe/docker_engine',
  'fd://',
  'ftp://host',
  'tcp://',
  'tcp://host:0',
  'tcp://host:65536',
  'tcp://host:12x',
  'tcp://host:-1',
  'tcp://host/path',
  'tcp://me@host',
  'tcp://[nonsense]:1',
  'tcp://a b:1',
  'tcp://::1:2375',
  'ssh://',
  'ssh://me:secret@host',
  'ssh://-oProxyCommand=x',
  'ssh://-oProxyCommand=x@host',
  'ssh://host/var/run/docker.sock',
  'ssh://host:99999'
])('"%s" is refused as wrong usage, with a hint', url => {
  let fault: unknown
  try {
    parseEndpoint(url)
  } catch (error) {
    fault = error
  }
  expect(fault).toBeInstanceOf(Fault)
  expect(fault).toMatchObject({ exitCode: 2, hint: expect.stringContaining('tcp://') })
})

let folder = ''
let server: Server
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'oriel-dial-'))
  server = createServer({ allowHalfOpen: true })
})
afterEach(async () => {
  await new Promise(resolve => server.close(resolve))
  await rm(folder, { recursive: true, force: true })
})

async function text(stream: Duplex): Promise<string> {
  let all = ''
  for await (const chunk of stream) all += chunk
  return all
}

test('a dialled stream may be half closed: the answer comes after our end', async () => {
  server.on('connection', (socket: Socket) => {
    let got = ''
    socket.on('data', chunk => {
      got += chunk
    })
    socket.on('end', () => setTimeout(() => socket.end(`got ${got}`), 20))
  })
  const path = join(folder, 's')
  await new Promise<void>(resolve => server.listen(path, resolve))
  const stream = await dial({ kind: 'unix', path })
  stream.end('hello')
  expect(await text(stream)).toBe('got hello')
})

test('a refused, a missing and a silent endpoint are Faults that name it', async () => {
  const path = join(folder, 'none')
  await expect(dial({ kind: 'unix', path })).rejects.toThrow(`unix://${path}`)
  await expect(dial({ kind: 'unix', path })).rejects.toBeInstanceOf(Fault)
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as { port: number }
  server.on('connection', (socket: Socket) => {
    socket.on('error', () => {})
    setTimeout(() => socket.destroy(), 500)
  })
  const tls = { kind: 'tcp', host: '127.0.0.1', port, tls: {} } as const
  await expect(dial(tls, 50)).rejects.toThrow(`tcp://127.0.0.1:${port}: no connection within 0.05 s`)
})

test('ssh that cannot connect ends the stream with its own words', async () => {
  const stream = await dial({ kind: 'ssh', destination: ['-p', '1', '127.0.0.1'] }, 1000).catch(
    (error: unknown) => error
  )
  // Without ssh on this host the dial itself fails, and says so.
  if (stream instanceof Fault) expect(stream.message).toContain('ssh://127.0.0.1:1')
  else await expect(text(stream as Duplex)).rejects.toThrow(/ssh:\/\/127\.0\.0\.1:1/)
})
