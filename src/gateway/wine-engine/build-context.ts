import { posix } from 'node:path'
import { Transform, type TransformCallback } from 'node:stream'
import { ignores } from './build-ignore.ts'
import { Refusal } from './refusal.ts'

const BLOCK = 512
/** A path in a tar takes some KiB; a Dockerfile or .dockerignore some more. */
const HELD_BYTES = 16 * 1024 * 1024

/** The name under which the engine finds the translated Dockerfile. Fixed, so that the engine's cache stays valid. */
export const GENERATED = '.oriel.dockerfile'
const IGNORE = '.dockerignore'

interface Held {
  /** Header blocks and content as they came, padding included. */
  raw: Buffer[]
  content: Buffer[]
}

/**
 * Passes a build context (an uncompressed tar) through and adds the translated Dockerfile to it. The Dockerfile and
 * `.dockerignore` are held back to the end, wherever they come, because one may say that the other is no part of the
 * context; all else flows, so memory stays flat. `translate` gets the Dockerfile's text and gives the one for the engine.
 */
export class ContextFilter extends Transform {
  readonly #wanted: string
  readonly #translate: (dockerfile: string) => Promise<string>
  readonly #held = new Map<string, Held>()
  #rest: Buffer = Buffer.alloc(0)
  /** Bytes of the current entry's content and padding that are still to come. */
  #content = 0
  #padding = 0
  /** Blocks of headers that describe the next entry (long names, PAX). */
  #prefix: Buffer[] = []
  #prefixBytes = 0
  #meta: { type: string; chunks: Buffer[] } | undefined
  #next: { path?: string; size?: number } = {}
  #hold: Held | undefined
  #ended = false

  /** `wanted`: path of the Dockerfile in the context. */
  constructor(wanted: string, translate: (dockerfile: string) => Promise<string>) {
    super({ highWaterMark: 256 * 1024 })
    this.#wanted = wanted
    this.#translate = translate
  }

  override _transform(chunk: Buffer, _encoding: BufferEncoding, done: TransformCallback): void {
    try {
      this.#take(this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]))
      done()
    } catch (error) {
      done(error as Error)
    }
  }

  override _flush(done: TransformCallback): void {
    if (!this.#ended && (this.#rest.length > 0 || this.#content > 0)) {
      done(damaged('unexpected EOF'))
      return
    }
    this.#finish().then(
      () => done(),
      (error: Error) => done(error)
    )
  }

  #take(data: Buffer): void {
    let at = 0
    while (at < data.length && !this.#ended) {
      if (this.#content + this.#padding > 0) {
        at += this.#entryBytes(data.subarray(at))
        continue
      }
      if (data.length - at < BLOCK) break
      this.#header(data.subarray(at, at + BLOCK))
      at += BLOCK
    }
    // What follows the end of an archive is padding.
    this.#rest = this.#ended ? Buffer.alloc(0) : Buffer.from(data.subarray(at))
  }

  /** Takes content or padding of the current entry; gives how many bytes. */
  #entryBytes(data: Buffer): number {
    const content = Math.min(this.#content, data.length)
    const padding = Math.min(this.#padding, data.length - content)
    const bytes = data.subarray(0, content + padding)
    this.#content -= content
    this.#padding -= padding
    if (this.#meta !== undefined) {
      this.#meta.chunks.push(Buffer.from(data.subarray(0, content)))
      this.#keep(this.#prefix, bytes)
      if (this.#content === 0 && this.#padding === 0) this.#endMeta(this.#meta)
    } else if (this.#hold !== undefined) {
      this.#hold.content.push(Buffer.from(data.subarray(0, content)))
      this.#hold.raw.push(Buffer.from(bytes))
    } else if (bytes.length > 0) this.push(bytes)
    return bytes.length
  }

  #header(block: Buffer): void {
    if (block.every(byte => byte === 0)) {
      this.#ended = true
      return
    }
    checkSum(block)
    const type = String.fromCharCode(block[156] ?? 0)
    const size = this.#next.size ?? number(block, 124, 12)
    if (type === 'x' || type === 'L' || type === 'K') {
      const own = number(block, 124, 12)
      if (own > HELD_BYTES) throw damaged('header too long')
      this.#begin(own)
      this.#meta = { type, chunks: [] }
      this.#keep(this.#prefix, block)
      if (own === 0) this.#endMeta(this.#meta)
      return
    }
    const path = clean(this.#next.path ?? headerPath(block))
    const file = type === '0' || type === '\0' || type === '7'
    // A header of links, folders and devices may tell a size all the same; no content follows.
    this.#begin(file || type === 'g' || type === 'S' ? size : 0)
    this.#hold = undefined
    if (this.#isHeld(path)) {
      if (!file) throw new Refusal(`${path} in the build context is not a plain file`, 400)
      if (size > HELD_BYTES) throw new Refusal(`${path} in the build context is larger than ${HELD_BYTES} bytes`, 400)
      this.#hold = { raw: [...this.#prefix, Buffer.from(block)], content: [] }
      this.#held.set(path, this.#hold)
    } else {
      for (const part of this.#prefix) this.push(part)
      this.push(Buffer.from(block))
    }
    if (type !== 'g') this.#forgetPrefix()
  }

  #isHeld(path: string): boolean {
    return path === IGNORE || path === this.#wanted || (this.#wanted === 'Dockerfile' && path === 'dockerfile')
  }

  #begin(size: number): void {
    this.#content = size
    this.#padding = (BLOCK - (size % BLOCK)) % BLOCK
  }

  #keep(blocks: Buffer[], bytes: Buffer): void {
    this.#prefixBytes += bytes.length
    if (this.#prefixBytes > HELD_BYTES) throw damaged('header too long')
    blocks.push(Buffer.from(bytes))
  }

  #forgetPrefix(): void {
    this.#prefix = []
    this.#prefixBytes = 0
    this.#next = {}
  }

  #endMeta(meta: { type: string; chunks: Buffer[] }): void {
    this.#meta = undefined
    const text = Buffer.concat(meta.chunks)
    if (meta.type === 'L') this.#next.path = text.toString('utf8').replace(/\0.*$/s, '')
    if (meta.type !== 'x') return
    for (const [key, value] of paxRecords(text)) {
      if (key === 'path') this.#next.path = value
      if (key === 'size') this.#next.size = Number(value)
    }
  }

  async #finish(): Promise<void> {
    const name = this.#held.has(this.#wanted) || this.#wanted !== 'Dockerfile' ? this.#wanted : 'dockerfile'
    const dockerfile = this.#held.get(name)
    // Docker's words and status.
    if (dockerfile === undefined) throw new Refusal(`Cannot locate specified Dockerfile: ${this.#wanted}`, 500)
    const generated = await this.#translate(text(dockerfile))
    const ignore = this.#held.get(IGNORE)
    const patterns = ignore === undefined ? '' : text(ignore)
    for (const [path, { raw }] of this.#held) {
      if (path === IGNORE || (path === name && ignores(patterns, path))) continue
      for (const part of raw) this.push(part)
    }
    // The engine takes this file and the Dockerfile out of the context when the patterns say so.
    const own = ignore === undefined || ignores(patterns, IGNORE) ? [IGNORE, GENERATED] : [GENERATED]
    const before = patterns === '' || patterns.endsWith('\n') ? patterns : `${patterns}\n`
    this.push(entry(IGNORE, `${before}${own.join('\n')}\n`))
    this.push(entry(GENERATED, generated))
    this.push(Buffer.alloc(2 * BLOCK))
  }
}

function text({ content }: Held): string {
  return Buffer.concat(content).toString('utf8')
}

function damaged(why: string): Refusal {
  return new Refusal(`Error processing tar file(exit status 1): ${why}`, 500)
}

/** A field of a header: octal text, or big-endian binary when its first bit is set (GNU, for sizes over 8 GiB). */
function number(block: Buffer, at: number, length: number): number {
  const field = block.subarray(at, at + length)
  if ((field[0] ?? 0) >= 0x80) {
    const low = field.subarray(length - 8).readBigUInt64BE()
    if (low > BigInt(Number.MAX_SAFE_INTEGER)) throw damaged('archive/tar: invalid tar header')
    return Number(low)
  }
  const octal = field
    .toString('latin1')
    .replace(/[\0 ]+/g, ' ')
    .trim()
  if (!/^[0-7]*$/.test(octal)) throw damaged('archive/tar: invalid tar header')
  return octal === '' ? 0 : Number.parseInt(octal, 8)
}

function checkSum(block: Buffer): void {
  let sum = 8 * 0x20
  for (let at = 0; at < BLOCK; at++) if (at < 148 || at >= 156) sum += block[at] ?? 0
  if (number(block, 148, 8) !== sum) throw damaged('archive/tar: invalid tar header')
}

function headerPath(block: Buffer): string {
  const field = (at: number, length: number): string =>
    block
      .subarray(at, at + length)
      .toString('utf8')
      .replace(/\0.*$/s, '')
  const prefix = field(257, 6) === 'ustar' ? field(345, 155) : ''
  return prefix === '' ? field(0, 100) : `${prefix}/${field(0, 100)}`
}

function clean(path: string): string {
  return posix.normalize(`/${path}`).slice(1).replace(/\/$/, '')
}

/** PAX records: `LENGTH KEY=VALUE\n`, the length in bytes and of the whole record. */
function paxRecords(data: Buffer): [key: string, value: string][] {
  const records: [string, string][] = []
  for (let at = 0; at < data.length; ) {
    const space = data.indexOf(0x20, at)
    const length = space < 0 ? Number.NaN : Number(data.subarray(at, space).toString('latin1'))
    if (!Number.isInteger(length) || length <= 0 || at + length > data.length) {
      throw damaged('archive/tar: invalid tar header')
    }
    const record = data.subarray(space + 1, at + length - 1).toString('utf8')
    const equals = record.indexOf('=')
    records.push([record.slice(0, equals), record.slice(equals + 1)])
    at += length
  }
  return records
}

/** One small file as header, content and padding. */
function entry(path: string, content: string): Buffer {
  const data = Buffer.from(content, 'utf8')
  const header = Buffer.alloc(BLOCK)
  header.write(path, 0)
  header.write('0000600\0', 100)
  header.write('0000000\0', 108)
  header.write('0000000\0', 116)
  header.write(`${data.length.toString(8).padStart(11, '0')}\0`, 124)
  header.write('00000000000\0', 136)
  header.write('0', 156)
  header.write('ustar\x0000', 257)
  let sum = 8 * 0x20
  for (const byte of header) sum += byte
  header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148)
  return Buffer.concat([header, data, Buffer.alloc((BLOCK - (data.length % BLOCK)) % BLOCK)])
}
