import type { Readable } from 'node:stream'
import { type Dispatcher, request } from 'undici'
import { Fault } from '#lib/fault.ts'
import { discard, headerOf, makeAgent, networkCode, reasonOf } from '#lib/http-agent.ts'
import { orielVersion } from '#lib/package-root.ts'
import { checkAborted } from '#lib/wait.ts'
import { isInsecure, isLoopback } from './insecure.ts'
import { answerFault, RegistryFault } from './registry-fault.ts'
import { type RegistryTrust, readTrust, trustFolders } from './trust.ts'

const MOST_REDIRECTS = 10
/** To connect, and for the head of an answer. */
const ANSWER_MS = 90_000
const MOST_ERROR = 64 * 1024
const REDIRECTS = [301, 302, 303, 307, 308]

export type Answer = Dispatcher.ResponseData

export interface Message {
  method: 'GET' | 'HEAD' | 'POST' | 'PATCH' | 'PUT' | 'DELETE'
  headers?: Readonly<Record<string, string>>
  /** Given to the server that is asked, and to none that it redirects to. */
  authorization?: string | undefined
  /** Of POST, PATCH and PUT, which are not redirected. */
  body?: Buffer | Readable | string
  /** Bytes, of a body that is a stream. */
  length?: number
}

/** Sends requests: by proxies, with the certificates that a host may have, and along redirects. */
export class Transport {
  readonly #env: NodeJS.ProcessEnv
  readonly #insecure: readonly string[]
  readonly #agents = new Map<string, Dispatcher>()
  readonly #hosts = new Map<string, Promise<boolean>>()
  readonly #registry: string
  readonly #trusts = new Map<string, Promise<RegistryTrust>>()

  /** `registry`, as a person writes it, is the one whose certificates its token servers and mirrors are known by as well. */
  constructor(registry: string, env: NodeJS.ProcessEnv, insecure: readonly string[]) {
    this.#registry = registry
    this.#env = env
    this.#insecure = insecure
  }

  /** Whether the host, with its port, may be spoken to without encryption. */
  isInsecure(host: string): Promise<boolean> {
    const known = this.#hosts.get(host) ?? isInsecure(host, this.#insecure)
    this.#hosts.set(host, known)
    return known
  }

  /** Asks, and follows where GET and HEAD are redirected to. RegistryFault when there is no answer. */
  async send(first: URL, message: Message, signal: AbortSignal): Promise<Answer> {
    const follows = message.method === 'GET' || message.method === 'HEAD'
    let url = first
    for (let redirects = 0; redirects <= MOST_REDIRECTS; redirects += 1) {
      const answer = await this.#sendOnce(url, url.origin === first.origin, message, signal)
      if (!follows || !REDIRECTS.includes(answer.statusCode)) return answer
      release(answer)
      url = redirected(url, headerOf(answer.headers, 'location'))
    }
    throw new RegistryFault(`${message.method} "${shown(first)}": stopped after ${MOST_REDIRECTS} redirects`)
  }

  async #sendOnce(url: URL, trusted: boolean, message: Message, signal: AbortSignal): Promise<Answer> {
    checkAborted(signal)
    const { method, headers = {}, authorization, body, length } = message
    const dispatcher = await this.#agentFor(url)
    const late = new AbortController()
    // undici connects without end to a proxy that hangs up. How long a body takes to send nobody knows.
    const timer = body === undefined ? setTimeout(() => late.abort(), ANSWER_MS) : undefined
    try {
      return await request(`${url.origin}${url.pathname}${url.search}`, {
        dispatcher,
        signal: AbortSignal.any([signal, late.signal]),
        method,
        headers: {
          'user-agent': `oriel/${orielVersion()}`,
          'accept-encoding': 'identity',
          ...headers,
          ...(length === undefined ? {} : { 'content-length': String(length) }),
          ...(trusted && authorization !== undefined ? { authorization } : {})
        },
        ...(body === undefined ? {} : { body })
      })
    } catch (error) {
      checkAborted(signal)
      if (late.signal.aborted) throw new RegistryFault(`${verbOf(method)} "${shown(url)}": ${url.host} does not answer`)
      throw networkFault(method, url, error, this.#foldersOf(url)[0] ?? '')
    } finally {
      clearTimeout(timer)
    }
  }

  async #agentFor(url: URL): Promise<Dispatcher> {
    const local = isLoopback(url.hostname)
    const anyCertificate = url.protocol === 'https:' && (await this.isInsecure(url.host))
    const trust = await this.#trustOf(url)
    const special = trust.authorities.length > 0 || trust.own.length > 0
    const key = `${local} ${anyCertificate} ${special ? url.host : ''}`
    // As Go's programs, and so dockerd: no proxy is asked for what is on this computer.
    const agent = this.#agents.get(key) ?? makeAgent(local ? {} : this.#env, { anyCertificate, ...trust })
    this.#agents.set(key, agent)
    return agent
  }

  #trustOf(url: URL): Promise<RegistryTrust> {
    const known = this.#trusts.get(url.origin) ?? readTrust(url.protocol === 'https:' ? this.#foldersOf(url) : [])
    this.#trusts.set(url.origin, known)
    return known
  }

  #foldersOf({ host }: URL): string[] {
    return [...new Set([this.#registry, host])].flatMap(name => trustFolders(this.#env, name))
  }

  async close(): Promise<void> {
    await Promise.all([...this.#agents.values()].map(agent => agent.destroy()))
    this.#agents.clear()
  }
}

function redirected(from: URL, location: string | undefined): URL {
  if (location === undefined || !URL.canParse(location, from.href)) {
    throw new RegistryFault(`Get "${shown(from)}": it redirects to nowhere`)
  }
  const to = new URL(location, from)
  if (to.protocol !== 'https:' && (to.protocol !== 'http:' || from.protocol === 'https:')) {
    throw new RegistryFault(`Get "${shown(from)}": it redirects to ${shown(to)}, which is not encrypted`)
  }
  return to
}

/** A URL for people: its query may hold a signature or a token. */
export function shown(url: URL): string {
  return `${url.protocol}//${url.host}${url.pathname}`
}

const UNKNOWN = 'x509: certificate signed by unknown authority'
const CERTIFICATE: Readonly<Record<string, string>> = {
  CERT_HAS_EXPIRED: 'x509: certificate has expired or is not yet valid',
  CERT_NOT_YET_VALID: 'x509: certificate has expired or is not yet valid',
  DEPTH_ZERO_SELF_SIGNED_CERT: UNKNOWN,
  SELF_SIGNED_CERT_IN_CHAIN: UNKNOWN,
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: UNKNOWN,
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: UNKNOWN
}

/** The server wants to see a certificate of ours, or does not like the one that it saw. */
const REFUSED: Readonly<Record<string, string>> = {
  ERR_SSL_TLSV13_ALERT_CERTIFICATE_REQUIRED: 'certificate required',
  ERR_SSL_TLSV1_ALERT_UNKNOWN_CA: 'unknown certificate authority',
  ERR_SSL_SSLV3_ALERT_BAD_CERTIFICATE: 'bad certificate',
  ERR_SSL_SSLV3_ALERT_CERTIFICATE_EXPIRED: 'expired certificate',
  ERR_SSL_SSLV3_ALERT_HANDSHAKE_FAILURE: 'handshake failure'
}
/** With TLS 1.3 the server says so when the client is sending already, which then sees no more than the end. */
const CUT = ['UND_ERR_SOCKET', 'ECONNRESET', 'EPIPE']

/** In the words of Go's net/http where clients know them: some look for "no such host" or "connection refused". */
function networkFault(method: string, url: URL, error: unknown, folder: string): Fault {
  if (error instanceof Fault) return error
  const code = networkCode(error)
  const { host, hostname } = url
  const certificate = CERTIFICATE[code]
  const words: Readonly<Record<string, string>> = {
    ENOTFOUND: `dial tcp: lookup ${hostname}: no such host`,
    EAI_AGAIN: `dial tcp: lookup ${hostname}: no such host`,
    ECONNREFUSED: `dial tcp ${host}: connect: connection refused`,
    ERR_TLS_CERT_ALTNAME_INVALID: `tls: failed to verify certificate: x509: certificate is not valid for ${hostname}`,
    ERR_SSL_WRONG_VERSION_NUMBER: 'http: server gave HTTP response to HTTPS client',
    ERR_SSL_PACKET_LENGTH_TOO_LONG: 'http: server gave HTTP response to HTTPS client',
    UND_ERR_REQ_CONTENT_LENGTH_MISMATCH: 'what is sent is longer or shorter than announced'
  }
  const refused = REFUSED[code]
  const reason =
    words[code] ??
    (certificate ? `tls: failed to verify certificate: ${certificate}` : refused && `remote error: tls: ${refused}`)
  const hint = hintOf(code, url, folder)
  return new RegistryFault(`${verbOf(method)} "${shown(url)}": ${reason ?? reasonOf(error, url)}`, {
    passing: reason === undefined,
    ...(hint === undefined ? {} : { hint }),
    cause: error
  })
}

/** What of a registry's folder of certificates could mend an error. */
function hintOf(code: string, { protocol, host }: URL, folder: string): string | undefined {
  if (CERTIFICATE[code] === UNKNOWN) return `Put the certificate of its CA (PEM) into ${folder} as ca.crt.`
  const own = `certificate and its key (PEM) belong into ${folder} as client.cert and client.key.`
  if (REFUSED[code] !== undefined) return `Your ${own}`
  return protocol === 'https:' && CUT.includes(code) ? `If ${host} wants to see a certificate: your ${own}` : undefined
}

/** As Go writes a method before a URL. */
function verbOf(method: string): string {
  return `${method.charAt(0)}${method.slice(1).toLowerCase()}`
}

/** Reads an answer of at most `limit` bytes; undefined when it is longer. RegistryFault when it is cut. */
export async function readAnswer(answer: Answer, limit: number, signal: AbortSignal): Promise<Buffer | undefined> {
  const chunks: Buffer[] = []
  let size = 0
  try {
    for await (const chunk of answer.body as AsyncIterable<Buffer>) {
      size += chunk.length
      if (size > limit) {
        discard(answer)
        return undefined
      }
      chunks.push(chunk)
    }
  } catch (error) {
    checkAborted(signal)
    throw new RegistryFault('unexpected EOF', { passing: true, cause: error })
  }
  return Buffer.concat(chunks)
}

/** Lets go of an answer whose body says nothing, so that its connection can be used again. */
export function release(answer: Answer): void {
  answer.body.on('error', () => undefined)
  answer.body.dump({ limit: MOST_ERROR }).catch(() => undefined)
}

/** The Fault for an answer that nobody expected. `hide` takes secrets out of what the server says. */
export async function faultOf(
  answer: Answer,
  hide: (text: string) => string,
  signal: AbortSignal
): Promise<RegistryFault> {
  const body = (await readAnswer(answer, MOST_ERROR, signal))?.toString('utf8') ?? ''
  return answerFault(answer.statusCode, mediaTypeOf(answer), hide(body), retryAfter(answer))
}

/** In lower case, without its parameters; empty where there is none. */
export function mediaTypeOf(answer: Answer): string {
  return (headerOf(answer.headers, 'content-type') ?? '').split(';')[0]?.trim().toLowerCase() ?? ''
}

/** Seconds of Retry-After: RFC 9110, 10.2.3. */
function retryAfter(answer: Answer): number | undefined {
  const text = headerOf(answer.headers, 'retry-after') ?? ''
  if (/^\d{1,9}$/.test(text)) return Number(text)
  const date = Date.parse(text)
  return Number.isNaN(date) ? undefined : Math.max(0, (date - Date.now()) / 1000)
}
