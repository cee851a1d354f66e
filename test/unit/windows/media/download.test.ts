import { execFileSync, spawn } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  statSync,
  utimesSync,
  writeFileSync
} from 'node:fs'
import type { RequestListener } from 'node:http'
import { connect } from 'node:net'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { build } from 'esbuild'
import { afterAll, afterEach, beforeEach, describe, expect, test } from 'vitest'
import { Fault } from '#lib/fault.ts'
import type { ProgressEvent } from '#lib/progress.ts'
import { listMedia, mediaFolder, removeMedia } from '#windows/media/cache.ts'
import { type Download, fetchFile } from '#windows/media/download.ts'
import { PROJECT } from '../../../support/command.ts'
import { sendFile, serve, type TestServer } from '../../../support/file-server.ts'
import { temporaryFolder } from '../../../support/installation-disc.ts'

const { path: root, remove } = temporaryFolder()
afterAll(remove)

/** Something that begins as discs do. */
function discOf(size: number): Buffer {
  const disc = randomBytes(size)
  disc.write('CD001', 0x8001, 'latin1')
  return disc
}

const disc = discOf(3_000_000)
const sha256 = sha256Of(disc)

function sha256Of(bytes: Buffer): string {
  return createHash('sha256').update(bytes).digest('hex')
}

let folder: string
let servers: TestServer[]
let events: ProgressEvent[]
beforeEach(() => {
  folder = join(mkdtempSync(join(root, 'f-')), 'media')
  servers = []
  events = []
})
afterEach(async () => {
  await Promise.all(servers.map(server => server.close()))
})

async function server(answer: RequestListener, tls?: { key: string; cert: string }): Promise<TestServer> {
  const started = await serve(answer, tls)
  servers.push(started)
  return started
}

function fetchTo(
  download: Partial<Download> & { sources: string[] },
  more: { env?: NodeJS.ProcessEnv; signal?: AbortSignal } = {}
) {
  return fetchFile({ file: 'a.iso', kind: 'disc', ...download }, folder, {
    stage: 'disc',
    env: more.env ?? {},
    signal: more.signal ?? new AbortController().signal,
    report: event => events.push(event)
  })
}

async function faultOf(fetching: Promise<unknown>): Promise<Fault> {
  const error = await fetching.catch((thrown: unknown) => thrown)
  expect(error).toBeInstanceOf(Fault)
  return error as Fault
}

const files = () => readdirSync(folder).filter(name => name !== '.locks')
const ranges = ({ asked }: TestServer) => asked.map(({ headers }) => headers.range)

describe('a whole file', () => {
  test('is fetched, checked and kept; the second time it is only looked at', async () => {
    const { url, asked } = await server((request, response) => sendFile(disc, request, response))
    const first = await fetchTo({ sources: [`${url}/a.iso`], sha256: sha256.toUpperCase(), size: disc.length })
    expect(first).toEqual({ path: join(folder, 'a.iso'), size: disc.length, sha256, from: `${url}/a.iso` })
    expect(readFileSync(first.path).equals(disc)).toBe(true)
    expect(files()).toEqual(['a.iso', 'a.iso.json'])
    expect(JSON.parse(readFileSync(join(folder, 'a.iso.json'), 'utf8'))).toEqual({
      sha256,
      size: disc.length,
      source: `${url}/a.iso`,
      verifiedAt: expect.stringMatching(/^\d{4}-/),
      mtime: statSync(first.path).mtimeMs
    })
    expect(events.filter(({ type }) => type === 'step').at(-1)).toMatchObject({ fraction: 1, text: '3.0 of 3.0 MB' })
    events = []
    expect(await fetchTo({ sources: [`${url}/a.iso`], sha256 })).toEqual({ ...first, from: 'cache' })
    expect(asked).toHaveLength(1)
    expect(events).toEqual([])
  })

  test('comes from a path and a file:// URL as well', async () => {
    const file = join(root, 'Disc of mine.iso')
    writeFileSync(file, disc)
    expect(await fetchTo({ sources: [file] })).toMatchObject({ sha256, from: file })
    const url = pathToFileURL(file).href
    expect(await fetchTo({ file: 'b.iso', sources: [url], sha256 })).toMatchObject({ sha256, from: url })
    expect((await faultOf(fetchTo({ file: 'c.iso', sources: [join(root, 'none.iso')] }))).message).toContain(
      'no such file'
    )
  })

  test('may come without a length', async () => {
    const { url } = await server((request, response) => sendFile(disc, request, response, { noLength: true }))
    expect(await fetchTo({ sources: [url] })).toMatchObject({ size: disc.length, sha256 })
  })

  test('may be a zip', async () => {
    const zip = Buffer.concat([Buffer.from('PK\u0003\u0004'), randomBytes(500)])
    const { url } = await server((request, response) => sendFile(zip, request, response))
    expect(await fetchTo({ file: 'docker.zip', kind: 'zip', sources: [url] })).toMatchObject({ size: zip.length })
    expect((await faultOf(fetchTo({ sources: [url] }))).message).toMatch(/only 504 bytes, and it is a zip archive/)
  })

  test.each(['', '.a', '../a', 'a/b', 'a\\b', 'a.part', 'a.iso.json'])('cannot be called "%s"', async file => {
    expect((await faultOf(fetchTo({ file, sources: [] }))).exitCode).toBe(2)
  })
})

describe('a cut', () => {
  test('is gone on from, with the tag of the file', async () => {
    const origin = await server((request, response) =>
      sendFile(disc, request, response, request.headers.range === undefined ? { cutAfter: 1_000_000 } : {})
    )
    expect(await fetchTo({ sources: [origin.url], sha256 })).toMatchObject({ sha256 })
    expect(origin.asked).toHaveLength(2)
    expect(origin.asked[1]?.headers).toMatchObject({ range: 'bytes=1000000-', 'if-range': '"one"' })
  })

  test('again and again is no end as long as bytes come', async () => {
    const origin = await server((request, response) => sendFile(disc, request, response, { cutAfter: 700_000 }))
    expect(await fetchTo({ sources: [origin.url] })).toMatchObject({ sha256 })
    expect(ranges(origin)).toEqual([undefined, ...[700_000, 1_400_000, 2_100_000, 2_800_000].map(at => `bytes=${at}-`)])
  }, 20_000)

  test('by Ctrl-C keeps what came, and the next run begins there', async () => {
    const controller = new AbortController()
    const origin = await server((request, response) => {
      if (request.headers.range !== undefined) sendFile(disc, request, response)
      else {
        response.writeHead(200, { 'content-length': disc.length, etag: '"one"' })
        response.write(disc.subarray(0, 2_000_000), () => setTimeout(() => controller.abort(), 100))
      }
    })
    const fault = await faultOf(fetchTo({ sources: [origin.url], sha256 }, controller))
    expect(fault.exitCode).toBe(130)
    expect(files()).toEqual(['a.iso.part', 'a.iso.part.json'])
    const kept = statSync(join(folder, 'a.iso.part')).size
    // How much of it had come in by then is the machine's business.
    expect(kept).toBeGreaterThan(0)
    expect(await listMedia(folder)).toMatchObject([{ file: 'a.iso', complete: false, size: kept }])
    expect(await fetchTo({ sources: [origin.url], sha256 })).toMatchObject({ sha256 })
    expect(ranges(origin)).toEqual([undefined, `bytes=${kept}-`])
    expect(files()).toEqual(['a.iso', 'a.iso.json'])
  })

  test.each<[string, Parameters<typeof sendFile>[3]]>([
    ['takes no notice of Range', { ignoreRange: true }],
    ['has another file by now', { etag: '"two"' }],
    ['has only a weak tag', { etag: 'W/"one"' }]
  ])('of a server that %s begins afresh', async (_name, options) => {
    leavePart(Buffer.alloc(100_000, 'old'), 'http://127.0.0.1:PORT/', { etag: '"one"' })
    const origin = await server((request, response) => sendFile(disc, request, response, options))
    leavePart(Buffer.alloc(100_000, 'old'), `${origin.url}/`, {
      etag: options?.etag?.startsWith('W/') ? options.etag : '"one"'
    })
    expect(await fetchTo({ sources: [`${origin.url}/`] })).toMatchObject({ sha256 })
  })

  test('is gone on from another source only where the checksum is known', async () => {
    const origin = await server((request, response) => sendFile(disc, request, response, { etag: '"other"' }))
    leavePart(disc.subarray(0, 500_000), 'http://elsewhere.invalid/', { etag: '"one"' })
    expect(await fetchTo({ sources: [`${origin.url}/`], sha256 })).toMatchObject({ sha256 })
    expect(ranges(origin)).toEqual(['bytes=500000-'])
    leavePart(disc.subarray(0, 500_000), 'http://elsewhere.invalid/', { etag: '"one"' }, 'b.iso')
    expect(await fetchTo({ file: 'b.iso', sources: [`${origin.url}/`] })).toMatchObject({ sha256 })
    expect(ranges(origin)[1]).toBeUndefined()
  })

  test('after the last byte needs nothing more', async () => {
    const origin = await server((request, response) => sendFile(disc, request, response))
    leavePart(disc, `${origin.url}/`, { etag: '"one"' })
    expect(await fetchTo({ sources: [`${origin.url}/`] })).toMatchObject({ sha256 })
    expect(ranges(origin)).toEqual([`bytes=${disc.length}-`])
    leavePart(disc, `${origin.url}/`, { etag: '"one"' }, 'b.iso')
    expect(await fetchTo({ file: 'b.iso', sources: [`${origin.url}/`], sha256 })).toMatchObject({ sha256 })
    expect(origin.asked).toHaveLength(1)
  })

  test('that left more than there is, or other bytes, begins afresh', async () => {
    const origin = await server((request, response) => sendFile(disc, request, response))
    leavePart(Buffer.concat([disc, disc]), `${origin.url}/`, { etag: '"one"' })
    expect(await fetchTo({ sources: [`${origin.url}/`] })).toMatchObject({ sha256 })
    leavePart(Buffer.alloc(500_000, 'z'), `${origin.url}/`, { etag: '"one"' }, 'b.iso')
    expect(await fetchTo({ file: 'b.iso', sources: [`${origin.url}/`], sha256 })).toMatchObject({ sha256 })
  })
})

function leavePart(bytes: Buffer, source: string, validator: object, file = 'a.iso'): void {
  mkdirSync(folder, { recursive: true })
  writeFileSync(join(folder, `${file}.part`), bytes)
  writeFileSync(join(folder, `${file}.part.json`), JSON.stringify({ source, validator }))
}

describe('a source that does not give the file', () => {
  const page = '<!doctype html><html><head><title>We are sorry</title></head><body>Your region</body></html>'

  test('makes way for the next', async () => {
    const bad = await server((request, response) => {
      if (request.url === '/403') response.writeHead(403).end('no')
      else if (request.url === '/page') response.writeHead(200, { 'content-type': 'text/html' }).end(page)
      else if (request.url === '/size') response.writeHead(200, { 'content-length': 99_999_999 }).write(disc)
      else sendFile(discOf(disc.length), request, response)
    })
    const good = await server((request, response) => sendFile(disc, request, response))
    const sources = [...['/403', '/page', '/size', '/other'].map(path => bad.url + path), `${good.url}/a`]
    expect(await fetchTo({ sources, sha256, size: disc.length })).toMatchObject({ sha256, from: `${good.url}/a` })
    expect(bad.asked).toHaveLength(4)
  })

  test('is told, each with its reason, and what to do', async () => {
    const bad = await server((request, response) => {
      if (request.url === '/403') response.writeHead(403).end('no')
      else if (request.url === '/page') response.writeHead(200).end(page)
      else if (request.url === '/size') response.writeHead(200, { 'content-length': 99_999_999 }).write(disc)
      else sendFile(discOf(disc.length), request, response)
    })
    const sources = ['/403', '/page', '/size', '/other'].map(path => bad.url + path)
    const fault = await faultOf(fetchTo({ sources, sha256, size: disc.length }))
    expect(fault.message.replace(/[0-9a-f]{64}, /, 'X, ')).toBe(
      [
        'a.iso could not be fetched:',
        `  ${bad.url}/403: it answered 403 Forbidden`,
        `  ${bad.url}/page: it is a web page ("We are sorry")`,
        `  ${bad.url}/size: it has 99999999 bytes, and 3000000 are wanted`,
        `  ${bad.url}/other: its SHA-256 is X, and ${sha256} is wanted`
      ].join('\n')
    )
    expect(fault.hint).toBe('You can download it with a browser, and give it with --iso FILE.')
    expect(existsSync(join(folder, 'a.iso'))).toBe(false)
    expect(statSync(join(folder, 'a.iso.part')).size).toBe(0)
  })

  test('and is Microsoft’s is explained', async () => {
    const proxy = await server((_request, response) => response.writeHead(403).end())
    const env = { http_proxy: proxy.url }
    const fault = await faultOf(
      fetchTo({ sources: ['http://software-static.download.prss.microsoft.com/x.iso'] }, { env })
    )
    expect(fault.hint).toMatch(/^Microsoft refuses some networks\. .*--iso FILE/)
  })

  test('is asked again when that may help', async () => {
    let times = 0
    const origin = await server((request, response) => {
      times += 1
      if (times < 3) response.writeHead(503).end()
      else sendFile(disc, request, response)
    })
    expect(await fetchTo({ sources: [origin.url] })).toMatchObject({ sha256 })
    const dead = await server(request => request.socket.destroy())
    const fault = await faultOf(fetchTo({ file: 'b.iso', sources: [dead.url] }))
    expect(fault.message).toMatch(/the connection was cut$/)
    expect(dead.asked).toHaveLength(3)
  }, 20_000)

  test('sends too much, or a part that nobody asked for', async () => {
    const origin = await server((request, response) => {
      if (request.url === '/more') response.end(Buffer.concat([disc, disc]))
      else if (request.url === '/untold') {
        response.write(Buffer.concat([disc, disc]))
        response.end()
      } else response.writeHead(206, { 'content-range': `bytes 5-9/${disc.length}` }).end('12345')
    })
    const fault = await faultOf(
      fetchTo({ sources: ['/more', '/untold', '/part'].map(path => origin.url + path), size: disc.length })
    )
    expect(fault.message).toMatch(
      /\/more: it has 6000000 bytes[\s\S]*\/untold: it sends more than the 3000000[\s\S]*\/part: it answered with a part/
    )
  })

  test('never makes a name or a password appear', async () => {
    const origin = await server((request, response) => {
      const given = Buffer.from(request.headers.authorization?.slice(6) ?? '', 'base64').toString()
      if (given === 'me:s3cret/' && request.url?.startsWith('/a?')) sendFile(disc, request, response)
      else response.writeHead(401).end()
    })
    const url = origin.url.replace('://', '://me:s3cret%2F@')
    const found = await fetchTo({ sources: [`${url}/b?token=t0ken`, `${url}/a?token=t0ken`] })
    expect(found.from).toBe(`${origin.url}/a?…`)
    const fault = await faultOf(fetchTo({ file: 'b.iso', sources: [`${url}/b?token=t0ken`] }))
    expect(fault.message).toContain(`${origin.url}/b?…: it answered 401 Unauthorized`)
    const said = JSON.stringify([events, found, fault.message, fault.hint, await listMedia(folder)])
    expect(said).not.toMatch(/s3cret|t0ken/)
    expect(readFileSync(join(folder, 'a.iso.json'), 'utf8')).not.toContain('s3cret')
  })
})

describe('redirects', () => {
  test('are followed, without the credentials of the first server', async () => {
    const store = await server((request, response) => sendFile(disc, request, response))
    const front = await server((request, response) => {
      const step = Number(request.url?.slice(1))
      const location = step < 9 ? `/${step + 1}` : `${store.url}/disc.iso`
      response.writeHead(302, { location }).end('moved')
    })
    const first = front.url.replace('://', '://me:secret@')
    expect(await fetchTo({ sources: [`${first}/0`] })).toMatchObject({ sha256, from: `${front.url}/0` })
    expect(store.asked[0]?.headers.authorization).toBeUndefined()
  })

  test('end after ten, and nowhere', async () => {
    const { url, asked } = await server((request, response) => {
      const target = { '/loop': '/loop', '/ftp': 'ftp://x/y', '/none': undefined }[request.url ?? '']
      response.writeHead(301, target === undefined ? {} : { location: target }).end()
    })
    const fault = await faultOf(fetchTo({ sources: [`${url}/loop`, `${url}/ftp`, `${url}/none`] }))
    expect(fault.message).toMatch(/more than 10 times[\s\S]*redirects to ftp:[\s\S]*redirects to nowhere/)
    expect(asked).toHaveLength(11 + 1 + 1)
  })

  test('never leave https', async () => {
    const [key, cert] = [join(root, 'key.pem'), join(root, 'cert.pem')]
    const subject = ['-subj', '/CN=127.0.0.1', '-addext', 'subjectAltName=IP:127.0.0.1']
    const request = ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '1']
    execFileSync('openssl', [...request, '-keyout', key, '-out', cert, ...subject], { stdio: 'ignore' })
    const tls = { key: readFileSync(key, 'utf8'), cert: readFileSync(cert, 'utf8') }
    const plain = await server((request, response) => sendFile(disc, request, response))
    const safe = await server((_request, response) => {
      response.writeHead(302, { location: `${plain.url}/a?key=1` }).end()
    }, tls)
    const untrusted = await faultOf(fetchTo({ sources: [safe.url] }))
    expect(untrusted.message).toMatch(/self-signed certificate/)
    process.env.NODE_TLS_REJECT_UNAUTHORIZED = '0'
    try {
      const fault = await faultOf(fetchTo({ sources: [safe.url] }))
      expect(fault.message).toContain(`it redirects to ${plain.url}/a?…, which is not encrypted`)
    } finally {
      delete process.env.NODE_TLS_REJECT_UNAUTHORIZED
    }
    expect(plain.asked).toEqual([])
  }, 20_000)
})

describe('a proxy', () => {
  test('is gone through, but not for the hosts of NO_PROXY', async () => {
    const origin = await server((request, response) => sendFile(disc, request, response))
    const proxy = await server((request, response) => sendFile(disc, request, response))
    const env = { HTTP_PROXY: `me:secret@127.0.0.1:${proxy.port}` }
    expect(await fetchTo({ sources: ['http://discs.invalid/a.iso'] }, { env })).toMatchObject({ sha256 })
    expect(proxy.asked[0]).toMatchObject({
      url: 'http://discs.invalid/a.iso',
      headers: { 'proxy-authorization': `Basic ${Buffer.from('me:secret').toString('base64')}` }
    })
    await fetchTo({ file: 'b.iso', sources: [origin.url] }, { env: { ...env, no_proxy: '127.0.0.1' } })
    expect(origin.asked).toHaveLength(1)
    expect(proxy.asked).toHaveLength(1)
  })

  test('of https is a tunnel', async () => {
    const hosts: string[] = []
    const origin = await server((request, response) => sendFile(disc, request, response))
    const proxy = await server((_request, response) => response.end())
    const tunnel = await serveTunnel(origin.port, hosts)
    try {
      const env = { https_proxy: tunnel.url, http_proxy: proxy.url }
      const fault = await faultOf(fetchTo({ sources: ['https://discs.invalid/a.iso'] }, { env }))
      // The far end speaks no TLS; that it was asked for shows the way.
      expect(fault.message).toContain('https://discs.invalid/a.iso: ')
      expect(hosts[0]).toBe('discs.invalid:443')
    } finally {
      tunnel.close()
    }
  }, 20_000)

  test('that is none is told without its password', async () => {
    const fault = await faultOf(
      fetchTo({ sources: ['http://x.invalid/'] }, { env: { http_proxy: 'http://me:s3cret@:x' } })
    )
    expect(fault.message).toMatch(/HTTP_PROXY or HTTPS_PROXY is not the URL of a proxy/)
    expect(fault.message).not.toContain('s3cret')
  })
})

async function serveTunnel(port: number, hosts: string[]): Promise<{ url: string; close: () => void }> {
  const { createServer } = await import('node:http')
  const proxy = createServer()
  proxy.on('connect', (request, socket) => {
    hosts.push(request.url ?? '')
    const far = connect(port, '127.0.0.1', () => {
      socket.write('HTTP/1.1 200 OK\r\n\r\n')
      far.pipe(socket).pipe(far)
    })
    far.on('error', () => socket.destroy())
    socket.on('error', () => far.destroy())
  })
  await new Promise<void>(resolve => proxy.listen(0, '127.0.0.1', resolve))
  const address = proxy.address()
  const url = `http://127.0.0.1:${typeof address === 'object' ? address?.port : 0}`
  return {
    url,
    close: () => {
      proxy.closeAllConnections()
      proxy.close()
    }
  }
}

describe('the disk', () => {
  test('is looked at before a download that it cannot hold', async () => {
    const size = 2 ** 52
    const origin = await server((_request, response) => {
      response.writeHead(200, { 'content-length': size })
      response.write(disc)
    })
    for (const download of [{ sources: [origin.url], size }, { sources: [origin.url] }]) {
      const fault = await faultOf(fetchTo(download))
      expect(fault).toMatchObject({
        exitCode: 4,
        message: expect.stringMatching(/^a\.iso needs 4504 TB, and .* has only .* free/)
      })
    }
  })

  test.skipIf(!canMount())(
    'that fills up keeps what came',
    async () => {
      const origin = await server((request, response) => sendFile(disc, request, response, { noLength: true }))
      mkdirSync(folder, { recursive: true })
      const program = await bundled()
      const script = `mount -t tmpfs -o size=2m tmpfs "$1" && "$2" "$3" "$1" "$4"; ls -l "$1"`
      const { out } = await ran('unshare', [
        '-rm',
        'sh',
        '-c',
        script,
        'sh',
        folder,
        process.execPath,
        program,
        origin.url
      ])
      expect(out).toMatch(/the disk is full: .*a\.iso\.part could not be written on/)
      expect(out).toMatch(/ (1|2)\d{6} .* a\.iso\.part$/m)
    },
    30_000
  )
})

function canMount(): boolean {
  try {
    execFileSync('unshare', ['-rm', 'true'], { stdio: 'ignore' })
    return true
  } catch {
    return false
  }
}

/** A program of its own that fetches the URL of its second argument into the folder of its first. */
async function bundled(): Promise<string> {
  const outfile = join(root, 'fetch.mjs')
  if (existsSync(outfile)) return outfile
  // Where the program looks for its own version.
  writeFileSync(join(root, 'package.json'), '{"version":"0.0.0"}')
  await build({
    absWorkingDir: PROJECT,
    stdin: {
      contents: `import { fetchFile } from '#windows/media/download.ts'
        const [folder, url] = process.argv.slice(2)
        const work = { stage: 'disc', env: {}, signal: new AbortController().signal, report: () => {} }
        fetchFile({ file: 'a.iso', kind: 'disc', sources: [url] }, folder, work).then(
          found => console.log(JSON.stringify(found)),
          error => console.log(error.message))`,
      resolveDir: PROJECT,
      loader: 'ts'
    },
    outfile,
    bundle: true,
    platform: 'node',
    format: 'esm',
    banner: { js: "import{createRequire as __cr}from'node:module';const require=__cr(import.meta.url);" },
    logLevel: 'silent'
  })
  return outfile
}

async function ran(program: string, args: string[], started: (kill: () => void) => void = () => undefined) {
  const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'] })
  let out = ''
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', text => {
      out += text
    })
  }
  started(() => child.kill('SIGKILL'))
  const code = await new Promise(resolve => child.on('close', resolve))
  return { out, code }
}

describe('the cache', () => {
  test('is shared by two at once: one fetches, the other waits and says so', async () => {
    const origin = await server((request, response) => {
      setTimeout(() => sendFile(disc, request, response), 300)
    })
    const download = { sources: [origin.url], sha256 }
    const both = await Promise.all([fetchTo(download), fetchTo(download)])
    expect(both.map(({ from }) => from).sort()).toEqual(['cache', `${origin.url}/`])
    expect(origin.asked).toHaveLength(1)
    expect(events).toContainEqual({
      type: 'notice',
      text: expect.stringMatching(/^Waiting for .*, which fetches a\.iso as well\.$/)
    })
  })

  test('holds nothing half after kill -9, and the next run goes on', async () => {
    let kill: () => void = () => undefined
    const origin = await server((request, response) => {
      if (request.headers.range !== undefined) return sendFile(disc, request, response)
      response.writeHead(200, { 'content-length': disc.length, etag: '"one"' })
      response.write(disc.subarray(0, 2_500_000), () => setTimeout(() => kill(), 300))
    })
    await ran(process.execPath, [await bundled(), folder, origin.url], stop => {
      kill = stop
    })
    expect(files()).toEqual(['a.iso.part', 'a.iso.part.json'])
    expect(statSync(join(folder, 'a.iso.part')).size).toBeGreaterThan(1_000_000)
    expect(await fetchTo({ sources: [origin.url] })).toMatchObject({ sha256 })
    expect(ranges(origin)[1]).toMatch(/^bytes=[12]\d{6}-$/)
  }, 30_000)

  test('takes a file that was put there by hand, when it is the right one', async () => {
    mkdirSync(folder, { recursive: true })
    writeFileSync(join(folder, 'a.iso'), disc)
    expect(await fetchTo({ sources: ['http://x.invalid/'], sha256 })).toMatchObject({ from: 'cache', sha256 })
    expect(await listMedia(folder)).toMatchObject([{ file: 'a.iso', complete: true, sha256 }])
  })

  test('looks again at a file that changed, and replaces it', async () => {
    const origin = await server((request, response) => sendFile(disc, request, response))
    const { path } = await fetchTo({ sources: [origin.url], sha256 })
    utimesSync(path, 1, 1)
    expect(await listMedia(folder)).toMatchObject([{ complete: true }])
    expect((await listMedia(folder))[0]?.sha256).toBeUndefined()
    expect(await fetchTo({ sources: [origin.url], sha256 })).toMatchObject({ from: 'cache' })
    writeFileSync(path, discOf(disc.length))
    expect(await fetchTo({ sources: [origin.url], sha256 })).toMatchObject({ from: `${origin.url}/`, sha256 })
    expect(readFileSync(path).equals(disc)).toBe(true)
    expect(events).toContainEqual({
      type: 'notice',
      text: 'The a.iso in the cache is another file; it will be replaced.'
    })
  })

  test('does not take a file of the same name from elsewhere for the wanted one', async () => {
    const other = discOf(100_000)
    const origin = await server((request, response) =>
      sendFile(request.url === '/one/a.iso' ? disc : other, request, response)
    )
    await fetchTo({ sources: [`${origin.url}/one/a.iso`] })
    expect(await fetchTo({ sources: [`${origin.url}/two/a.iso`] })).toMatchObject({ sha256: sha256Of(other) })
    expect(await fetchTo({ sources: [`${origin.url}/two/a.iso`] })).toMatchObject({ from: 'cache' })
  })

  test('is listed and emptied', async () => {
    expect(mediaFolder('/home')).toBe('/home/media')
    expect(await listMedia(join(root, 'nothing'))).toEqual([])
    const origin = await server((request, response) => sendFile(disc, request, response))
    await fetchTo({ sources: [`${origin.url}/?secret`] })
    leavePart(Buffer.alloc(10), 'http://x/', {}, 'b.iso')
    expect(await listMedia(folder)).toEqual([
      {
        file: 'a.iso',
        path: join(folder, 'a.iso'),
        size: disc.length,
        complete: true,
        sha256,
        source: `${origin.url}/?…`,
        verifiedAt: expect.any(String)
      },
      { file: 'b.iso', path: join(folder, 'b.iso.part'), size: 10, complete: false }
    ])
    expect(await removeMedia(folder, 'a.iso')).toBe(disc.length)
    expect(await removeMedia(folder, 'b.iso')).toBe(10)
    expect(files()).toEqual([])
    await expect(removeMedia(folder, 'a.iso')).rejects.toMatchObject({ exitCode: 2 })
    await expect(removeMedia(folder, '../a')).rejects.toMatchObject({ exitCode: 2 })
  })

  test('does not lose a file while it is fetched', async () => {
    let removal: Promise<unknown> | undefined
    const origin = await server((request, response) => {
      response.writeHead(200, { 'content-length': disc.length })
      response.write(disc.subarray(0, 200_000), () =>
        setTimeout(() => {
          removal = removeMedia(folder, 'a.iso').catch((error: unknown) => error)
          void removal.then(() => response.end(disc.subarray(200_000)))
        }, 200)
      )
      request.resume()
    })
    await fetchTo({ sources: [origin.url], sha256 })
    expect(await removal).toMatchObject({
      exitCode: 3,
      message: expect.stringMatching(/a\.iso is in use by the download/)
    })
  })
})
