import { mkdtemp, rm } from 'node:fs/promises'
import { createServer, type IncomingMessage, request, type Server } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { buffer, text } from 'node:stream/consumers'
import { setTimeout as sleep } from 'node:timers/promises'
import { gzipSync } from 'node:zlib'
import { extract, pack } from 'tar-stream'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { Engine } from '#docker/engine.ts'
import { matchRoute } from '#gateway/routes.ts'
import { buildRoutes } from '#gateway/wine-engine/build.ts'
import { ImageStore } from '#gateway/wine-engine/image-store.ts'
import { baseImage, type KnownBase, knownBase } from '#image/bases.ts'
import { IMAGE_LABEL } from '#image/windows-config.ts'
import { sendFile, serve, type TestServer } from '../../../support/file-server.ts'

/** What the engine of a test does with POST /build. */
type EngineBuild = (
  request: IncomingMessage,
  files: Map<string, string>
) => Promise<{ status?: number; lines: object[] }>

let folder = ''
let engineBuild: EngineBuild
let seen: { target: string; files: Map<string, string> }[] = []
let asked: string[] = []
let aborted = 0
let servers: Server[] = []

const label = JSON.stringify(baseImage(knownBase('windowsservercore') as KnownBase))

async function untar(body: Readable): Promise<Map<string, string>> {
  const files = new Map<string, string>()
  const reader = extract()
  reader.on('entry', (header, stream, next) => {
    buffer(stream).then(content => {
      files.set(header.name, content.toString('utf8'))
      next()
    }, next)
  })
  body.once('close', () => {
    if (!body.readableEnded) reader.destroy(new Error('aborted'))
  })
  await new Promise<void>((resolve, reject) => {
    reader.once('finish', () => resolve())
    reader.once('error', reject)
    body.pipe(reader)
  })
  return files
}

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'build-'))
  seen = []
  asked = []
  aborted = 0
  engineBuild = async () => ({ lines: [{ stream: 'Successfully built 0123456789ab\n' }] })
  const engine = createServer((incoming, response) => {
    asked.push(`${incoming.method} ${incoming.url}`)
    const answer = (status: number, body: object): void => {
      response.writeHead(status, { 'Content-Type': 'application/json' }).end(JSON.stringify(body))
    }
    if (/\/images\/(win|127.0.0.1:1)\/own|\/images\/win\//.test(decodeURIComponent(incoming.url ?? ''))) {
      answer(200, { Id: 'sha256:1', Os: 'linux', Architecture: 'amd64', Config: { Labels: { [IMAGE_LABEL]: label } } })
    } else if (incoming.url?.includes('/images/debian/')) answer(200, { Id: 'sha256:2', Config: { Labels: null } })
    else if (incoming.url === '/info') answer(200, { ID: 'fake' })
    else if (/^\/(images|containers)\/json/.test(incoming.url ?? '')) answer(200, [])
    else if (incoming.url?.includes('/build?')) {
      incoming.once('close', () => {
        if (!incoming.complete) aborted++
      })
      response.once('close', () => {
        if (!response.writableEnded) aborted++
      })
      untar(incoming)
        .then(async files => {
          seen.push({ target: incoming.url ?? '', files })
          const { status = 200, lines } = await engineBuild(incoming, files)
          response.writeHead(status, { 'Content-Type': 'application/json' })
          response.end(lines.map(line => `${JSON.stringify(line)}\r\n`).join(''))
        })
        .catch(() => response.destroy())
    } else answer(404, { message: 'No such image' })
  })
  const client = new Engine({ kind: 'unix', path: join(folder, 'engine.sock') })
  const context = {
    machine: 'm',
    engine: client,
    images: new ImageStore(join(folder, 'images'), client, { PATH: process.env.PATH }),
    log: { info: () => {}, warn: () => {}, error: () => {} }
  }
  const routes = buildRoutes(context)
  const gateway = createServer((incoming, response) => {
    const found = matchRoute(routes, { method: incoming.method ?? '', target: incoming.url ?? '', headers: [] })
    if (found === undefined) throw new Error('no route')
    Promise.resolve(found.route.action(found.match))
      .then(handling => (handling.kind === 'handle' ? handling.handler(incoming, response) : undefined))
      .catch((error: Error & { status?: number }) => {
        if (response.headersSent) response.destroy()
        else response.writeHead(error.status ?? 500).end(JSON.stringify({ message: error.message }))
      })
  })
  servers = [engine, gateway]
  await new Promise<void>(resolve => engine.listen(join(folder, 'engine.sock'), resolve))
  await new Promise<void>(resolve => gateway.listen(join(folder, 'gateway.sock'), resolve))
})

afterEach(async () => {
  for (const server of servers) {
    server.closeAllConnections()
    server.close()
  }
  await rm(folder, { recursive: true })
})

interface Answer {
  status: number
  body: string
}

function send(path: string, body: Buffer | Readable, signal?: AbortSignal): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const outgoing = request(
      { socketPath: join(folder, 'gateway.sock'), method: 'POST', path, ...(signal === undefined ? {} : { signal }) },
      incoming => {
        text(incoming).then(read => resolve({ status: incoming.statusCode ?? 0, body: read }), reject)
      }
    )
    outgoing.once('error', reject)
    if (body instanceof Readable) body.pipe(outgoing)
    else outgoing.end(body)
  })
}

async function tar(files: Record<string, string>): Promise<Buffer> {
  const archive = pack()
  for (const [name, content] of Object.entries(files)) archive.entry({ name }, content)
  archive.finalize()
  return await buffer(Readable.from(archive))
}

const good = 'FROM win/base:1\nENV A=b\n'

test('sends the context on with the translated Dockerfile, and its own query', async () => {
  const { status, body } = await send(
    '/v1.41/build?t=a:b&dockerfile=win%5CDockerfile&rm=0&forcerm=1&platform=windows/amd64',
    await tar({ 'a.txt': 'a', 'win/Dockerfile': good })
  )
  expect(status).toBe(200)
  expect(body).toContain('Successfully built 0123456789ab')
  const [build] = seen
  expect(build?.target).toBe('/v1.41/build?t=a%3Ab&version=1&rm=1&dockerfile=.oriel.dockerfile')
  expect(build?.files.get('a.txt')).toBe('a')
  expect(build?.files.get('win/Dockerfile')).toBe(good)
  expect(build?.files.get('.oriel.dockerfile')).toMatch(
    /^FROM --platform=linux\/amd64 win\/base:1 AS oriel-stage-0\nLABEL /
  )
})

test('takes a gzipped context', async () => {
  const { status } = await send('/build', gzipSync(await tar({ Dockerfile: good })))
  expect(status).toBe(200)
  expect(seen[0]?.files.has('.oriel.dockerfile')).toBe(true)
})

test('shows the steps of the person, and removes the container that failed', async () => {
  engineBuild = async (_, files) => {
    const generated = files.get('.oriel.dockerfile') ?? ''
    const [from = '', run = ''] = generated.split('\n')
    const message = "The command '/oriel/init run x' returned a non-zero code: 5"
    return {
      lines: [
        { stream: `Step 1/3 : ${from}` },
        { stream: '\n' },
        { stream: ' ---> 0123456789ab\n' },
        { stream: `Step 2/3 : ${run}` },
        { stream: '\n' },
        { stream: ' ---> Running in ba9876543210\n' },
        { stream: 'out\n' },
        { error: message, errorDetail: { code: 5, message } }
      ]
    }
  }
  const { body } = await send('/build?forcerm=1', await tar({ Dockerfile: `${good}RUN exit 5\nCMD x` }))
  const shown = body
    .trim()
    .split('\r\n')
    .map(line => JSON.parse(line) as { stream?: string; error?: string })
  expect(shown.map(({ stream, error }) => stream ?? error).join('')).toBe(
    'Step 1/4 : FROM win/base:1\n ---> 0123456789ab\nStep 2/4 : ENV A=b\n ---> 0123456789ab\n' +
      'Step 3/4 : RUN exit 5\n ---> Running in ba9876543210\nout\nRemoving intermediate container ba9876543210\n' +
      "The command 'cmd /S /C exit 5' returned a non-zero code: 5"
  )
  expect(asked).toContain('DELETE /containers/ba9876543210?force=1&v=1')
})

describe('is refused', () => {
  test.each<[string, string, Record<string, string>, number, string]>([
    [
      'an unknown instruction',
      '',
      { Dockerfile: `${good}FOO` },
      400,
      'dockerfile parse error line 3: unknown instruction: FOO'
    ],
    [
      'PowerShell',
      '',
      { Dockerfile: `${good}RUN powershell x` },
      400,
      'Dockerfile line 3: RUN powershell x: this machine'
    ],
    ['a Linux image', '', { Dockerfile: 'FROM debian/x' }, 400, 'image operating system "linux" cannot be used'],
    [
      'an image that no registry gives',
      '',
      { Dockerfile: 'FROM 127.0.0.1:1/x:1' },
      500,
      '127.0.0.1:1/v2/x/manifests/1'
    ],
    [
      'one that is there and is to be pulled',
      '?pull=1',
      { Dockerfile: 'FROM 127.0.0.1:1/own:1' },
      500,
      '127.0.0.1:1/v2/own/manifests/1'
    ],
    ['no Dockerfile', '', { a: 'b' }, 500, 'Cannot locate specified Dockerfile: Dockerfile'],
    ['an empty one', '', { Dockerfile: '' }, 400, 'the Dockerfile (Dockerfile) cannot be empty'],
    ['Hyper-V', '?isolation=hyperv', { Dockerfile: good }, 400, 'Hyper-V'],
    ['a ref that is an option', '?remote=https://x/y.git%23-x', {}, 400, 'invalid refspec: -x'],
    ['a Git repository that is not there', '?remote=git://127.0.0.1:1/y', {}, 500, 'error fetching: '],
    ['a session', '?remote=client-session', {}, 400, 'BuildKit'],
    ['what is no URL', '?remote=some/where', {}, 400, 'remoteURL (some/where) could not be recognized as URL'],
    ['a server that is not there', '?remote=http://127.0.0.1:1/x', {}, 500, 'connect: connection refused']
  ])('%s', async (_, query, files, status, message) => {
    const answer = await send(`/build${query}`, await tar(files))
    expect(answer.status).toBe(status)
    expect((JSON.parse(answer.body) as { message: string }).message).toContain(message)
    expect(seen).toEqual([])
  })

  test('a damaged context in the middle of a long upload', async () => {
    const data = Buffer.concat([
      await tar({ a: 'b' }).then(full => full.subarray(0, 1024)),
      Buffer.alloc(20_000_000, 'x')
    ])
    const answer = await send('/build', data)
    expect(answer).toEqual({
      status: 500,
      body: '{"message":"Error processing tar file(exit status 1): archive/tar: invalid tar header"}'
    })
  })

  test('a damaged gzip', async () => {
    const data = gzipSync(await tar({ Dockerfile: good, a: 'b'.repeat(5000) }))
    data.fill(0xff, 60)
    expect((await send('/build', data)).status).toBe(500)
  })

  test('what the engine refuses, in its words', async () => {
    engineBuild = async () => ({ status: 400, lines: [{ message: 'no space in /c/drive_c/app' }] })
    expect(await send('/build', await tar({ Dockerfile: good }))).toEqual({
      status: 400,
      body: '{"message":"no space in C:\\\\app"}'
    })
  })
})

test('a client that leaves during the upload ends the upload to the engine', async () => {
  const leave = new AbortController()
  const source = new Readable({ read() {} })
  source.push((await tar({ a: 'x'.repeat(4000) })).subarray(0, 3000))
  const sent = send('/build', source, leave.signal)
  while (asked.length === 0) await sleep(5)
  leave.abort()
  await expect(sent).rejects.toThrow()
  for (let waited = 0; aborted === 0 && waited < 200; waited++) await sleep(10)
  expect(aborted).toBeGreaterThan(0)
})

test('a client that leaves during the build ends it', async () => {
  engineBuild = () => new Promise(() => {})
  const leave = new AbortController()
  const sent = send('/build', await tar({ Dockerfile: good }), leave.signal)
  while (seen.length === 0) await sleep(5)
  leave.abort()
  await expect(sent).rejects.toThrow()
  for (let waited = 0; aborted === 0 && waited < 200; waited++) await sleep(10)
  expect(aborted).toBeGreaterThan(0)
})

describe('of a URL', () => {
  let web: TestServer
  let answer: { status?: number; type?: string; body: Buffer | string } = { body: '' }
  beforeEach(async () => {
    web = await serve((_request, response) => {
      const { status = 200, type, body } = answer
      response.writeHead(status, type === undefined ? {} : { 'Content-Type': type }).end(body)
    })
  })
  afterEach(() => web.close())

  const ask = (rest = '') =>
    send(`/build?remote=${encodeURIComponent(`${web.url}/x?token=secret`)}${rest}`, Buffer.alloc(0))

  test.each([
    ['application/x-tar', (data: Buffer) => data],
    ['application/octet-stream', gzipSync],
    ['text/plain', gzipSync],
    [undefined, gzipSync]
  ])('an archive that is called %s is the context', async (type, packed) => {
    const files = { 'a.txt': 'a', 'win/Dockerfile': good }
    answer = { body: packed(await tar(files)), ...(type === undefined ? {} : { type }) }
    expect((await ask('&dockerfile=win/Dockerfile')).status).toBe(200)
    expect(seen[0]?.files.get('a.txt')).toBe('a')
    expect(seen[0]?.files.get('.oriel.dockerfile')).toContain('FROM --platform=linux/amd64 win/base:1')
  })

  test.each(['text/plain; charset=utf-8', 'application/octet-stream'])(
    'a text that is called %s is the Dockerfile',
    async type => {
      answer = { body: good, type }
      expect((await ask('&dockerfile=is/ignored')).status).toBe(200)
      expect(seen[0]?.files.get('.oriel.dockerfile')).toContain('FROM --platform=linux/amd64 win/base:1')
      expect([...(seen[0]?.files.keys() ?? [])]).not.toContain('is/ignored')
    }
  )

  test.each<[string, typeof answer, number, RegExp]>([
    ['nothing', { body: '' }, 400, /error detecting content type for remote .*: empty response/],
    ['a page', { body: '<!DOCTYPE html><p>', type: 'text/html' }, 400, /unsupported Content-Type "text\/html"/],
    ['a page by another name', { body: '<html>', type: 'application/octet-stream' }, 400, /unsupported Content-Type/],
    ['a picture', { body: 'PNG', type: 'image/png' }, 400, /unsupported Content-Type "image\/png"/],
    [
      'no file',
      { body: 'gone', status: 404 },
      404,
      /^error downloading remote context .*: failed to GET .* with status 404 Not Found: gone$/
    ],
    ['a failure', { body: 'oh', status: 503 }, 500, /503 Service Unavailable: oh/],
    ['a damaged archive', { body: Buffer.alloc(2000, 1), type: 'application/x-tar' }, 500, /Error processing tar file/]
  ])('that gives %s is refused', async (_name, given, status, message) => {
    answer = given
    const { status: refused, body } = await ask()
    expect(refused).toBe(status)
    expect(JSON.parse(body).message).toMatch(message)
    expect(body).not.toContain('secret')
    expect(seen).toEqual([])
  })
})

test('a URL whose server cuts the connection is an error, and no build', async () => {
  const whole = await tar({ Dockerfile: good, a: 'x'.repeat(5000) })
  const web = await serve((request, response) => sendFile(whole, request, response, { cutAfter: 3000 }))
  const { status, body } = await send(`/build?remote=${encodeURIComponent(`${web.url}/x.tar`)}`, Buffer.alloc(0))
  await web.close()
  expect([status, JSON.parse(body).message]).toEqual([500, 'unexpected EOF: the connection was cut'])
  expect(seen).toEqual([])
})

test('there is no build cache to prune and nothing to cancel', async () => {
  expect(await send('/v1.41/build/prune?all=1', Buffer.alloc(0))).toEqual({
    status: 200,
    body: '{"CachesDeleted":null,"SpaceReclaimed":0}\n'
  })
  expect((await send('/v1.41/build/cancel?id=x', Buffer.alloc(0))).status).toBe(200)
})
