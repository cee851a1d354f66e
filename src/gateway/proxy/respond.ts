import { type IncomingHttpHeaders, type IncomingMessage, type ServerResponse, STATUS_CODES } from 'node:http'
import { type Readable, Transform } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { StatusError } from './status-error.ts'

/** Answers with JSON. Nothing happens when the head is already sent. */
export function sendJson(response: ServerResponse, status: number, value: unknown): void {
  if (response.headersSent || response.destroyed) return
  const body = Buffer.from(`${JSON.stringify(value)}\n`)
  response.writeHead(status, STATUS_CODES[status] ?? 'Unknown', {
    'Content-Type': 'application/json',
    'Content-Length': body.length
  })
  response.end(body)
}

/** Answers with an error as the engine would put it. */
export function sendError(response: ServerResponse, status: number, message: string): void {
  // What a handler had in mind for its success does not describe an error.
  for (const name of ['Content-Encoding', 'Transfer-Encoding', 'Trailer']) {
    if (!response.headersSent) response.removeHeader(name)
  }
  sendJson(response, status, { message })
}

/** Reads a JSON body. An empty one is undefined. StatusError: 400 not JSON or cut off, 413 larger than `limitBytes`. */
export async function readJson(request: IncomingMessage, limitBytes = 4 * 1024 * 1024): Promise<unknown> {
  const text = await readText(request, limitBytes)
  if (text.trim() === '') return undefined
  try {
    return JSON.parse(text)
  } catch (error) {
    throw new StatusError(400, `the body is not JSON: ${error instanceof Error ? error.message : String(error)}`)
  }
}

/** Not by iteration: leaving a loop early would destroy the connection, and with it the answer that says why. */
function readText(request: IncomingMessage, limitBytes: number): Promise<string> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = []
    let length = 0
    const settle = (act: () => void): void => {
      request.off('data', onData).off('end', onEnd).off('close', onClose).off('error', onClose)
      act()
    }
    const onData = (chunk: Buffer): void => {
      length += chunk.length
      chunks.push(chunk)
      if (length > limitBytes) {
        settle(() => reject(new StatusError(413, `the body is larger than ${limitBytes} bytes`)))
        request.pause()
      }
    }
    const onEnd = (): void => settle(() => resolve(Buffer.concat(chunks).toString('utf8')))
    const onClose = (): void => settle(() => reject(new StatusError(400, 'the body of the request was cut off')))
    request.on('data', onData).on('end', onEnd).on('close', onClose).on('error', onClose)
  })
}

/** A line that does not end must not fill the memory. The engine's longest are some 100 KiB. */
const lineLimit = 32 * 1024 * 1024

/**
 * Maps a stream of lines (newline JSON), one after the other and at once as each is complete; undefined drops a line. The
 * line comes and goes without its break, which is kept as it was. A last line without break is mapped too.
 */
export function lineTransform(
  map: (line: string) => string | undefined | Promise<string | undefined>,
  limitBytes = lineLimit
): Transform {
  let pending: Buffer[] = []
  let pendingBytes = 0
  const mapLine = async (stream: Transform, line: string): Promise<void> => {
    const end = line.search(/\r?\n?$/)
    const mapped = await map(line.slice(0, end))
    if (mapped !== undefined) stream.push(mapped + line.slice(end))
  }
  const take = async (stream: Transform, chunk: Buffer): Promise<void> => {
    let from = 0
    for (let at = chunk.indexOf(10); at >= 0; at = chunk.indexOf(10, from)) {
      pending.push(chunk.subarray(from, at + 1))
      from = at + 1
      const line = Buffer.concat(pending).toString('utf8')
      pending = []
      pendingBytes = 0
      await mapLine(stream, line)
    }
    if (from === chunk.length) return
    pending.push(chunk.subarray(from))
    pendingBytes += chunk.length - from
    if (pendingBytes > limitBytes) throw new StatusError(502, `a line is longer than ${limitBytes} bytes`)
  }
  return new Transform({
    transform(chunk: Buffer, _encoding, done) {
      take(this, chunk).then(() => done(), done)
    },
    flush(done) {
      if (pendingBytes === 0) done()
      else mapLine(this, Buffer.concat(pending).toString('utf8')).then(() => done(), done)
    }
  })
}

const hopByHop = new Set([
  'connection',
  'keep-alive',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade'
])

/**
 * Streams an engine's answer to the client, its head at once. `through` may change the body, `headers` sets (or with
 * undefined takes out) headers, `status` replaces the engine's. Resolves when all is sent, or the client has gone; the engine's
 * stream is closed in each case. Rejects when the engine's stream breaks off.
 */
export async function pipeAnswer(
  answer: { status: number; headers: IncomingHttpHeaders; body: Readable },
  response: ServerResponse,
  options: { status?: number; headers?: Record<string, string | undefined>; through?: Transform } = {}
): Promise<void> {
  const { status = answer.status, headers = {}, through } = options
  for (const [name, value] of Object.entries({ ...answer.headers, ...headers })) {
    const changesLength = through !== undefined && name.toLowerCase() === 'content-length'
    if (value !== undefined && !hopByHop.has(name.toLowerCase()) && !changesLength) response.setHeader(name, value)
  }
  response.writeHead(status, STATUS_CODES[status] ?? 'Unknown')
  response.flushHeaders()
  try {
    if (through === undefined) await pipeline(answer.body, response)
    else await pipeline(answer.body, through, response)
  } catch (error) {
    // A client that goes away in the middle is nobody's fault; a broken engine or transform has an error of its own.
    if (error instanceof Error && 'code' in error && error.code === 'ERR_STREAM_PREMATURE_CLOSE') return
    throw error
  }
}
