import { execFileSync } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync } from 'node:fs'
import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { afterAll, afterEach, beforeEach, describe, expect, test } from 'vitest'
import { BlobStore } from '#image/registry/blob-store.ts'
import { RegistryClient, type RegistryOptions } from '#image/registry/client.ts'
import { fetchImage, type TransferEvent } from '#image/registry/pull.ts'
import { parseReference } from '#image/registry/reference.ts'
import { Fault } from '#lib/fault.ts'
import { sendFile, serve, type TestServer } from '../../../support/file-server.ts'
import { temporaryFolder } from '../../../support/installation-disc.ts'
import { tunnelTo } from '../../../support/tunnel.ts'
import { type SampleImage, sampleImage, sampleLayer } from './sample-image.ts'

const { path: root, remove } = temporaryFolder()
afterAll(remove)

let ending: (() => Promise<unknown>)[]
let folder: string
let events: TransferEvent[]
beforeEach(() => {
  ending = []
  events = []
  folder = mkdtempSync(join(root, 's-'))
})
afterEach(async () => {
  await Promise.all(ending.map(end => end()))
})

async function server(answer: RequestListener, tls?: { key: string; cert: string }): Promise<TestServer> {
  const started = await serve(answer, tls)
  ending.push(started.close)
  return started
}

const hostOf = ({ port }: TestServer) => `127.0.0.1:${port}`

function clientOf(registry: TestServer | string, more: Partial<RegistryOptions> = {}): RegistryClient {
  const signal = new AbortController().signal
  const options = { insecure: [], mirrors: [], env: {}, signal, retryMs: 5, ...more }
  const client = new RegistryClient(typeof registry === 'string' ? registry : hostOf(registry), options)
  ending.push(() => client.close())
  return client
}

const refOf = (registry: TestServer | string, name = 'a/b:1') =>
  parseReference(`${typeof registry === 'string' ? registry : hostOf(registry)}/${name}`)

function pull(registry: TestServer | string, more: Partial<RegistryOptions> = {}, store = new BlobStore(folder)) {
  const signal = more.signal ?? new AbortController().signal
  const progress = (event: TransferEvent) => events.push(event)
  return fetchImage(refOf(registry), clientOf(registry, more), store, { maxBuild: 20348, progress, signal })
}

async function faultOf(work: Promise<unknown>): Promise<Fault> {
  const error = await work.catch((thrown: unknown) => thrown)
  expect(error).toBeInstanceOf(Fault)
  return error as Fault
}

/** Every file with a final name, and every part. */
const blobs = () => filesIn('blobs')
const parts = () => filesIn('parts')
function filesIn(kind: string): string[] {
  try {
    return readdirSync(join(folder, kind, 'sha256'))
  } catch {
    return []
  }
}

type Trick = (request: IncomingMessage, response: ServerResponse, nth: number) => boolean | undefined

/** A registry with one image, which answers as it should when `trick` has not answered already. */
function registryOf(image: SampleImage, trick: Trick = () => undefined): RequestListener {
  const asked = new Map<string, number>()
  return (request, response) => {
    const path = (request.url ?? '').split('?')[0] ?? ''
    const nth = asked.get(path) ?? 0
    asked.set(path, nth + 1)
    if (trick(request, response, nth) === true) return
    if (path === '/v2/') response.end('{}')
    else if (path.includes('/manifests/')) {
      response.setHeader('content-type', image.mediaType)
      response.end(image.manifest)
    } else {
      const digest = path.split('/').at(-1)
      const layer = image.layers.find(({ descriptor }) => descriptor.digest === digest)
      const bytes = digest === image.configDescriptor.digest ? image.config : layer?.bytes
      if (bytes === undefined) json(response, 404, 'BLOB_UNKNOWN', 'blob unknown to registry')
      else sendFile(bytes, request, response)
    }
  }
}

function json(response: ServerResponse, status: number, code: string, message: string): true {
  response.writeHead(status, { 'content-type': 'application/json' })
  response.end(JSON.stringify({ errors: [{ code, message, detail: null }] }))
  return true
}

const layer = sampleLayer(400_000)
const image = sampleImage([layer])
const hex = layer.descriptor.digest.slice(7)
const isLayer = ({ url = '' }: IncomingMessage) => url.includes(hex)
const isManifest = ({ url = '' }: IncomingMessage) => url.includes('/manifests/')

describe('a transfer', () => {
  test('that is cut again and again goes on where it was', async () => {
    const registry = await server(
      registryOf(image, (request, response) => {
        if (!isLayer(request)) return
        sendFile(layer.bytes, request, response, { cutAfter: 90_000 })
        return true
      })
    )
    await pull(registry)
    expect((await new BlobStore(folder).read(layer.descriptor.digest, 1e6)).equals(layer.bytes)).toBe(true)
    const ranges = registry.asked.filter(({ url }) => url.includes(hex)).map(({ headers }) => headers.range)
    expect(ranges).toHaveLength(5)
    expect(ranges[0]).toBeUndefined()
    expect(ranges.slice(1).every(range => /^bytes=[1-9]\d*-$/.test(range ?? ''))).toBe(true)
    expect(events.map(({ status }) => status)).toContain('Retrying in 1 second')
    expect(parts()).toEqual([])
  })

  test('of a registry that knows no ranges, too', async () => {
    const registry = await server(
      registryOf(image, (request, response, nth) => {
        if (!isLayer(request)) return
        sendFile(layer.bytes, request, response, { ignoreRange: true, cutAfter: 90_000 * (nth + 1) })
        return true
      })
    )
    await pull(registry)
    expect((await new BlobStore(folder).read(layer.descriptor.digest, 1e6)).equals(layer.bytes)).toBe(true)
  })

  test('that does not go on leaves what came for the next pull, and no blob', async () => {
    let whole = false
    const registry = await server(
      registryOf(image, (request, response, nth) => {
        if (!isLayer(request) || whole) return
        if (nth === 0) sendFile(layer.bytes, request, response, { cutAfter: 150_000 })
        else response.destroy()
        return true
      })
    )
    const fault = await faultOf(pull(registry))
    expect(fault.message).toContain('the connection was cut')
    expect(blobs()).toEqual([])
    expect(parts()).toEqual([hex])
    whole = true
    await pull(registry)
    const last = registry.asked.filter(({ url }) => url.includes(hex)).at(-1)
    expect(last?.headers.range).toMatch(/^bytes=[1-9]\d{3,}-$/)
    expect(parts()).toEqual([])
    expect(blobs()).toHaveLength(3)
  })

  test('with other bytes than its digest says leaves nothing', async () => {
    const lie = Buffer.from(layer.bytes)
    lie[1000] = (lie[1000] ?? 0) ^ 1
    const registry = await server(
      registryOf(image, (request, response) => {
        if (!isLayer(request)) return
        sendFile(lie, request, response)
        return true
      })
    )
    const fault = await faultOf(pull(registry))
    expect(fault.message).toBe(`filesystem layer verification failed for digest ${layer.descriptor.digest}`)
    expect([...blobs(), ...parts()]).toEqual([])
  })

  test.each<[string, (response: ServerResponse) => void, string]>([
    [
      'too many bytes, announced',
      response => response.end(Buffer.concat([layer.bytes, Buffer.alloc(9)])),
      `the registry has ${layer.bytes.length + 9} bytes`
    ],
    ['too few bytes, announced', response => response.end(layer.bytes.subarray(0, 999)), 'the registry has 999 bytes'],
    ['bytes without end', pourForever, `more than the ${layer.bytes.length} bytes`],
    [
      'an encoding',
      response => response.writeHead(200, { 'content-encoding': 'br' }).end('x'),
      'in another encoding, br'
    ]
  ])('with %s is refused, and leaves no blob', async (_what, answer, message) => {
    const registry = await server(
      registryOf(image, (request, response) => {
        if (!isLayer(request)) return
        answer(response)
        return true
      })
    )
    expect((await faultOf(pull(registry))).message).toContain(message)
    expect(blobs()).toEqual([])
  })

  test('that trickles ends when it is told to', async () => {
    const registry = await server(
      registryOf(image, (request, response) => {
        if (!isLayer(request)) return
        response.writeHead(200, { 'content-length': layer.bytes.length })
        const timer = setInterval(() => response.write('x'), 20)
        response.on('close', () => clearInterval(timer))
        return true
      })
    )
    const controller = new AbortController()
    setTimeout(() => controller.abort(), 300)
    const fault = await faultOf(pull(registry, { signal: controller.signal }))
    expect(fault.exitCode).toBe(130)
    expect(blobs()).toEqual([])
  })

  test('of two pulls of the same image is one', async () => {
    const registry = await server(registryOf(image))
    await Promise.all([pull(registry), pull(registry, {}, new BlobStore(folder))])
    expect(registry.asked.filter(({ url }) => url.includes(hex))).toHaveLength(1)
  })

  test('of one layer fails, and the others end with it', async () => {
    const other = sampleLayer(100_000)
    const both = sampleImage([layer, other])
    const registry = await server(
      registryOf(both, (request, response) => {
        if (isLayer(request)) return json(response, 404, 'BLOB_UNKNOWN', 'blob unknown to registry')
        if (!request.url?.includes(other.descriptor.digest)) return
        response.writeHead(200, { 'content-length': other.bytes.length }).write('x')
        return true
      })
    )
    expect((await faultOf(pull(registry))).message).toBe('blob unknown: blob unknown to registry')
    expect(blobs()).toEqual([])
  })

  test('of a foreign layer comes from its URLs, without credentials', async () => {
    const elsewhere = await server((request, response) => sendFile(layer.bytes, request, response))
    const descriptor = { ...layer.descriptor, urls: ['ftp://x/', `${elsewhere.url}/there`] }
    const registry = await server((request, response) => {
      if (request.headers.authorization === undefined && request.url !== '/v2/')
        return challenge(response, 'Basic realm="x"')
      json(response, 404, 'BLOB_UNKNOWN', 'blob unknown to registry')
    })
    const client = clientOf(registry, { auth: LOGIN })
    const chunks: Buffer[] = []
    for await (const chunk of await client.blob('a/b', descriptor)) chunks.push(chunk as Buffer)
    expect(Buffer.concat(chunks).equals(layer.bytes)).toBe(true)
    expect(elsewhere.asked.map(({ headers }) => headers.authorization)).toEqual([undefined])
  })
})

function pourForever(response: ServerResponse): void {
  const chunk = Buffer.alloc(64 * 1024)
  const pour = () => {
    while (!response.destroyed && response.write(chunk)) {
      // Until the other side has enough.
    }
  }
  response.on('drain', pour)
  pour()
}

function selfSigned(): { key: string; cert: string } {
  const [key, cert] = [join(folder, 'key.pem'), join(folder, 'cert.pem')]
  const request = ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '1']
  const names = ['-subj', '/CN=127.0.0.1', '-addext', 'subjectAltName=IP:127.0.0.1']
  execFileSync('openssl', [...request, '-keyout', key, '-out', cert, ...names], { stdio: 'ignore' })
  return { key: readFileSync(key, 'utf8'), cert: readFileSync(cert, 'utf8') }
}

async function tunnel(port: number): Promise<string> {
  const { url, close } = await tunnelTo(port)
  ending.push(close)
  return url
}

const LOGIN = { username: 'me', password: 'hunter2-pass' }
const SECRETS = [LOGIN.password, Buffer.from(`me:${LOGIN.password}`).toString('base64')]

function challenge(response: ServerResponse, header: string): void {
  response.writeHead(401, { 'www-authenticate': header, 'content-type': 'application/json' })
  response.end(JSON.stringify({ errors: [{ code: 'UNAUTHORIZED', message: 'authentication required' }] }))
}

describe('a manifest', () => {
  const answering = (answer: (response: ServerResponse) => void) =>
    server(
      registryOf(image, (request, response) => {
        if (!isManifest(request)) return
        answer(response)
        return true
      })
    )

  test('that is a web page is called so', async () => {
    const registry = await answering(response => {
      response.setHeader('content-type', 'text/html; charset=utf-8')
      response.end('<!doctype html><title>Log in to the network</title>')
    })
    const fault = await faultOf(pull(registry))
    expect(fault.message).toContain('answered with a web page')
    expect([...blobs(), ...parts()]).toEqual([])
  })

  test('that is a web page under another name is called so', async () => {
    const registry = await answering(response => {
      response.setHeader('content-type', 'application/json')
      response.end('\n <html></html>')
    })
    expect((await faultOf(pull(registry))).message).toContain('answered with a web page')
  })

  test('that is not what was asked for is refused', async () => {
    const registry = await server(registryOf(image))
    const other = `sha256:${'0'.repeat(64)}`
    const fault = await faultOf(clientOf(registry).manifest(refOf(registry, `a/b@${other}`)))
    expect(fault.message).toBe(`manifest verification failed for digest ${other}`)
    const lying = await answering(response => {
      response.setHeader('docker-content-digest', other)
      response.end(image.manifest)
    })
    expect((await faultOf(pull(lying))).message).toBe(`manifest verification failed for digest ${other}`)
  })

  test('without end is not read to its end', async () => {
    const registry = await answering(pourForever)
    expect((await faultOf(pull(registry))).message).toContain('longer than 4 MiB')
  })

  test('that is cut is an error, and leaves nothing', async () => {
    const registry = await answering(response => {
      response.writeHead(200, { 'content-length': 10_000 }).write('x', () => response.destroy())
    })
    expect((await faultOf(pull(registry))).message).toBe('unexpected EOF')
    expect([...blobs(), ...parts()]).toEqual([])
  })

  test.each<[number, string, string, string]>([
    [
      404,
      'MANIFEST_UNKNOWN',
      'manifest unknown',
      'manifest for REGISTRY/a/b:1 not found: manifest unknown: manifest unknown'
    ],
    [404, 'NAME_UNKNOWN', 'no such thing', 'repository REGISTRY/a/b not found: name unknown: no such thing'],
    [
      403,
      'DENIED',
      'no',
      "pull access denied for REGISTRY/a/b, repository does not exist or may require 'docker login': denied: no"
    ],
    [401, 'UNAUTHORIZED', '', 'unauthorized: authentication required'],
    [400, 'UNSUPPORTED', '\u001b[31mred', 'unsupported: [31mred']
  ])('refused with %i %s is told in docker’s words', async (status, code, message, expected) => {
    const registry = await answering(response => void json(response, status, code, message))
    const fault = await faultOf(pull(registry))
    expect(fault.message).toBe(expected.replace('REGISTRY', hostOf(registry)))
  })

  test('refused with a page of a web server is told by its status', async () => {
    const registry = await answering(response => {
      response.writeHead(404, { 'content-type': 'text/html' }).end('<h1>nginx</h1>')
    })
    expect((await faultOf(pull(registry))).message).toBe('received unexpected HTTP status: 404 Not Found')
  })
})

describe('a registry that is busy', () => {
  const busy = (status: number, headers: Record<string, string>, times: number) => {
    let left = times
    return server(
      registryOf(image, (request, response) => {
        if (!isManifest(request) || left === 0) return
        left -= 1
        for (const [name, value] of Object.entries(headers)) response.setHeader(name, value)
        return json(response, status, 'TOOMANYREQUESTS', 'You have reached your pull rate limit.')
      })
    )
  }

  test.each([429, 503])('with %i is asked again', async status => {
    await pull(await busy(status, {}, 3))
  })

  test('is waited for as long as it says', async () => {
    const registry = await busy(429, { 'retry-after': '1' }, 1)
    const before = Date.now()
    await pull(registry)
    expect(Date.now() - before).toBeGreaterThan(950)
  })

  test('for good is told with its own words', async () => {
    const fault = await faultOf(pull(await busy(429, {}, 99)))
    expect(fault.message).toBe('toomanyrequests: You have reached your pull rate limit.')
    const five = await faultOf(pull(await busy(503, {}, 99)))
    expect(five.message).toBe('received unexpected HTTP status: 503 Service Unavailable')
  })

  test('for hours is left to the person', async () => {
    const registry = await busy(429, { 'retry-after': '7200' }, 99)
    const fault = await faultOf(pull(registry))
    expect(fault).toMatchObject({ hint: 'The registry says to try again in 7200 seconds.' })
    expect(registry.asked.filter(({ url }) => url.includes('/manifests/'))).toHaveLength(1)
  })
})

describe('a token server', () => {
  interface Tokens {
    registry: TestServer
    tokens: TestServer
  }

  /** A registry that takes each token `uses` times, and the server that gives them. */
  async function guarded(options: { uses?: number; answer?: (n: number, response: ServerResponse) => void } = {}) {
    const { uses = 1e9 } = options
    const good = new Map<string, number>()
    let given = 0
    const tokens = await server((request, response) => {
      given += 1
      if (options.answer !== undefined) return options.answer(given, response)
      request.resume()
      good.set(`token-number-${given}`, uses)
      response.end(JSON.stringify({ token: `token-number-${given}`, expires_in: 300 }))
    })
    const registry = await server(
      registryOf(image, (request, response) => {
        const token = request.headers.authorization?.replace('Bearer ', '') ?? ''
        const left = good.get(token) ?? 0
        good.set(token, left - 1)
        if (left > 0) return
        challenge(response, `Bearer realm="${tokens.url}/token?x=y",service="the registry",scope="repository:a/b:pull"`)
        return true
      })
    )
    return { registry, tokens } satisfies Tokens
  }

  test('is asked once, with the name and the password, for a scope', async () => {
    const { registry, tokens } = await guarded()
    await pull(registry, { auth: LOGIN })
    expect(tokens.asked).toHaveLength(1)
    const url = new URL(tokens.asked[0]?.url ?? '', tokens.url)
    expect(Object.fromEntries(url.searchParams)).toEqual({
      x: 'y',
      service: 'the registry',
      scope: 'repository:a/b:pull',
      account: 'me'
    })
    expect(tokens.asked[0]?.headers.authorization).toBe(`Basic ${SECRETS[1]}`)
    // The registry itself never sees the password.
    const seen = registry.asked.map(({ headers }) => headers.authorization ?? '')
    expect(seen.some(value => value.startsWith('Basic'))).toBe(false)
  })

  test('is asked without a name where there is none, and again when a token is refused', async () => {
    const { registry, tokens } = await guarded({ uses: 1 })
    await pull(registry)
    expect(tokens.asked).toHaveLength(3)
    expect(tokens.asked[0]?.headers.authorization).toBeUndefined()
  })

  test('gives a token for an identity token', async () => {
    const { registry, tokens } = await guarded()
    await pull(registry, { auth: { identitytoken: 'the-identity' } })
    expect(tokens.asked[0]?.headers['content-type']).toBe('application/x-www-form-urlencoded')
    expect(tokens.asked[0]?.headers.authorization).toBeUndefined()
  })

  test('whose tokens are refused is an end', async () => {
    const { registry, tokens } = await guarded({ uses: 0 })
    expect((await faultOf(pull(registry))).message).toBe('unauthorized: authentication required')
    expect(tokens.asked).toHaveLength(1)
  })

  test.each<[string, (response: ServerResponse) => void, string]>([
    [
      'refuses',
      response => void json(response, 401, 'UNAUTHORIZED', `wrong: ${SECRETS.join(' ')}`),
      'unauthorized: wrong: … …'
    ],
    ['has no token', response => response.end('{}'), 'authorization server did not include a token'],
    ['sends HTML', response => response.end('<html>'), 'unable to decode token response'],
    ['sends a token with a line end', response => response.end('{"token":"a\\r\\nx: y"}'), 'did not include a token'],
    ['never ends', pourForever, 'unable to decode token response']
  ])('that %s is a clear error without secrets', async (_what, answer, message) => {
    const { registry } = await guarded({ answer: (_n, response) => answer(response) })
    const fault = await faultOf(pull(registry, { auth: LOGIN }))
    expect(fault.message).toContain(message)
    for (const secret of SECRETS) expect(`${fault.message}${fault.stack}${fault.hint}`).not.toContain(secret)
  })

  test.each(['http://token.example.invalid/t', 'file:///etc/passwd', 'nonsense', ''])(
    'at %j is not asked',
    async realm => {
      const registry = await server((_request, response) => challenge(response, `Bearer realm="${realm}",service="s"`))
      expect((await faultOf(pull(registry, { auth: LOGIN }))).message).toMatch(/realm/)
    }
  )

  test('is not needed with a token for the registry', async () => {
    const registry = await server(
      registryOf(image, (request, response) => {
        if (request.headers.authorization === 'Bearer the-registry-token') return
        challenge(response, 'Bearer realm="https://token.example.invalid/"')
        return true
      })
    )
    await pull(registry, { auth: { registrytoken: 'the-registry-token' } })
  })
})

describe('credentials', () => {
  test('do not go along to another host', async () => {
    const storage = await server((request, response) => sendFile(layer.bytes, request, response))
    const registry = await server(
      registryOf(image, (request, response) => {
        if (request.headers.authorization === undefined) {
          challenge(response, 'Basic realm="x"')
          return true
        }
        if (!isLayer(request)) return
        response.writeHead(307, { location: `${storage.url}/signed?signature=abc` }).end()
        return true
      })
    )
    await pull(registry, { auth: LOGIN })
    expect(storage.asked).toHaveLength(1)
    expect(storage.asked[0]?.headers.authorization).toBeUndefined()
    expect(blobs()).toContain(hex)
  })

  test('are in no error, whatever a server says', async () => {
    const registry = await server((request, response) => {
      if (request.headers.authorization === undefined) return challenge(response, 'Basic realm="x"')
      json(response, 400, 'DENIED', `you sent ${request.headers.authorization}, ${LOGIN.password}`)
    })
    const fault = await faultOf(pull(registry, { auth: LOGIN }))
    for (const secret of SECRETS) expect(`${fault.message}${fault.stack}`).not.toContain(secret)
  })

  test('and the query of a redirect are in no error', async () => {
    const registry = await server(
      registryOf(image, (request, response) => {
        if (!isLayer(request)) return
        response.writeHead(307, { location: `http://127.0.0.1:1/x?signature=abc` }).end()
        return true
      })
    )
    const fault = await faultOf(pull(registry))
    expect(fault.message).toBe('Get "http://127.0.0.1:1/x": dial tcp 127.0.0.1:1: connect: connection refused')
  })

  test('are not sent to an upload on another host', async () => {
    const uploads = await server((request, response) => {
      request.resume().on('end', () => {
        response.setHeader('location', `${uploads.url}/next`)
        response.writeHead(request.method === 'PUT' ? 201 : 202).end()
      })
    })
    const registry = await server((request, response) => {
      if (request.url === '/v2/') return void response.end()
      if (request.headers.authorization === undefined) return challenge(response, 'Basic realm="x"')
      if (request.method === 'HEAD') return void response.writeHead(404).end()
      response.writeHead(202, { location: `${uploads.url}/up?state=1` }).end()
    })
    const open = () => Readable.from([layer.bytes], { objectMode: false })
    expect(await clientOf(registry, { auth: LOGIN }).pushBlob('a/b', layer.descriptor, open)).toBe('uploaded')
    expect(uploads.asked.map(({ headers }) => headers.authorization)).toEqual([undefined, undefined])
    expect(uploads.asked[1]?.url).toBe(`/next?digest=${encodeURIComponent(layer.descriptor.digest)}`)
  })
})

describe('the way there', () => {
  test('without anybody at its end is told as docker tells it', async () => {
    expect((await faultOf(pull('127.0.0.1:1'))).message).toBe(
      'Get "http://127.0.0.1:1/v2/a/b/manifests/1": dial tcp 127.0.0.1:1: connect: connection refused'
    )
  })

  test('in the clear is for insecure registries only', async () => {
    // A name that is no loopback by itself, behind a proxy that is this test.
    const proxied = await server(registryOf(image))
    const env = { http_proxy: proxied.url, https_proxy: 'http://127.0.0.1:1' }
    const refused = await faultOf(pull('registry.example.invalid:5000', { env }))
    expect(refused.message).toContain('https://registry.example.invalid:5000/v2/')
    expect(proxied.asked.every(({ url }) => !url.startsWith('http://'))).toBe(true)
    await pull('registry.example.invalid:5000', { env, insecure: ['registry.example.invalid:5000'] })
    expect(proxied.asked.some(({ url }) => url.startsWith('http://registry.example.invalid:5000/v2/a/b/'))).toBe(true)
  })

  test('is encrypted, and the certificate has to be good unless the registry is called insecure', async () => {
    const certificate = selfSigned()
    const plain = await server((request, response) => sendFile(layer.bytes, request, response))
    let storage = ''
    const registry = await server(
      registryOf(image, (request, response) => {
        if (!isLayer(request) || storage === '') return
        response.writeHead(307, { location: storage }).end()
        return true
      }),
      certificate
    )
    await pull(registry)
    expect(registry.asked.length).toBeGreaterThan(3)

    // By another name, through a proxy that leads to the same place.
    const env = { https_proxy: await tunnel(registry.port) }
    const name = 'registry.example.invalid'
    expect((await faultOf(pull(name, { env }))).message).toBe(
      `Get "https://${name}/v2/a/b/manifests/1": tls: failed to verify certificate: x509: certificate signed by unknown authority`
    )
    folder = mkdtempSync(join(root, 's-'))
    await pull(name, { env, insecure: [name] }, new BlobStore(folder))
    expect(blobs()).toContain(hex)

    storage = `${plain.url}/x?signature=abc`
    folder = mkdtempSync(join(root, 's-'))
    expect((await faultOf(pull(registry, {}, new BlobStore(folder)))).message).toMatch(/x, which is not encrypted$/)
    expect(plain.asked).toEqual([])
  })

  test('to loopback goes by no proxy', async () => {
    const registry = await server(registryOf(image))
    await pull(registry, { env: { http_proxy: 'http://127.0.0.1:1', https_proxy: 'http://127.0.0.1:1' } })
  })

  test('to Docker Hub leads by its mirrors, without credentials, and past those that fail', async () => {
    const broken = await server(
      (_request, response) => json(response, 404, 'MANIFEST_UNKNOWN', 'manifest unknown') && undefined
    )
    const mirror = await server(registryOf(image))
    const mirrors = ['http://127.0.0.1:1', broken.url, `${mirror.url}/`]
    const client = clientOf('docker.io', { mirrors, auth: LOGIN })
    const { digest } = await client.manifest(parseReference('a/b:1'))
    expect(digest).toBe(image.digest)
    expect(mirror.asked.map(({ url }) => url)).toEqual(['/v2/a/b/manifests/1'])
    expect([...broken.asked, ...mirror.asked].every(({ headers }) => headers.authorization === undefined)).toBe(true)
  })
})

describe('an upload', () => {
  test('that fails is begun again, and the failed one is taken back', async () => {
    let sessions = 0
    const registry = await server((request, response) => {
      request.resume().on('end', () => {
        if (request.method === 'HEAD') response.writeHead(404).end()
        else if (request.method === 'POST') {
          sessions += 1
          response.writeHead(202, { location: `/v2/a/b/blobs/uploads/${sessions}` }).end()
        } else if (request.method === 'PATCH' && sessions === 1) response.writeHead(503).end()
        else if (request.method === 'PATCH') response.writeHead(202, { location: request.url }).end()
        else response.writeHead(request.method === 'PUT' ? 201 : 204).end()
      })
    })
    let opened = 0
    const open = () => {
      opened += 1
      return Readable.from([layer.bytes], { objectMode: false })
    }
    expect(await clientOf(registry).pushBlob('a/b', layer.descriptor, open)).toBe('uploaded')
    expect([sessions, opened]).toEqual([2, 2])
    expect(registry.asked.some(({ url }) => url.endsWith('/uploads/1'))).toBe(true)
  })

  test('to a registry that will not have it says so', async () => {
    const registry = await server((request, response) => {
      if (request.method === 'HEAD') response.writeHead(404).end()
      else json(response, 403, 'DENIED', 'requested access to the resource is denied')
    })
    const open = () => Readable.from([layer.bytes], { objectMode: false })
    const fault = await faultOf(clientOf(registry).pushBlob('a/b', layer.descriptor, open, 'x/y'))
    expect(fault.message).toBe('denied: requested access to the resource is denied')
  })
})

describe('tags', () => {
  const listed = (registry: TestServer) => clientOf(registry).tags(refOf(registry, 'a/b'))

  test('come page by page, whatever the registry calls itself', async () => {
    const pages: Record<string, { link?: string; tags: string[] | null }> = {
      '/v2/a/b/tags/list': { tags: ['1', '2'], link: '</v2/a/b/tags/list?n=2&last=2>; rel="next"' },
      '/v2/a/b/tags/list?n=2&last=2': {
        tags: ['2', '3'],
        link: '<http://inside.example/v2/a/b/tags/list?last=3>; rel=next'
      },
      '/v2/a/b/tags/list?last=3': { tags: null }
    }
    const registry = await server((request, response) => {
      const page = pages[request.url ?? '']
      if (page?.link !== undefined) response.setHeader('Link', page.link)
      response.end(JSON.stringify({ name: 'a/b', tags: page?.tags ?? [] }))
    })
    expect(await listed(registry)).toEqual(['1', '2', '3'])
  })

  test('end with a registry that leads in a circle', async () => {
    const registry = await server((_request, response) => {
      response.setHeader('Link', '</v2/a/b/tags/list?last=1>; rel="next"')
      response.end('{"tags":["1"]}')
    })
    expect(await listed(registry)).toEqual(['1'])
    expect(registry.asked.filter(({ url }) => url.includes('tags/list'))).toHaveLength(2)
  })

  test.each([
    ['a web page', '<html>'],
    ['no list', '{"tags":1}'],
    ['numbers', '{"tags":[1]}'],
    ['nothing', 'null']
  ])('that are %s are refused', async (_name, body) => {
    const registry = await server((_request, response) => response.end(body))
    expect((await faultOf(listed(registry))).message).toBe(`${hostOf(registry)} gives no list of tags`)
  })

  test('of a repository that is not there are told of in docker’s words', async () => {
    const registry = await server((_request, response) => {
      response.writeHead(404).end('{"errors":[{"code":"NAME_UNKNOWN","message":"no such thing"}]}')
    })
    expect((await faultOf(listed(registry))).message).toBe(
      `repository ${hostOf(registry)}/a/b not found: name unknown: no such thing`
    )
  })
})
