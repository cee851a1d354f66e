import type { Socket } from 'node:net'
import { type Duplex, PassThrough } from 'node:stream'
import { messageOf } from '#lib/fault.ts'
import { readBody, sendBodyThrough } from './body.ts'
import { endGently, lingerThenCut, messageAnswer, watchForDeparture } from './connection.ts'
import { BodyReader, type Framing, requestFraming, responseFraming, valuesOf } from './framing.ts'
import type { Handling, RequestHead, ResponseHead } from './handling.ts'
import { formatRequestHead, formatResponseHead, parseResponseHead, readHead, withHeader } from './head.ts'
import { type Pump, pump } from './pump.ts'
import { StatusError, statusOf } from './status-error.ts'

type Splice = Extract<Handling, { kind: 'splice' }>

const responseHeadLimit = 256 * 1024
/** An engine's error message is a sentence; what is longer is cut. */
const errorBodyLimit = 256 * 1024
const errorBodyMs = 30_000
/** A body of a few options is sent with its head; what is longer is no such body and flows. */
const optionsBodyLimit = 64 * 1024

/**
 * Joins a client whose request head has been read to a connection of its own to the engine. Ends when the answer's head is
 * sent (the bytes behind move on by themselves) or the exchange has failed; failures are answered here, and rejected for the
 * log. Nothing is left open: each side's end, half or whole, is passed to the other.
 */
export async function splice(
  client: Socket,
  sent: RequestHead,
  handling: Splice,
  dial: () => Promise<Duplex>
): Promise<void> {
  let engine: Duplex
  try {
    engine = await dial()
  } catch (error) {
    endGently(client, messageAnswer(503, messageOf(error)))
    throw error
  }
  const exchange = new Exchange(client, engine, sent, handling)
  try {
    await exchange.run()
  } catch (error) {
    exchange.fail(error)
    throw error
  }
}

/** One request and its answer, between one client and one engine connection. */
class Exchange {
  readonly #client: Socket
  readonly #engine: Duplex
  readonly #sent: RequestHead
  readonly #handling: Splice
  readonly #upgrade: boolean
  #upload: Pump | undefined
  #uploadUnwanted = false
  #answered = false
  #engineError: Error | undefined

  constructor(client: Socket, engine: Duplex, sent: RequestHead, handling: Splice) {
    this.#client = client
    this.#engine = engine
    this.#sent = sent
    this.#handling = handling
    this.#upgrade = valuesOf(sent.headers, 'upgrade').length > 0
  }

  async run(): Promise<void> {
    const client = this.#client
    const engine = this.#engine
    client.on('error', () => {})
    engine.on('error', error => {
      this.#engineError ??= error
    })
    // Whoever goes takes the other along; but what the engine said before it went is still delivered.
    client.once('close', () => engine.destroy())
    if (client.destroyed) {
      engine.destroy()
      return
    }
    engine.once('close', () => {
      if (this.#answered) setImmediate(() => endGently(client))
    })
    if (client.readableEnded) watchForDeparture(client)
    else client.once('end', () => watchForDeparture(client))
    const uploaded = this.#sendRequest()
    // The answer may come before the upload is through, so neither waits for the other. An upload may also fail later.
    uploaded.catch(error => this.fail(error))
    await Promise.race([this.#passAnswer(), uploaded.then(() => new Promise<never>(() => {}))])
  }

  /** Answers a failed exchange, if nothing has been answered, and ends both sides. */
  fail(error: unknown): void {
    this.#stopUpload()
    if (this.#answered) endGently(this.#client)
    else endGently(this.#client, messageAnswer(statusOf(error) ?? 500, messageOf(error)))
    this.#answered = true
    this.#engine.destroy()
  }

  /** What the client still sends interests nobody, but is read, so that the client gets as far as its answer. */
  #stopUpload(): void {
    this.#uploadUnwanted = true
    this.#upload?.discard()
  }

  async #sendRequest(): Promise<void> {
    const { request = this.#sent, requestBody } = this.#handling
    const framing = requestFraming(this.#sent.headers)
    // Docker is told of a client that leaves in the middle of a build only once it has read the body to its end. Of one with
    // a length, on a connection that is to be closed, it never reads the end; of one in chunks it does.
    const archive = framing.kind === 'length' && valuesOf(this.#sent.headers, 'content-type').some(isArchive)
    const changed = requestBody ?? (archive ? () => new PassThrough() : undefined)
    const transform = framing.kind === 'none' ? undefined : changed?.()
    let head = withFraming(request, transform === undefined ? framing : { kind: 'chunked' }, this.#sent)
    if (!this.#upgrade) head = withHeader(withHeader(head, 'Keep-Alive'), 'Connection', 'close')
    const lead = [formatRequestHead(head)]
    // Who asks for a word before the body gets it from the engine, which has to have the head for that.
    const awaitsWord = valuesOf(this.#sent.headers, 'expect').length > 0
    if (transform === undefined && !awaitsWord && framing.kind === 'length' && framing.length <= optionsBodyLimit) {
      // Docker drops the body of an attach only when it comes with the head; one that comes later becomes standard input.
      // And it answers some requests, as a resize, without a look at their body, and hangs up: a body that comes after that
      // breaks the connection, and the answer is lost with it.
      lead.push(await readBody(this.#client, framing.length))
    }
    this.#engine.write(Buffer.concat(lead))
    if (transform !== undefined) {
      await sendBodyThrough(this.#client, this.#engine, framing, transform)
    }
    this.#upload = pump(this.#client, this.#engine)
    if (this.#uploadUnwanted) this.#upload.discard()
  }

  async #passAnswer(): Promise<void> {
    for (;;) {
      const bytes = await readHead(this.#engine, { limitBytes: responseHeadLimit })
      if (bytes === undefined) {
        const silence = new StatusError(
          502,
          this.#engineError?.message ?? 'the engine closed the connection without an answer'
        )
        // A client that ended its half may have given up, upon which engines hang up: that is for nobody's log.
        if (!this.#client.destroyed && !this.#client.readableEnded) throw silence
        this.fail(silence)
        return
      }
      const head = parseResponseHead(bytes)
      if (head.status >= 200 || head.status === 101) {
        await this.#passFinal(head)
        return
      }
      // 100 Continue and its like announce; the answer is yet to come.
      this.#client.write(bytes)
    }
  }

  async #passFinal(head: ResponseHead): Promise<void> {
    const { response, onError } = this.#handling
    const framing = responseFraming(this.#sent.method, head.status, head.headers)
    if (head.status >= 400 && onError !== undefined && framing.kind !== 'none') {
      const { status, message } = onError(head.status, await this.#errorMessage(framing))
      this.#answered = true
      const own = new Set([
        'content-type',
        'content-length',
        'transfer-encoding',
        'connection',
        'keep-alive',
        'trailer'
      ])
      const headers = head.headers.filter(([name]) => !own.has(name.toLowerCase()))
      this.#stopUpload()
      endGently(this.#client, messageAnswer(status, message, headers))
      this.#engine.destroy()
      return
    }
    // No framing at all is either a raw stream or an answer that ends with its connection: both stay as they are.
    const raw = head.status === 101 || framing.kind === 'until-close'
    let changed = response === undefined ? head : keepFraming(response(head), head)
    if (!raw) changed = withHeader(withHeader(changed, 'Keep-Alive'), 'Connection', 'close')
    this.#answered = true
    this.#client.write(formatResponseHead(changed))
    if (!raw && this.#upgrade) this.#passRefusedUpgrade(framing)
    else {
      const onEnd = (): void => {
        this.#stopUpload()
        lingerThenCut(this.#client)
      }
      // Behind a raw stream's end the other direction may go on; behind an ordinary answer nothing is awaited.
      pump(this.#engine, this.#client, raw ? {} : { onEnd })
    }
  }

  /**
   * The engine took a request to upgrade for an ordinary one. It may keep its connection, on which the client's further bytes
   * would be new requests that nobody decided on: so the exchange ends here with the body of the answer.
   */
  #passRefusedUpgrade(framing: Framing): void {
    const engine = this.#engine
    const client = this.#client
    const body = new BodyReader(framing)
    const finish = (): void => {
      engine.destroy()
      endGently(client)
    }
    this.#stopUpload()
    if (body.done) {
      finish()
      return
    }
    engine.on('data', (chunk: Buffer) => {
      if (body.done) return
      let rest: Buffer
      try {
        rest = body.feed(chunk).rest
      } catch {
        finish()
        return
      }
      const more = client.write(chunk.subarray(0, chunk.length - rest.length))
      if (body.done) finish()
      else if (!more) {
        engine.pause()
        client.once('drain', () => engine.resume())
      }
    })
    engine.once('end', finish)
    engine.resume()
  }

  /** The engine's `{"message"}`, or its plain text. Bounded in size and time. */
  async #errorMessage(framing: Framing): Promise<string> {
    const body = new BodyReader(framing)
    const engine = this.#engine
    const text = await new Promise<string>(resolve => {
      const pieces: Buffer[] = []
      let bytes = 0
      const settle = (): void => {
        clearTimeout(timer)
        engine.off('data', onData).off('end', settle).off('close', settle)
        resolve(Buffer.concat(pieces).subarray(0, errorBodyLimit).toString('utf8'))
      }
      const onData = (chunk: Buffer): void => {
        try {
          for (const piece of body.feed(chunk).data) {
            pieces.push(piece)
            bytes += piece.length
          }
        } catch {
          settle()
          return
        }
        if (body.done || bytes > errorBodyLimit) settle()
      }
      const timer = setTimeout(settle, errorBodyMs)
      engine.on('data', onData).on('end', settle).on('close', settle)
      if (engine.readableEnded || engine.destroyed) settle()
      else engine.resume()
    })
    return messageIn(text)
  }
}

function isArchive(contentType: string): boolean {
  return /^application\/(x-)?(tar|gtar|gzip|octet-stream)\b/i.test(contentType.trim())
}

function messageIn(text: string): string {
  try {
    const value: unknown = JSON.parse(text)
    if (typeof value === 'object' && value !== null && 'message' in value && typeof value.message === 'string') {
      return value.message
    }
  } catch {
    // Not JSON: errors before an attach are plain text.
  }
  return text.trim()
}

/** The head with the framing the body will really have, whatever a rewrite did to it. */
function withFraming(head: RequestHead, framing: Framing, sent: RequestHead): RequestHead {
  if (framing.kind === 'chunked') {
    return withHeader(withHeader(head, 'Content-Length'), 'Transfer-Encoding', 'chunked')
  }
  return keepFraming(head, sent)
}

/** Puts the headers that say where the body ends back to what they were. */
function keepFraming<Head extends RequestHead | ResponseHead>(changed: Head, original: Head): Head {
  if (changed === original) return changed
  let head = changed
  for (const name of ['Content-Length', 'Transfer-Encoding']) {
    const was = valuesOf(original.headers, name.toLowerCase())
    const is = valuesOf(head.headers, name.toLowerCase())
    if (was.join() !== is.join()) head = withHeader(head, name, was[0])
  }
  return head
}
