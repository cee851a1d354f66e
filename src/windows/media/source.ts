import { createReadStream } from 'node:fs'
import { stat } from 'node:fs/promises'
import { STATUS_CODES } from 'node:http'
import { resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { type Dispatcher, request } from 'undici'
import { messageOf } from '#lib/fault.ts'
import { discard, headerOf, makeAgent, reasonOf } from '#lib/http-agent.ts'
import { orielVersion } from '#lib/package-root.ts'

const MOST_REDIRECTS = 10

/** What tells that a source still has the same file: RFC 9110, 8.8. */
export interface Validator {
  etag?: string
  lastModified?: string
}

/** A source that is being read. */
export interface Opened {
  /** Where the body begins within the file: what was asked for, or 0 when the source cannot go on. */
  offset: number
  /** Of the whole file, where the source tells. */
  size: number | undefined
  validator: Validator
  body: AsyncIterable<Buffer>
  /** Stops reading. */
  close(): void
}

/** Why a source did not give its file. */
export class SourceError extends Error {
  override readonly name = 'SourceError'
  /** True when the same may work in a moment. */
  readonly passing: boolean

  constructor(message: string, passing: boolean) {
    super(message)
    this.passing = passing
  }
}

/** Reads one source; holds its connections. */
export interface Client {
  /** Begins at `from` when that is over 0 and the source still has what `validator` tells of. Throws SourceError. */
  open(source: string, from: number, validator: Validator, signal: AbortSignal): Promise<Opened>
  close(): Promise<void>
}

/** True for what is fetched over the network. */
export function isUrl(source: string): boolean {
  return /^https?:\/\//i.test(source)
}

/** A source for people: without credentials, and without a query, which may hold some. */
export function shownSource(source: string): string {
  if (!isUrl(source)) return source
  const url = new URL(source)
  return `${url.origin}${url.pathname}${url.search === '' ? '' : '?…'}`
}

/** What is written down of a source: all but a name and a password. */
export function recordedSource(source: string): string {
  if (!isUrl(source)) return source
  const url = new URL(source)
  url.username = ''
  url.password = ''
  return url.href
}

/** A client that goes through the proxies of `env` (HTTP_PROXY, HTTPS_PROXY, NO_PROXY, in lower case as well). */
export function makeClient(env: NodeJS.ProcessEnv): Client {
  let agent: Dispatcher | undefined
  return {
    async open(source, from, validator, signal) {
      if (!isUrl(source)) return openFile(source, from, validator)
      agent ??= proxiedAgent(env)
      return openUrl(agent, new URL(source), from, validator, signal)
    },
    async close() {
      await agent?.destroy()
    }
  }
}

function proxiedAgent(env: NodeJS.ProcessEnv): Dispatcher {
  try {
    return makeAgent(env)
  } catch (error) {
    throw new SourceError(messageOf(error), false)
  }
}

async function openUrl(
  agent: Dispatcher,
  first: URL,
  from: number,
  validator: Validator,
  signal: AbortSignal
): Promise<Opened> {
  let url = first
  for (let redirects = 0; redirects <= MOST_REDIRECTS; redirects += 1) {
    const response = await ask(agent, url, from, validator, signal)
    const { statusCode, headers } = response
    if (![301, 302, 303, 307, 308].includes(statusCode)) return answered(response, from)
    discard(response)
    url = redirected(url, headerOf(headers, 'location'))
  }
  throw new SourceError(`it was redirected more than ${MOST_REDIRECTS} times`, false)
}

function redirected(from: URL, location: string | undefined): URL {
  if (location === undefined || !URL.canParse(location, from.href))
    throw new SourceError('it redirects to nowhere', false)
  const to = new URL(location, from)
  if (to.protocol !== 'https:' && to.protocol !== 'http:') {
    throw new SourceError(`it redirects to ${to.protocol}, which is not the web`, false)
  }
  if (from.protocol === 'https:' && to.protocol === 'http:') {
    throw new SourceError(`it redirects to ${shownSource(to.href)}, which is not encrypted`, false)
  }
  return to
}

async function ask(
  agent: Dispatcher,
  url: URL,
  from: number,
  validator: Validator,
  signal: AbortSignal
): Promise<Dispatcher.ResponseData> {
  try {
    return await request(`${url.origin}${url.pathname}${url.search}`, {
      dispatcher: agent,
      signal,
      headers: {
        'user-agent': `oriel/${orielVersion()}`,
        accept: '*/*',
        'accept-encoding': 'identity',
        ...credentialsOf(url),
        ...rangeFrom(from, validator)
      }
    })
  } catch (error) {
    throw new SourceError(reasonOf(error, url), isPassingError(error))
  }
}

// Only for the server that they were written for: a redirect's URL has its own or none.
function credentialsOf(url: URL): Record<string, string> {
  if (url.username === '' && url.password === '') return {}
  const pair = `${decodeURIComponent(url.username)}:${decodeURIComponent(url.password)}`
  return { authorization: `Basic ${Buffer.from(pair).toString('base64')}` }
}

/** RFC 9110, 14.2 and 13.1.5: a weak ETag cannot promise that bytes are the same. */
function rangeFrom(from: number, { etag, lastModified }: Validator): Record<string, string> {
  if (from === 0) return {}
  const condition = etag === undefined || etag.startsWith('W/') ? lastModified : etag
  return { range: `bytes=${from}-`, ...(condition === undefined ? {} : { 'if-range': condition }) }
}

function answered(response: Dispatcher.ResponseData, from: number): Opened {
  const { statusCode, headers, body } = response
  const range = /^bytes (?:(\d+)-\d+|\*)\/(\d+|\*)$/.exec(headerOf(headers, 'content-range') ?? '')
  const total = range?.[2] === undefined || range[2] === '*' ? undefined : Number(range[2])
  const etag = headerOf(headers, 'etag')
  const lastModified = headerOf(headers, 'last-modified')
  const validator = {
    ...(etag === undefined ? {} : { etag }),
    ...(lastModified === undefined ? {} : { lastModified })
  }
  const close = () => discard(response)
  const encoding = headerOf(headers, 'content-encoding') ?? 'identity'
  if (statusCode === 416 && from > 0) {
    close()
    // Everything that there is has come already.
    if (total === from) return { offset: from, size: total, validator, body: nothing(), close: () => undefined }
    throw new RangeRefused()
  }
  if (statusCode === 206) {
    if (Number(range?.[1]) !== from || encoding !== 'identity') {
      close()
      if (from === 0) throw new SourceError('it answered with a part that nobody asked for', false)
      throw new RangeRefused()
    }
    return { offset: from, size: total, validator, body, close }
  }
  if (statusCode !== 200) {
    close()
    throw new SourceError(`it answered ${statusCode} ${STATUS_CODES[statusCode] ?? ''}`.trim(), isPassing(statusCode))
  }
  if (encoding !== 'identity') {
    close()
    throw new SourceError(`it answered with ${encoding} content`, false)
  }
  const length = headerOf(headers, 'content-length')
  const size = length !== undefined && /^\d+$/.test(length) ? Number(length) : undefined
  return { offset: 0, size, validator, body, close }
}

/** The source has another file by now, or counts differently: what is there cannot be gone on with. */
export class RangeRefused extends Error {
  override readonly name = 'RangeRefused'
}

/** A line may come back, a name or a certificate will not. */
function isPassingError(error: unknown): boolean {
  const code = error instanceof Error && 'code' in error ? String(error.code) : ''
  return /^(UND_ERR_(SOCKET|.*TIMEOUT)|ECONN|ETIMEDOUT|EPIPE|EAI_AGAIN|EHOSTUNREACH|ENETUNREACH)/.test(code)
}

function isPassing(status: number): boolean {
  return status === 408 || status === 425 || status === 429 || status >= 500
}

async function* nothing(): AsyncIterable<Buffer> {}

async function openFile(source: string, from: number, validator: Validator): Promise<Opened> {
  const path = source.startsWith('file:') ? fileURLToPath(source) : resolve(source)
  let size: number
  let lastModified: string
  try {
    const status = await stat(path)
    if (!status.isFile()) throw new SourceError('it is not a plain file', false)
    size = status.size
    lastModified = String(status.mtimeMs)
  } catch (error) {
    if (error instanceof SourceError) throw error
    const missing = error instanceof Error && 'code' in error && error.code === 'ENOENT'
    throw new SourceError(missing ? 'there is no such file' : messageOf(error), false)
  }
  const offset = validator.lastModified === lastModified && from <= size ? from : 0
  const body = createReadStream(path, { start: offset, highWaterMark: 1024 * 1024 })
  return { offset, size, validator: { lastModified }, body, close: () => void body.destroy() }
}
