import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { createServer, type RequestListener, type Server } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { Engine, EngineError } from '#docker/engine.ts'
import { Fault } from '#lib/fault.ts'

const folder = mkdtempSync(join(tmpdir(), 'oriel-engine-'))
const servers: Server[] = []
let count = 0
afterEach(async () => {
  for (const server of servers.splice(0)) await stop(server)
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

function stop(server: Server): Promise<void> {
  return new Promise(resolve => {
    server.close(() => resolve())
    server.closeAllConnections()
  })
}

async function unixEngine(listener: RequestListener): Promise<{ engine: Engine; server: Server; path: string }> {
  const server = createServer(listener)
  const path = join(folder, `s${count++}`)
  servers.push(server)
  await new Promise<void>(resolve => server.listen(path, resolve))
  return { engine: new Engine({ kind: 'unix', path }), server, path }
}

test('JSON goes out and comes back', async () => {
  const { engine } = await unixEngine((request, response) => {
    let body = ''
    request.on('data', chunk => {
      body += chunk
    })
    request.on('end', () => {
      const { method, url, headers } = request
      response.end(
        JSON.stringify({ method, url, body, type: headers['content-type'], length: headers['content-length'] })
      )
    })
  })
  expect(await engine.json('POST', '/containers/create?name=x', { Image: 'é' })).toEqual({
    method: 'POST',
    url: '/containers/create?name=x',
    body: '{"Image":"é"}',
    type: 'application/json',
    length: '14'
  })
  expect(await engine.json('POST', '/v1.41/x')).toMatchObject({ url: '/v1.41/x', body: '', length: '0' })
})

test("an empty answer is undefined, a refusal an EngineError with the engine's words", async () => {
  const { engine } = await unixEngine((request, response) => {
    response.statusCode = Number(request.url?.slice(1))
    response.end(request.url === '/404' ? '{"message":"No such container: x"}' : request.url === '/500' ? 'plain' : '')
  })
  expect(await engine.json('DELETE', '/204')).toBeUndefined()
  await expect(engine.json('GET', '/404')).rejects.toMatchObject({ status: 404, message: 'No such container: x' })
  await expect(engine.json('GET', '/404')).rejects.toBeInstanceOf(EngineError)
  await expect(engine.json('GET', '/500')).rejects.toThrow('plain')
  await expect(engine.json('GET', '/503')).rejects.toThrow('the engine answered 503')
  expect((await engine.request('GET', '/404')).status).toBe(404)
})

test('an answer that is not JSON is a Fault', async () => {
  const { engine } = await unixEngine((_request, response) => response.end('<html>'))
  await expect(engine.json('GET', '/')).rejects.toBeInstanceOf(Fault)
})

test('both bodies stream', async () => {
  const { engine } = await unixEngine((request, response) => {
    response.flushHeaders()
    request.pipe(response)
  })
  const upload = new Readable({ read() {} })
  const answer = await engine.request('POST', '/build', { body: upload })
  const chunks = answer.body[Symbol.asyncIterator]()
  upload.push('one')
  expect(String((await chunks.next()).value)).toBe('one')
  upload.push('two')
  upload.push(null)
  expect(String((await chunks.next()).value)).toBe('two')
  expect((await chunks.next()).done).toBe(true)
})

test('connections are kept, and a closed one is replaced under an idempotent request', async () => {
  let connections = 0
  const first = await unixEngine((_request, response) => response.end('1'))
  first.server.on('connection', () => connections++)
  expect(await first.engine.json('GET', '/')).toBe(1)
  expect(await first.engine.json('GET', '/')).toBe(1)
  expect(connections).toBe(1)
  await stop(first.server)
  const again = createServer((_request, response) => response.end('2'))
  servers.push(again)
  await new Promise<void>(resolve => again.listen(first.path, resolve))
  expect(await first.engine.json('GET', '/')).toBe(2)
})

test('a connection closed in the very moment of its reuse is retried once, for idempotent requests only', async () => {
  let answered = 0
  const { engine } = await unixEngine((request, response) => {
    // The second request on any connection meets a closed door.
    if (answered++ % 2 === 1) request.socket.destroy()
    else response.end(String(answered))
  })
  expect(await engine.json('GET', '/')).toBe(1)
  expect(await engine.json('GET', '/')).toBe(3)
  answered = 0
  const other = new Engine(engine.endpoint)
  expect(await other.json('GET', '/')).toBe(1)
  await expect(other.json('POST', '/')).rejects.toBeInstanceOf(Fault)
})

test('no engine, no answer in time and an abort all end the request', async () => {
  const gone = new Engine({ kind: 'unix', path: join(folder, 'none') })
  await expect(gone.json('GET', '/_ping')).rejects.toThrow(`unix://${join(folder, 'none')}`)
  const { engine } = await unixEngine(() => {})
  await expect(engine.json('GET', '/', undefined, { timeoutMs: 30 })).rejects.toThrow('no answer within 0.03 s')
  const signal = AbortSignal.timeout(30)
  await expect(engine.json('GET', '/', undefined, { signal })).rejects.toMatchObject({ name: 'AbortError' })
})

test('a broken upload fails the request', async () => {
  const { engine } = await unixEngine(request => request.resume())
  const upload = new Readable({
    read() {
      this.destroy(new Error('disk gone'))
    }
  })
  await expect(engine.request('POST', '/build', { body: upload })).rejects.toThrow('disk gone')
})

beforeAll(() => {
  const openssl = (...args: string[]) => execFileSync('openssl', args, { cwd: folder, stdio: 'pipe' })
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '1']
  openssl('req', '-x509', ...key, '-keyout', 'ca.key', '-out', 'ca.pem', '-subj', '/CN=test')
  for (const name of ['server', 'client']) {
    const san = ['-addext', 'subjectAltName=IP:127.0.0.1']
    const signed = ['-CA', 'ca.pem', '-CAkey', 'ca.key', '-addext', 'basicConstraints=critical,CA:FALSE']
    openssl(
      'req',
      '-x509',
      ...key,
      '-keyout',
      `${name}.key`,
      '-out',
      `${name}.pem`,
      '-subj',
      `/CN=${name}`,
      ...san,
      ...signed
    )
  }
})

test('mutual TLS: the right material passes, the wrong one is a Fault', async () => {
  const pem = (name: string) => readFileSync(join(folder, name), 'utf8')
  const server = createTlsServer(
    { key: pem('server.key'), cert: pem('server.pem'), ca: pem('ca.pem'), requestCert: true, rejectUnauthorized: true },
    (_request, response) => response.end('"safe"')
  )
  servers.push(server)
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as { port: number }
  const at = { kind: 'tcp', host: '127.0.0.1', port } as const
  const client = { cert: pem('client.pem'), key: pem('client.key') }
  expect(await new Engine({ ...at, tls: { ca: pem('ca.pem'), ...client } }).json('GET', '/')).toBe('safe')
  expect(await new Engine({ ...at, tls: { skipVerify: true, ...client } }).json('GET', '/')).toBe('safe')
  await expect(new Engine({ ...at, tls: client }).json('GET', '/')).rejects.toBeInstanceOf(Fault)
  await expect(new Engine({ ...at, tls: { ca: pem('ca.pem') } }).json('GET', '/')).rejects.toThrow(
    'the engine does not accept our certificate (certificate required)'
  )
})
