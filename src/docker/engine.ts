import { Agent, type IncomingHttpHeaders, type IncomingMessage, type OutgoingHttpHeaders, request } from 'node:http'
import { pipeline, Readable } from 'node:stream'
import { Fault } from '#lib/fault.ts'
import { dial, type Endpoint, endpointUrl } from './endpoint.ts'

/** The engine refused: the message is the engine's own. */
export class EngineError extends Error {
  override readonly name = 'EngineError'
  readonly status: number

  constructor(status: number, message: string) {
    super(message)
    this.status = status
  }
}

export interface EngineAnswer {
  status: number
  headers: IncomingHttpHeaders
  body: Readable
}

export interface RequestOptions {
  body?: Readable | Buffer | string
  headers?: OutgoingHttpHeaders
  signal?: AbortSignal
  /** Limit of the wait for the head of the answer, in ms; 0 waits for ever. The default is 10 minutes. */
  timeoutMs?: number
}

const headLimitMs = 600_000
/** JSON answers are small, an `inspect` at most some 100 KiB; beyond this the far side is no engine. */
const jsonLimitBytes = 64 * 1024 * 1024
const idempotent = new Set(['GET', 'HEAD', 'PUT', 'DELETE', 'OPTIONS'])

/** Makes the connections of Node's HTTP client through `dial`. */
class EndpointAgent extends Agent {
  readonly #endpoint: Endpoint

  constructor(endpoint: Endpoint, keepAlive: boolean) {
    super({ keepAlive, maxFreeSockets: 8 })
    this.#endpoint = endpoint
  }

  override createConnection: Agent['createConnection'] = (_options, callback) => {
    dial(this.#endpoint).then(
      stream => {
        // Half-open sockets do not close by themselves: an idle one that the engine has ended must leave the pool.
        stream.once('end', () => stream.end())
        callback?.(null, stream)
      },
      // The declared type wants a stream even with an error; Node looks at the error alone.
      (error: Error) => (callback as ((error: Error) => void) | undefined)?.(error)
    )
    return undefined
  }
}

/** A small Docker Engine client: one endpoint, connections kept alive while the process has other work. */
export class Engine {
  readonly endpoint: Endpoint
  readonly #kept: EndpointAgent
  readonly #fresh: EndpointAgent

  constructor(endpoint: Endpoint) {
    this.endpoint = endpoint
    this.#kept = new EndpointAgent(endpoint, true)
    this.#fresh = new EndpointAgent(endpoint, false)
  }

  /**
   * Sends a request and gives the answer as soon as its head is there; both bodies stream. An HTTP error is an answer like
   * any other. A path without version gets the engine's newest. Rejects with a Fault when the engine cannot be reached.
   */
  async request(method: string, path: string, options: RequestOptions = {}): Promise<EngineAnswer> {
    try {
      return await this.#send(this.#kept, method, path, options)
    } catch (error) {
      if (!(error instanceof StaleConnection)) throw error
      // The engine had closed the idle connection; others in the pool may be as dead, so this one is new.
      return await this.#send(this.#fresh, method, path, options)
    }
  }

  /**
   * JSON in, JSON out; an empty answer is undefined. Throws EngineError when the engine refuses, Fault when it cannot be
   * reached or does not speak JSON.
   */
  async json<T = unknown>(
    method: string,
    path: string,
    body?: unknown,
    options: { signal?: AbortSignal; headers?: OutgoingHttpHeaders; timeoutMs?: number } = {}
  ): Promise<T> {
    const answer = await this.request(method, path, {
      ...options,
      ...(body === undefined
        ? {}
        : { body: JSON.stringify(body), headers: { 'Content-Type': 'application/json', ...options.headers } })
    })
    if (answer.status >= 400) throw await engineErrorOf(answer)
    const text = await readText(answer.body)
    // An empty body is the documented undefined; the caller says what T the endpoint answers.
    if (text.trim() === '') return undefined as T
    try {
      return JSON.parse(text) as T
    } catch (error) {
      throw new Fault(
        `${method} ${path}: the engine at ${endpointUrl(this.endpoint)} did not answer JSON: ${text.slice(0, 200)}`,
        { cause: error }
      )
    }
  }

  #send(agent: Agent, method: string, path: string, options: RequestOptions): Promise<EngineAnswer> {
    const { body, headers, signal, timeoutMs = headLimitMs } = options
    const streams = body instanceof Readable
    return new Promise((resolve, reject) => {
      const outgoing = request({
        agent,
        method,
        path,
        ...(signal === undefined ? {} : { signal }),
        headers: {
          Host: hostOf(this.endpoint),
          // Node would send a POST without body as chunked, which the engine takes for an unknown length.
          ...(streams ? {} : body === undefined ? lengthOfNone(method) : { 'Content-Length': Buffer.byteLength(body) }),
          ...headers
        }
      })
      const timer =
        timeoutMs === 0
          ? undefined
          : setTimeout(
              () => outgoing.destroy(this.#fault(method, path, `no answer within ${timeoutMs / 1000} s`)),
              timeoutMs
            )
      outgoing.once('response', (incoming: IncomingMessage) => {
        clearTimeout(timer)
        resolve({ status: incoming.statusCode ?? 0, headers: incoming.headers, body: incoming })
      })
      // Stays for good: an upload cut off by an early answer fails after the promise is settled.
      outgoing.on('error', (error: NodeJS.ErrnoException) => {
        clearTimeout(timer)
        const stale = outgoing.reusedSocket && (error.code === 'ECONNRESET' || error.code === 'EPIPE')
        if (stale && !streams && idempotent.has(method)) reject(new StaleConnection())
        else if (error instanceof Fault || signal?.aborted === true) reject(error)
        else reject(this.#fault(method, path, error.message, error))
      })
      if (!streams) outgoing.end(body)
      else {
        // The engine may answer before the first byte of the upload is there.
        outgoing.flushHeaders()
        pipeline(body, outgoing, error => {
          if (error) reject(this.#fault(method, path, error.message, error))
        })
      }
    })
  }

  #fault(method: string, path: string, why: string, cause?: unknown): Fault {
    return new Fault(`${method} ${path} at ${endpointUrl(this.endpoint)} failed: ${why}`, { cause })
  }
}

/** A kept-alive connection that the engine had closed by the time it was used again. */
class StaleConnection extends Error {}

function lengthOfNone(method: string): OutgoingHttpHeaders {
  return method === 'POST' || method === 'PUT' ? { 'Content-Length': 0 } : {}
}

function hostOf(endpoint: Endpoint): string {
  if (endpoint.kind !== 'tcp') return 'docker'
  return endpointUrl(endpoint).replace('tcp://', '')
}

/** The refusal in an answer of status 400 or above, in the engine's own words. Reads the body to its end. */
export async function engineErrorOf(answer: EngineAnswer): Promise<EngineError> {
  return new EngineError(answer.status, messageIn(await readText(answer.body), answer.status))
}

async function readText(body: Readable): Promise<string> {
  const chunks: Buffer[] = []
  let length = 0
  for await (const chunk of body) {
    length += chunk.length
    if (length > jsonLimitBytes) throw new Fault(`The engine's answer is larger than ${jsonLimitBytes} bytes.`)
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString('utf8')
}

function messageIn(text: string, status: number): string {
  try {
    const value: unknown = JSON.parse(text)
    if (typeof value === 'object' && value !== null && 'message' in value && typeof value.message === 'string') {
      return value.message
    }
  } catch {
    // Not JSON: the text itself is all there is.
  }
  return text.trim() === '' ? `the engine answered ${status}` : text.trim()
}
