import { type IncomingMessage, request, type ServerResponse } from 'node:http'
import { Readable } from 'node:stream'
import { afterEach, expect, test, vi } from 'vitest'
import { lineTransform, pipeAnswer, readJson, sendError, sendJson } from '#gateway/proxy/respond.ts'
import { pause, type Rig, readAll, readUntil, rig, until } from './rig.ts'

// Hundreds of megabytes pass here, on machines that may be busy.
vi.setConfig({ testTimeout: 60_000 })

let rigs: Rig[] = []
afterEach(async () => {
  for (const one of rigs) await one.stop()
  rigs = []
})
type Handler = (request: IncomingMessage, response: ServerResponse) => Promise<void>
async function start(handler: Handler): Promise<Rig> {
  const made = await rig(undefined, () => ({ kind: 'handle', handler }))
  rigs.push(made)
  return made
}

const plain = 'GET /x HTTP/1.1\r\nHost: d\r\n\r\n'

test('a handled request comes whole, and its answer closes the connection', async () => {
  const { talk } = await start(async (incoming, response) => {
    sendJson(response, 201, { url: incoming.url, raw: incoming.rawHeaders, body: await readJson(incoming) })
  })
  const body = JSON.stringify({ Image: 'é', pad: 'x'.repeat(200_000) })
  const length = Buffer.byteLength(body)
  const head = `POST /v1.41/y HTTP/1.1\r\nhOst: d\r\nContent-Length: ${length}\r\n\r\n`
  for (const pieces of [
    [head + body],
    [head, body],
    [head.slice(0, 9), head.slice(9), body.slice(0, 9), body.slice(9, 70_000), body.slice(70_000)]
  ]) {
    const answer = await talk(...pieces)
    expect(answer).toMatch(/^HTTP\/1.1 201 Created\r\n/)
    expect(answer).toMatch(/\r\nConnection: close\r\n/i)
    const got = JSON.parse(Buffer.from(answer.slice(answer.indexOf('\r\n\r\n') + 4), 'latin1').toString())
    expect(got).toEqual({
      url: '/v1.41/y',
      raw: ['hOst', 'd', 'Content-Length', String(length)],
      body: JSON.parse(body)
    })
  }
})

test('a chunked upload of 50 MB reaches the handler with back-pressure', async () => {
  const total = 50 * 1024 * 1024
  const { path } = await start(async (incoming, response) => {
    let length = 0
    for await (const chunk of incoming) length += chunk.length
    sendJson(response, 200, length)
  })
  const block = Buffer.alloc(1024 * 1024)
  const answer = await new Promise<string>((resolve, reject) => {
    const outgoing = request({ socketPath: path, method: 'POST', path: '/build' }, incoming => {
      incoming.setEncoding('utf8').once('data', resolve)
    })
    outgoing.once('error', reject)
    Readable.from(Array.from({ length: total / block.length }, () => block)).pipe(outgoing)
  })
  expect(answer).toBe(`${total}\n`)
})

test('a rejection is an answer: with its status, or as 500 and for the log', async () => {
  let error: Error = Object.assign(new Error('No such image'), { status: 404 })
  const { talk, errors } = await start(() => {
    throw error
  })
  expect(await talk(plain)).toMatch(/^HTTP\/1.1 404 Not Found\r\n.*\r\n\r\n\{"message":"No such image"\}\n$/s)
  expect(errors).toEqual([])
  error = new TypeError('bug')
  expect(await talk(plain)).toMatch(/^HTTP\/1.1 500 .*\{"message":"bug"\}\n$/s)
  error = Object.assign(new Error('strange status'), { status: 42 })
  expect(await talk(plain)).toMatch(/^HTTP\/1.1 500 /)
  expect(errors).toHaveLength(2)
})

test('a rejection behind the head cuts the answer off', async () => {
  const { talk } = await start(async (_incoming, response) => {
    response.write('some')
    await pause(10)
    throw new Error('engine gone')
  })
  const answer = await talk(plain)
  expect(answer).toContain('some')
  expect(answer).not.toMatch(/0\r\n\r\n$/)
})

test('a second request on the connection is not handled', async () => {
  let handled = 0
  const { talk } = await start(async (_incoming, response) => {
    handled++
    await pause(20)
    sendJson(response, 200, handled)
  })
  expect((await talk(plain + plain + plain)).match(/HTTP\/1.1/g)).toHaveLength(1)
  expect(handled).toBe(1)
})

test('an Upgrade header does not matter to a handler', async () => {
  const { talk } = await start(async (_incoming, response) => sendError(response, 501, 'no sessions here'))
  const answer = await talk('POST /session HTTP/1.1\r\nHost: d\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n')
  expect(answer).toMatch(/^HTTP\/1.1 501 .*no sessions here/s)
})

test('bad JSON is a 400, a body that is too large a 413 that arrives', async () => {
  const { talk, open } = await start(async (incoming, response) => {
    sendJson(response, 200, (await readJson(incoming, 1000)) ?? 'nothing')
  })
  const post = (body: string) => `POST / HTTP/1.1\r\nHost: d\r\nContent-Length: ${body.length}\r\n\r\n${body}`
  expect(await talk(post('{"a":1}'))).toMatch(/\{"a":1\}\n$/)
  expect(await talk(post('{"a":'))).toMatch(/^HTTP\/1.1 400 .*not JSON/s)
  expect(await talk(post(''))).toMatch(/"nothing"\n$/)
  const client = open()
  let failure: unknown
  client.on('error', error => {
    failure = error
  })
  client.write(`POST / HTTP/1.1\r\nHost: d\r\nContent-Length: ${20 << 20}\r\n\r\n`)
  for (let n = 0; n < 20; n++) client.write(Buffer.alloc(1 << 20, ' '))
  expect(await readAll(client)).toMatch(/^HTTP\/1.1 413 .*larger than 1000 bytes/s)
  expect(failure).toBeUndefined()
  client.end()
})

async function mapped(chunks: (string | Buffer)[], ...args: Parameters<typeof lineTransform>): Promise<string> {
  const stream = Readable.from(chunks.map(chunk => Buffer.from(chunk))).pipe(lineTransform(...args))
  let text = ''
  for await (const chunk of stream) text += chunk
  return text
}

test('lines are mapped whole, in order, with their breaks', async () => {
  const slowly = async (line: string) => {
    if (line === 'a') await pause(20)
    return line === 'drop' ? undefined : `<${line}>`
  }
  expect(await mapped(['a\nb\r\ndr', 'op\nc', '\n\nlast'], slowly)).toBe('<a>\n<b>\r\n<c>\n<>\n<last>')
  const split = Buffer.from('é\n')
  expect(await mapped([split.subarray(0, 1), split.subarray(1)], line => line)).toBe('é\n')
  expect(await mapped([], line => `${line}!`)).toBe('')
})

test('a line without end is cut off by an error, and so is a mapping that fails', async () => {
  const stream = lineTransform(line => line, 10)
  const failed = new Promise(resolve => stream.once('error', resolve))
  stream.write('x'.repeat(11))
  expect(await failed).toMatchObject({ status: 502 })
  const other = lineTransform(() => {
    throw new Error('odd line')
  })
  const failedToo = new Promise(resolve => other.once('error', resolve))
  other.write('x\n')
  expect(await failedToo).toMatchObject({ message: 'odd line' })
})

test('an answer is piped: head at once, lines as they come, hop-by-hop headers left out', async () => {
  const body = new Readable({ read() {} })
  const { open } = await start((_incoming, response) =>
    pipeAnswer(
      {
        status: 200,
        headers: { 'transfer-encoding': 'chunked', connection: 'keep-alive', 'api-version': '1.41', ostype: 'linux' },
        body
      },
      response,
      { headers: { ostype: 'windows', 'x-none': undefined }, through: lineTransform(line => line.toUpperCase()) }
    )
  )
  const client = open()
  client.write(plain)
  const head = await readUntil(client, '\r\n\r\n')
  expect(head).toContain('ostype: windows\r\n')
  expect(head).toContain('api-version: 1.41\r\n')
  expect(head.match(/connection/gi)).toHaveLength(1)
  expect(head).toMatch(/connection: close/i)
  body.push('one\n')
  expect(await readUntil(client, 'ONE')).toContain('ONE\n')
  body.push(null)
  expect(await readAll(client)).toMatch(/0\r\n\r\n$/)
})

test('a client that goes away closes the piped answer, without an error', async () => {
  const body = new Readable({ read() {} })
  const { open, errors } = await start((_incoming, response) =>
    pipeAnswer({ status: 200, headers: {}, body }, response)
  )
  const client = open()
  client.write(plain)
  await readUntil(client, '\r\n\r\n')
  client.destroy()
  await until(() => body.destroyed)
  expect(errors).toEqual([])
})

test('an engine that breaks off in the middle cuts the piped answer off', async () => {
  const body = new Readable({ read() {} })
  const { open, errors } = await start((_incoming, response) =>
    pipeAnswer({ status: 200, headers: {}, body }, response)
  )
  const client = open()
  client.write(plain)
  await readUntil(client, '\r\n\r\n')
  body.destroy(new Error('reset'))
  expect(await readAll(client)).not.toMatch(/0\r\n\r\n$/)
  await until(() => errors.length === 1)
})

test('an answer before the upload is read arrives, however it is made', async () => {
  const makers: Handler[] = [
    async (_incoming, response) => sendJson(response, 400, 'early'),
    async (_incoming, response) => {
      response.writeHead(400)
      response.end('"early"')
    },
    (_incoming, response) =>
      pipeAnswer({ status: 400, headers: {}, body: Readable.from([Buffer.from('"early"')]) }, response),
    () => Promise.reject(Object.assign(new Error('early'), { status: 400 }))
  ]
  for (const maker of makers) {
    const { open } = await start(maker)
    const client = open()
    let failure: unknown
    client.on('error', error => {
      failure = error
    })
    client.write(`POST /build HTTP/1.1\r\nHost: d\r\nContent-Length: ${32 << 20}\r\n\r\n`)
    for (let n = 0; n < 32; n++) client.write(Buffer.alloc(1 << 20))
    expect(await readAll(client)).toMatch(/^HTTP\/1.1 400 .*"early"/s)
    client.end()
    await new Promise(resolve => client.once('close', resolve))
    expect(failure).toBeUndefined()
  }
})
