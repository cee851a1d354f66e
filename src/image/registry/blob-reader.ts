import { Readable } from 'node:stream'
import { Fault } from '#lib/fault.ts'
import { discard, headerOf, reasonOf } from '#lib/http-agent.ts'
import { checkAborted, pause } from '#lib/wait.ts'
import { RegistryFault } from './registry-fault.ts'
import type { Answer } from './transport.ts'

/** What a descriptor says of its bytes. */
export interface Blob {
  digest: string
  size: number
  /** Where else they are to be had, of a foreign layer. */
  urls?: readonly string[]
}

export interface ReadOptions {
  signal: AbortSignal
  retryMs: number
  onRetry?: (seconds: number) => void
}

/** One after another, with not a byte that came. */
const MOST_TRIES = 4
/** At all: a line that is cut every few bytes comes to an end as well. */
const MOST_CUTS = 200

/** Reads a blob over as many connections as it takes. */
export class BlobReader {
  readonly #blob: Blob
  readonly #open: (at: number) => Promise<Answer>
  readonly #options: ReadOptions
  #answer: Answer | undefined

  /** `open` asks for the bytes from `at` on; the answer has status 200, 206 or 416. */
  constructor(blob: Blob, open: (at: number) => Promise<Answer>, options: ReadOptions) {
    this.#blob = blob
    this.#open = open
    this.#options = options
  }

  /** Settles when the first connection answers. */
  async read(from: number): Promise<Readable> {
    const body = await this.#connect(from)
    const stream = Readable.from(this.#pieces(body, from), { objectMode: false, highWaterMark: 1024 * 1024 })
    // A generator that nobody has begun to read from does not run its end.
    stream.once('close', () => this.#hangUp())
    return stream
  }

  #hangUp(): void {
    if (this.#answer !== undefined) discard(this.#answer)
    this.#answer = undefined
  }

  async *#pieces(first: AsyncIterable<Buffer>, from: number): AsyncIterable<Buffer> {
    const { digest, size } = this.#blob
    let body = first
    let at = from
    let fruitless = 0
    for (let cuts = 0; ; cuts += 1) {
      const before = at
      let lost: unknown
      try {
        for await (const piece of body) {
          at += piece.length
          if (at > size) throw new RegistryFault(`the registry sends more than the ${size} bytes of ${digest}`)
          yield piece
        }
        if (at === size) return
      } catch (error) {
        checkAborted(this.#options.signal)
        if (error instanceof Fault) throw error
        lost = error
      }
      this.#hangUp()
      fruitless = at > before ? 0 : fruitless + 1
      if (fruitless >= MOST_TRIES || cuts >= MOST_CUTS) throw this.#cut(at, lost)
      body = await this.#reconnect(at, fruitless)
    }
  }

  async #reconnect(at: number, fruitless: number): Promise<AsyncIterable<Buffer>> {
    const { signal, retryMs, onRetry } = this.#options
    const wait = retryMs * 2 ** fruitless
    onRetry?.(wait / 1000)
    await pause(wait, signal)
    return this.#connect(at)
  }

  #cut(at: number, error: unknown): RegistryFault {
    const { digest, size } = this.#blob
    const reason = error === undefined ? 'unexpected EOF' : reasonOf(error)
    const message = `${reason}: ${at} of ${size} bytes of ${digest} came`
    return new RegistryFault(message, {
      hint: 'What came is kept, and the next pull goes on from there.',
      cause: error
    })
  }

  async #connect(at: number): Promise<AsyncIterable<Buffer>> {
    const { digest, size } = this.#blob
    const answer = await this.#open(at)
    this.#answer = answer
    try {
      const { statusCode, headers } = answer
      const encoding = headerOf(headers, 'content-encoding') ?? 'identity'
      if (encoding !== 'identity')
        throw new RegistryFault(`the registry sends ${digest} in another encoding, ${encoding}`)
      // Whoever does not know of ranges begins at the beginning.
      const begins = statusCode === 206 ? rangeStart(headerOf(headers, 'content-range')) : 0
      if (statusCode === 416 || begins === undefined || begins > at) {
        throw new RegistryFault(`the registry has no bytes of ${digest} from ${at} on`)
      }
      const length = headerOf(headers, 'content-length')
      if (length !== undefined && Number(length) + begins !== size) {
        throw new RegistryFault(
          `the registry has ${Number(length) + begins} bytes of ${digest}, and the manifest says ${size}`
        )
      }
      return skip(answer.body as AsyncIterable<Buffer>, at - begins)
    } catch (error) {
      this.#hangUp()
      throw error
    }
  }
}

/** The first byte of `bytes 100-199/200`. */
function rangeStart(header: string | undefined): number | undefined {
  const start = /^bytes (\d{1,15})-/.exec(header ?? '')?.[1]
  return start === undefined ? undefined : Number(start)
}

async function* skip(body: AsyncIterable<Buffer>, bytes: number): AsyncIterable<Buffer> {
  let left = bytes
  for await (const piece of body) {
    if (piece.length > left) yield left === 0 ? piece : piece.subarray(left)
    left = Math.max(0, left - piece.length)
  }
}
