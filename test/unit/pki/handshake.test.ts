import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type ConnectionOptions, connect, createServer, type Server } from 'node:tls'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { issue } from '#pki/authority.ts'
import { clientFolder } from '#pki/client-folder.ts'
import { ensurePki, serverFiles } from '#pki/store.ts'

const DAY_MS = 86_400_000
const root = mkdtempSync(join(tmpdir(), 'oriel-tls-'))
const folder = join(root, 'pki')
const machine = 'win'
let strict: Server
let telling: Server

beforeAll(async () => {
  await ensurePki(folder, { machine })
  // As dockerd does with tlsverify. Node cuts a client off without a word, so a second server says what it thinks of it.
  strict = await serve(folder, true)
  telling = await serve(folder, false)
})
afterAll(() => {
  strict.close()
  telling.close()
  rmSync(root, { recursive: true, force: true })
})

async function serve(of: string, rejectUnauthorized: boolean): Promise<Server> {
  const server = createServer({ ...(await serverFiles(of)), requestCert: true, rejectUnauthorized }, socket =>
    socket.on('error', () => undefined).end(socket.authorized ? 'pong' : String(socket.authorizationError))
  )
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  return server
}

function client(of: string): ConnectionOptions {
  const read = (name: string) => readFileSync(join(clientFolder(of), name), 'utf8')
  return { ca: read('ca.pem'), cert: read('cert.pem'), key: read('key.pem') }
}

/** What the server sends; the code of the error when the handshake fails. */
function ask(server: Server, options: ConnectionOptions): Promise<string> {
  return new Promise(resolve => {
    let text = ''
    const socket = connect({ host: '127.0.0.1', port: (server.address() as AddressInfo).port, ...options })
    socket.setEncoding('utf8').on('data', chunk => {
      text += chunk
    })
    socket.on('error', error => resolve('code' in error ? String(error.code) : error.message))
    socket.on('close', () => resolve(text))
  })
}

describe.each(['TLSv1.2', 'TLSv1.3'] as const)('%s', maxVersion => {
  test('the right client is served', async () => {
    expect(await ask(strict, { ...client(folder), maxVersion })).toBe('pong')
    expect(await ask(strict, { ...client(folder), maxVersion, servername: 'localhost' })).toBe('pong')
  })

  test('a client without a certificate is refused', async () => {
    const { cert, key, ...bare } = client(folder)
    expect(await ask(strict, { ...bare, maxVersion })).not.toBe('pong')
    expect(await ask(telling, { ...bare, maxVersion })).toBe('UNABLE_TO_GET_ISSUER_CERT')
  })

  test('a client of another authority of the same name is refused, and refuses the server', async () => {
    const other = join(root, maxVersion)
    await ensurePki(other, { machine })
    const { cert, key } = client(other)
    const mixed = { ...client(folder), cert, key, maxVersion }
    expect(await ask(strict, mixed)).not.toBe('pong')
    expect(await ask(telling, mixed)).toBe('UNABLE_TO_VERIFY_LEAF_SIGNATURE')
    expect(await ask(telling, { ...client(other), maxVersion })).toBe('SELF_SIGNED_CERT_IN_CHAIN')
  })

  test.each([
    ['expired', -900 * DAY_MS, 'CERT_HAS_EXPIRED'],
    ['not yet valid', 10 * DAY_MS, 'CERT_NOT_YET_VALID']
  ])('a client whose certificate is %s is refused', async (_what, offset, why) => {
    const [cert, key] = ['ca.pem', 'ca-key.pem'].map(name => readFileSync(join(folder, name), 'utf8'))
    const authority = { cert: cert ?? '', key: key ?? '' }
    const pair = await issue(authority, 'client', machine, new Date(Date.now() + offset))
    expect(await ask(strict, { ...client(folder), ...pair, maxVersion })).not.toBe('pong')
    expect(await ask(telling, { ...client(folder), ...pair, maxVersion })).toBe(why)
  })

  test('the server certificate cannot be used as a client', async () => {
    const { cert, key } = await serverFiles(folder)
    expect(await ask(strict, { ...client(folder), cert, key, maxVersion })).not.toBe('pong')
    expect(await ask(telling, { ...client(folder), cert, key, maxVersion })).toBe('INVALID_PURPOSE')
  })
})

test('a client made before a renewal is still served, and trusts the renewed server', async () => {
  const renewed = join(root, 'renewed')
  await ensurePki(renewed, { machine })
  const former = client(renewed)
  await ensurePki(renewed, { machine, renew: true })
  const server = await serve(renewed, true)
  try {
    expect(await ask(server, former)).toBe('pong')
  } finally {
    server.close()
  }
})
