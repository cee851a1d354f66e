import { STATUS_CODES } from 'node:http'
import { type Readable, Transform } from 'node:stream'
import { messageOf } from '#lib/fault.ts'
import { checkAborted } from '#lib/wait.ts'
import type { WineContext } from './context.ts'
import { Refusal } from './refusal.ts'

/** What a web server gives for a URL. */
export interface RemoteFile {
  /** For people: without name, password and query. */
  url: string
  /** In lower case, without its parameters; empty where the server names none. */
  contentType: string
  /** In bytes, where the server says so. */
  size: number | undefined
  body: Readable
  /** Has `tell` be told how many bytes have come so far. */
  onBytes: (tell: (current: number) => void) => void
}

const MOST_ERROR = 64 * 1024
/** The statuses that dockerd gives on to its client; all others are its own failure. */
const PASSED_ON: readonly number[] = [400, 401, 403, 404]

/**
 * What is at a URL of http or https, for as long as `work` takes: fetched by the proxies of the environment, as the daemon
 * does for `docker import` and `docker build`. A Refusal in docker's words, after `failed` and the URL where that is given, when
 * the server does not give it.
 */
export async function withRemoteFile<T>(
  { images }: WineContext,
  address: string,
  signal: AbortSignal,
  work: (file: RemoteFile) => Promise<T>,
  failed = ''
): Promise<T> {
  const words = (message: string) => (failed === '' ? message : `${failed} ${withoutSecrets(address)}: ${message}`)
  const url = URL.canParse(address) ? new URL(address) : undefined
  if (url === undefined || (url.protocol !== 'http:' && url.protocol !== 'https:')) {
    throw new Refusal(`"${address}" is no URL of http or https`)
  }
  // Its HTTP client is larger than all the rest of the agent, and most agents never fetch.
  const { mediaTypeOf, readAnswer, shown, Transport } = await import('#image/registry/transport.ts')
  const transport = new Transport(url.host, images.env, [])
  try {
    const answer = await transport
      .send(url, { method: 'GET', authorization: authorizationOf(url) }, signal)
      .catch(error => {
        checkAborted(signal)
        throw new Refusal(words(messageOf(error)), /no such host$/.test(messageOf(error)) ? 404 : 500)
      })
    if (answer.statusCode >= 400) {
      const said = (await readAnswer(answer, MOST_ERROR, signal).catch(() => undefined))?.toString('utf8').trim()
      const status = `${answer.statusCode} ${STATUS_CODES[answer.statusCode] ?? ''}`.trim()
      throw new Refusal(
        words(`failed to GET ${shown(url)} with status ${status}: ${said ?? 'error reading body'}`),
        PASSED_ON.includes(answer.statusCode) ? answer.statusCode : 500
      )
    }
    const length = Number(answer.headers['content-length'])
    const size = Number.isSafeInteger(length) ? length : undefined
    let tell: (current: number) => void = () => undefined
    const body = received(answer.body, current => tell(current))
    try {
      return await work({
        url: shown(url),
        contentType: mediaTypeOf(answer),
        size,
        body,
        onBytes: each => {
          tell = each
        }
      })
    } finally {
      body.destroy()
    }
  } finally {
    await transport.close()
  }
}

/** A URL for people, without what only its server is to know. */
function withoutSecrets(address: string): string {
  return address.replace(/\/\/[^/@]*@/, '//').replace(/[?#].*$/s, '')
}

/** A name and a password in a URL are for its server, as Go's client has it. */
function authorizationOf({ username, password }: URL): string | undefined {
  if (username === '') return undefined
  const pair = `${decodeURIComponent(username)}:${decodeURIComponent(password)}`
  return `Basic ${Buffer.from(pair).toString('base64')}`
}

/** The body of an answer; its error says what a cut means. */
function received(source: Readable, onBytes: (current: number) => void): Readable {
  let current = 0
  const through = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      current += chunk.length
      onBytes(current)
      done(null, chunk)
    }
  })
  // One that comes before anybody reads stays for who does; without a listener it would end the agent.
  through.on('error', () => undefined)
  source.once('error', error => {
    through.destroy(Object.assign(new Refusal('unexpected EOF: the connection was cut', 500), { cause: error }))
  })
  through.once('close', () => source.destroy())
  return source.pipe(through)
}
