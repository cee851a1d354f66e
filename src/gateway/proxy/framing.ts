import { Transform } from 'node:stream'
import { StatusError } from './status-error.ts'

/** Where the body of a message ends (RFC 9112, section 6). */
export type Framing =
  | { kind: 'none' }
  | { kind: 'length'; length: number }
  | { kind: 'chunked' }
  | { kind: 'until-close' }

type Headers = readonly [name: string, value: string][]

/** The values of a header, in order; names count without case. */
export function valuesOf(headers: Headers, name: string): string[] {
  return headers.filter(([key]) => key.toLowerCase() === name).map(([, value]) => value)
}

/** Framing of a request. A request that two parsers could cut at different places is a StatusError 400. */
export function requestFraming(headers: Headers): Framing {
  const lengths = valuesOf(headers, 'content-length')
  const encodings = valuesOf(headers, 'transfer-encoding')
  if (encodings.length > 0) {
    if (lengths.length > 0) throw new StatusError(400, 'both Transfer-Encoding and Content-Length')
    if (encodings.length > 1 || encodings[0]?.toLowerCase() !== 'chunked') {
      throw new StatusError(400, 'Transfer-Encoding other than chunked')
    }
    return { kind: 'chunked' }
  }
  if (lengths.length === 0) return { kind: 'none' }
  const length = Number(lengths[0])
  if (lengths.length > 1) throw new StatusError(400, 'more than one Content-Length')
  if (!/^\d+$/.test(lengths[0] ?? '') || !Number.isSafeInteger(length)) throw new StatusError(400, 'bad Content-Length')
  return length === 0 ? { kind: 'none' } : { kind: 'length', length }
}

/** Framing of the answer to a request with this method. */
export function responseFraming(method: string, status: number, headers: Headers): Framing {
  if (method === 'HEAD' || status === 204 || status === 304) return { kind: 'none' }
  if (valuesOf(headers, 'transfer-encoding').some(value => /(^|,)\s*chunked\s*$/i.test(value))) {
    return { kind: 'chunked' }
  }
  const length = valuesOf(headers, 'content-length')[0]
  if (length === undefined || !/^\d+$/.test(length)) return { kind: 'until-close' }
  return { kind: 'length', length: Number(length) }
}

/** A chunk-size line is a few digits; a longer one is an attack or noise. */
const sizeLineLimit = 4096
const trailerLimit = 65_536
const empty = Buffer.alloc(0)

/** Cuts the body of one message out of the bytes of a connection, as they come. */
export class BodyReader {
  #state: 'size' | 'data' | 'data-end' | 'trailer' | 'until-close' | 'done'
  #left = 0
  #line = ''
  #trailerBytes = 0
  readonly #chunked: boolean

  constructor(framing: Framing) {
    this.#chunked = framing.kind === 'chunked'
    this.#left = framing.kind === 'length' ? framing.length : 0
    if (framing.kind === 'until-close') this.#state = 'until-close'
    else if (framing.kind === 'chunked') this.#state = 'size'
    else this.#state = this.#left > 0 ? 'data' : 'done'
  }

  get done(): boolean {
    return this.#state === 'done'
  }

  /** Gives the data of the body in these bytes, and the bytes behind its end. StatusError 400 for broken chunks. */
  feed(bytes: Buffer): { data: Buffer[]; rest: Buffer } {
    if (this.#state === 'until-close') return { data: [bytes], rest: empty }
    const data: Buffer[] = []
    let at = 0
    while (at < bytes.length && this.#state !== 'done') {
      if (this.#state === 'data') {
        const piece = bytes.subarray(at, at + this.#left)
        data.push(piece)
        at += piece.length
        this.#left -= piece.length
        if (this.#left === 0) this.#state = this.#chunked ? 'data-end' : 'done'
      } else {
        at = this.#readLine(bytes, at)
      }
    }
    return { data, rest: bytes.subarray(at) }
  }

  #readLine(bytes: Buffer, from: number): number {
    const end = bytes.indexOf(10, from)
    const to = end < 0 ? bytes.length : end + 1
    this.#line += bytes.toString('latin1', from, to)
    if (this.#line.length > sizeLineLimit) throw new StatusError(400, 'the chunks of the body are broken')
    if (end < 0) return to
    if (!this.#line.endsWith('\r\n')) throw new StatusError(400, 'the chunks of the body are broken')
    this.#takeLine(this.#line.slice(0, -2))
    this.#line = ''
    return to
  }

  #takeLine(line: string): void {
    if (this.#state === 'size') {
      const digits = /^([0-9a-f]{1,13})[ \t]*(?:;.*)?$/i.exec(line)?.[1]
      if (digits === undefined) throw new StatusError(400, 'the chunks of the body are broken')
      this.#left = Number.parseInt(digits, 16)
      this.#state = this.#left === 0 ? 'trailer' : 'data'
    } else if (this.#state === 'data-end') {
      if (line !== '') throw new StatusError(400, 'the chunks of the body are broken')
      this.#state = 'size'
    } else {
      this.#trailerBytes += line.length
      if (this.#trailerBytes > trailerLimit) throw new StatusError(400, 'the trailer of the body is too large')
      if (line === '') this.#state = 'done'
    }
  }
}

/** Writes a body in chunks, one for each write. */
export function chunkEncoder(): Transform {
  return new Transform({
    transform(chunk: Buffer, _encoding, done) {
      // An empty chunk would end the body.
      if (chunk.length > 0) {
        this.push(`${chunk.length.toString(16)}\r\n`)
        this.push(chunk)
        this.push('\r\n')
      }
      done()
    },
    flush(done) {
      this.push('0\r\n\r\n')
      done()
    }
  })
}
