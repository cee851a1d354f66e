import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { RegistryClient } from '#image/registry/client.ts'
import { pushImage } from '#image/registry/push.ts'
import { parseReference } from '#image/registry/reference.ts'
import { RegistryFault } from '#image/registry/registry-fault.ts'
import { readTrust, trustFolders } from '#image/registry/trust.ts'
import { type Certificates, makeCertificates } from '../../../support/certificates.ts'
import { type RealRegistry, startRegistry } from '../../../support/docker-registry.ts'
import { serve } from '../../../support/file-server.ts'
import { temporaryFolder } from '../../../support/installation-disc.ts'
import { tunnelTo } from '../../../support/tunnel.ts'
import { freePort } from '../../../support/wait.ts'
import { sampleImage, sampleLayer } from './sample-image.ts'

// No loopback by its name, so that its certificate counts; a proxy leads to it.
const NAME = 'registry.example.invalid:5000'
const { path: root, remove } = temporaryFolder()
let certificates: Certificates
let home: string
let folder: string
const ending: (() => Promise<unknown>)[] = []

beforeAll(async () => {
  certificates = await makeCertificates(root, 'DNS:registry.example.invalid,DNS:tokens.example.invalid')
}, 60_000)
beforeEach(() => {
  home = mkdtempSync(join(root, 'home-'))
  folder = join(home, '.docker', 'certs.d', NAME)
  mkdirSync(folder, { recursive: true })
})
afterEach(async () => {
  for (const end of ending.splice(0)) await end()
})
afterAll(remove)

const put = (from: string, file: string, as: string) => copyFileSync(join(from, file), join(folder, as))
const signal = new AbortController().signal

async function clientOf(port: number): Promise<RegistryClient> {
  const tunnel = await tunnelTo(port)
  const options = { insecure: [], mirrors: [], env: { HOME: home, https_proxy: tunnel.url }, signal, retryMs: 1 }
  const client = new RegistryClient(NAME, options)
  ending.push(() => client.close(), tunnel.close)
  return client
}

const faultOf = async (work: Promise<unknown>): Promise<RegistryFault> => {
  const error = await work.catch((thrown: unknown) => thrown)
  expect(error).toBeInstanceOf(RegistryFault)
  return error as RegistryFault
}

test('the person’s own folder comes before the host’s, and no name leads out of it', () => {
  expect(trustFolders({ HOME: '/h' }, 'a:5000')).toEqual(['/h/.docker/certs.d/a:5000', '/etc/docker/certs.d/a:5000'])
  expect(trustFolders({ HOME: '/h' }, '..')).toEqual([])
})

test('nothing there is nothing', async () => {
  expect(await readTrust([join(root, 'none'), folder])).toEqual({ authorities: [], own: [] })
})

test('authorities, certificates and their keys, of all folders', async () => {
  const other = mkdtempSync(join(root, 'other-'))
  put(certificates.client, 'ca.pem', 'a.crt')
  put(certificates.client, 'cert.pem', 'me.cert')
  put(certificates.client, 'key.pem', 'me.key')
  writeFileSync(join(folder, 'README'), 'no certificate')
  copyFileSync(join(certificates.stranger, 'cert.pem'), join(other, 'b.crt'))
  const text = (from: string, file: string) => readFileSync(join(from, file), 'utf8')
  expect(await readTrust([folder, other])).toEqual({
    authorities: [text(certificates.client, 'ca.pem'), text(certificates.stranger, 'cert.pem')],
    own: [{ certificate: text(certificates.client, 'cert.pem'), key: text(certificates.client, 'key.pem') }]
  })
})

test.each<[string, () => void, RegExp]>([
  [
    'a certificate without its key',
    () => put(certificates.client, 'cert.pem', 'me.cert'),
    /^missing key me\.key for client certificate me\.cert\. CA certificates must use the extension \.crt$/
  ],
  [
    'a key without its certificate',
    () => put(certificates.client, 'key.pem', 'me.key'),
    /^missing client certificate me\.cert for key me\.key$/
  ],
  ['no certificate', () => writeFileSync(join(folder, 'ca.crt'), 'x'), /ca\.crt is no certificate in PEM/],
  [
    'a certificate in DER',
    () => writeFileSync(join(folder, 'ca.crt'), Buffer.from('3082', 'hex')),
    /is no certificate/
  ],
  ['a key as an authority', () => put(certificates.client, 'key.pem', 'ca.crt'), /ca\.crt is no certificate in PEM/],
  [
    'no key',
    () => {
      put(certificates.client, 'cert.pem', 'me.cert')
      put(certificates.client, 'cert.pem', 'me.key')
    },
    /me\.key is no private key in PEM, or needs a passphrase/
  ],
  [
    'the key of another certificate',
    () => {
      put(certificates.client, 'cert.pem', 'me.cert')
      put(certificates.stranger, 'key.pem', 'me.key')
    },
    /me\.key is not the key of .*me\.cert$/
  ],
  ['a folder in the place of a file', () => mkdirSync(join(folder, 'ca.crt')), /ca\.crt cannot be read: EISDIR/]
])('%s is refused in words', async (_name, make, words) => {
  make()
  expect((await faultOf(readTrust([folder]))).message).toMatch(words)
  // Whoever pulls is told as well.
  expect((await faultOf((await clientOf(1)).hasBlob('a', `sha256:${'0'.repeat(64)}`))).message).toMatch(words)
})

// Debian has the registry as a package; on a Mac there is none.
describe.skipIf(process.platform !== 'linux')('a registry with an authority of its own', () => {
  let registry: RealRegistry
  let strict: RealRegistry
  beforeAll(async () => {
    const tls = { certificate: join(certificates.server, 'cert.pem'), key: join(certificates.server, 'key.pem') }
    registry = await startRegistry(join(root, 'open'), { tls })
    const clientcas = [join(certificates.server, 'ca.pem')]
    strict = await startRegistry(join(root, 'strict'), { tls: { ...tls, clientcas } })
  }, 30_000)
  afterAll(() => Promise.all([registry?.stop(), strict?.stop()]))

  const portOf = ({ host }: RealRegistry) => Number(host.split(':')[1])
  const manifestOf = async (of: RealRegistry) => (await clientOf(portOf(of))).manifest(parseReference(`${NAME}/a/b:1`))

  async function push(to: RealRegistry): Promise<string> {
    const image = sampleImage([sampleLayer(200_000)])
    const pushed = {
      mediaType: image.mediaType,
      manifest: image.manifest,
      config: { descriptor: image.configDescriptor, bytes: image.config },
      layers: image.layers.map(({ bytes, descriptor, diffId }) => ({
        descriptor,
        diffId,
        open: () => Readable.from([bytes], { objectMode: false })
      }))
    }
    const options = { progress: () => undefined, signal }
    return (await pushImage(parseReference(`${NAME}/a/b:1`), await clientOf(portOf(to)), pushed, options)).digest
  }

  test('is refused with the folder to put it in, and trusted from there', async () => {
    const refused = await faultOf(manifestOf(registry))
    expect(refused.message).toContain(
      'tls: failed to verify certificate: x509: certificate signed by unknown authority'
    )
    expect(refused.hint).toBe(`Put the certificate of its CA (PEM) into ${folder} as ca.crt.`)
    // Another authority's does not help.
    copyFileSync(join(root, 'other-authority', 'ca.pem'), join(folder, 'ca.crt'))
    expect((await faultOf(manifestOf(registry))).hint).toBe(refused.hint)
    copyFileSync(join(root, 'authority', 'ca.pem'), join(folder, 'second.crt'))
    const digest = await push(registry)
    expect((await manifestOf(registry)).digest).toBe(digest)
  }, 30_000)

  test('that wants to see a certificate gets the one that is there', async () => {
    put(certificates.client, 'ca.pem', 'ca.crt')
    const refused = await faultOf(manifestOf(strict))
    const own = `our certificate and its key (PEM) belong into ${folder} as client.cert and client.key.`
    expect(refused.message).toMatch(/the connection was cut|certificate required/)
    expect(refused.hint).toContain(own)
    put(certificates.stranger, 'cert.pem', 'client.cert')
    put(certificates.stranger, 'key.pem', 'client.key')
    expect((await faultOf(manifestOf(strict))).hint).toContain(own)
    put(certificates.client, 'cert.pem', 'client.cert')
    put(certificates.client, 'key.pem', 'client.key')
    const digest = await push(strict)
    expect((await manifestOf(strict)).digest).toBe(digest)
  }, 30_000)

  test.each([
    ['nothing', undefined, 'handshake failure'],
    ['a certificate of nobody', 'stranger', 'unknown certificate authority'],
    ['one that is over', 'expired', 'expired certificate']
  ] as const)(
    'that says why it does not take %s is understood',
    async (_name, from, words) => {
      const port = await freePort()
      const files = ['-cert', 'cert.pem', '-key', 'key.pem', '-CAfile', 'ca.pem'].map(word =>
        word.endsWith('.pem') ? join(certificates.server, word) : word
      )
      const wants = ['-tls1_2', '-Verify', '1', '-verify_return_error']
      const server: ChildProcess = spawn('openssl', ['s_server', '-accept', `127.0.0.1:${port}`, ...wants, ...files])
      ending.push(async () => {
        server.kill()
        if (server.exitCode === null && server.signalCode === null) await once(server, 'exit')
      })
      if (server.stdout !== null) await once(server.stdout, 'data')
      put(certificates.server, 'ca.pem', 'ca.crt')
      if (from !== undefined) put(certificates[from], 'cert.pem', 'client.cert')
      if (from !== undefined) put(certificates[from], 'key.pem', 'client.key')
      const refused = await faultOf((await clientOf(port)).manifest(parseReference(`${NAME}/a/b:1`)))
      expect(refused.message).toContain(`remote error: tls: ${words}`)
      expect(refused.hint).toContain(folder)
    },
    30_000
  )

  test('vouches for its token server too, and everybody else is trusted as ever', async () => {
    const read = (file: string) => readFileSync(join(certificates.server, file), 'utf8')
    const image = sampleImage([])
    const server = await serve(
      (request, response) => {
        if (request.url?.startsWith('/token')) response.end('{"token":"abc"}')
        else if (request.headers.authorization === 'Bearer abc') {
          response.writeHead(200, { 'content-type': image.mediaType }).end(image.manifest)
        } else {
          const realm = 'Bearer realm="https://tokens.example.invalid/token",service="x"'
          response.writeHead(401, { 'www-authenticate': realm }).end()
        }
      },
      { key: read('key.pem'), cert: read('cert.pem') }
    )
    ending.push(server.close)
    put(certificates.server, 'ca.pem', 'ca.crt')
    const { digest } = await (await clientOf(server.port)).manifest(parseReference(`${NAME}/a/b:1`))
    expect(digest).toBe(image.digest)
    expect(server.asked.map(({ headers }) => headers.host)).toContain('tokens.example.invalid')
  }, 30_000)
})
