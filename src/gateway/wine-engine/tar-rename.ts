import { pipeline, type Readable, Transform, type TransformCallback } from 'node:stream'
import { JoinedOutput } from '#lib/joined-output.ts'
import { BLOCK, type EntryNames, encodePax, fieldOf, namedHeader, paxRecords, sizeOf, typeOf } from '#lib/tar-header.ts'

/** The name in the first header of a tar, read without taking it off the stream; undefined when it is no plain tar. */
export async function peekTarName(stream: Readable): Promise<string | undefined> {
  const head = await peek(stream, 4 * BLOCK)
  return firstName(head)
}

/** As above, of bytes. A name that is too long for its field stands in a PAX header before. */
export function firstName(head: Buffer): string | undefined {
  if (head.length < BLOCK || head.toString('latin1', 257, 262) !== 'ustar') return undefined
  const type = head.toString('latin1', 156, 157)
  if (type === 'x') {
    const size = Number.parseInt(head.toString('latin1', 124, 135), 8)
    const records = head.toString('utf8', BLOCK, BLOCK + size)
    const path = /(?:^|\n)\d+ path=([^\n]*)\n/.exec(records)?.[1]
    const after = BLOCK + Math.ceil(size / BLOCK) * BLOCK
    return path ?? (after + BLOCK <= head.length ? fieldOf(head.subarray(after), 'name') : undefined)
  }
  return type === 'g' || type === 'L' ? undefined : fieldOf(head, 'name')
}

/** Waits for so many bytes, or the end, and puts them back. */
async function peek(stream: Readable, bytes: number): Promise<Buffer> {
  const chunks: Buffer[] = []
  let length = 0
  while (length < bytes) {
    const chunk = stream.read() as Buffer | null
    if (chunk !== null) {
      chunks.push(chunk)
      length += chunk.length
    } else if (stream.readableEnded || stream.destroyed) break
    else if (!(await readable(stream))) break
  }
  const head = Buffer.concat(chunks)
  // After its end a stream takes nothing back; a tar that short is none.
  if (head.length > 0 && !stream.readableEnded) stream.unshift(head)
  return head
}

function readable(stream: Readable): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const settle = (act: () => void): void => {
      stream.off('readable', onReadable).off('end', onEnd).off('close', onEnd).off('error', onError)
      act()
    }
    const onReadable = (): void => settle(() => resolve(true))
    const onEnd = (): void => settle(() => resolve(false))
    const onError = (error: Error): void => settle(() => reject(error))
    stream.on('readable', onReadable).on('end', onEnd).on('close', onEnd).on('error', onError)
  })
}

/** What may stand before one entry's header (its PAX records, or GNU's long names), in bytes. */
const META_LIMIT = 1024 * 1024

/** Gives entries other names. Contents pass as they come: a library that took the archive apart and made it anew cost half of a copy. */
class Renamer extends Transform {
  readonly #rename: (name: string) => string
  /** Bytes of the block, or of the records with their header, that is being gathered. */
  #gathered: Buffer = Buffer.alloc(0)
  #wanted = BLOCK
  /** Content and padding still to pass, in bytes. */
  #passing = 0
  #records: Record<string, string> = {}
  readonly #output = new JoinedOutput(bytes => this.push(bytes))

  constructor(rename: (name: string) => string) {
    super({ readableHighWaterMark: 1024 * 1024, writableHighWaterMark: 1024 * 1024 })
    this.#rename = rename
  }

  override _transform(chunk: Buffer, _encoding: BufferEncoding, callback: TransformCallback): void {
    try {
      let rest = chunk
      while (rest.length > 0) rest = this.#passing > 0 ? this.#pass(rest) : this.#gather(rest)
      callback()
    } catch (error) {
      callback(error as Error)
    }
  }

  override _flush(callback: TransformCallback): void {
    const cut = this.#passing > 0 || this.#gathered.length > 0
    if (!cut) this.#output.release()
    callback(cut ? new Error('the tar was cut off') : null)
  }

  #pass(bytes: Buffer): Buffer {
    const now = bytes.subarray(0, this.#passing)
    this.#passing -= now.length
    this.#output.emit(now)
    return bytes.subarray(now.length)
  }

  #gather(bytes: Buffer): Buffer {
    const now = bytes.subarray(0, this.#wanted - this.#gathered.length)
    this.#gathered = Buffer.concat([this.#gathered, now])
    if (this.#gathered.length === this.#wanted) this.#take(this.#gathered)
    return bytes.subarray(now.length)
  }

  #take(gathered: Buffer): void {
    const header = gathered.subarray(0, BLOCK)
    const size = sizeOf(header)
    const type = typeOf(header)
    const meta = type === 'x' || type === 'L' || type === 'K'
    if (meta && gathered.length === BLOCK && size > 0) {
      if (size > META_LIMIT) throw new Error('the tar has a name that is too long')
      this.#wanted = BLOCK + padded(size)
      return
    }
    this.#gathered = Buffer.alloc(0)
    this.#wanted = BLOCK
    if (meta) this.#remember(type, gathered.subarray(BLOCK, BLOCK + size))
    else this.#entry(header, size)
  }

  #remember(type: string, data: Buffer): void {
    if (type === 'x') Object.assign(this.#records, paxRecords(data))
    else this.#records[type === 'L' ? 'path' : 'linkpath'] = data.toString('utf8').replace(/\0.*$/s, '')
  }

  #entry(header: Buffer, size: number): void {
    const { path, linkpath, ...records } = this.#records
    this.#records = {}
    // The end of the archive, and records for all that follows, which name nothing.
    if (header.every(byte => byte === 0) || typeOf(header) === 'g') {
      this.#output.emit(header)
      this.#passing = padded(size)
      return
    }
    const link = linkpath ?? fieldOf(header, 'linkname')
    const names: EntryNames = {
      name: this.#rename(path ?? fieldOf(header, 'name')),
      linkname: typeOf(header) === '1' ? this.#rename(link) : link
    }
    const named = namedHeader(header, names)
    const all = { ...records, ...named.records }
    if (Object.keys(all).length > 0) this.#output.emit(encodePax(all, named.header))
    this.#output.emit(named.header)
    this.#passing = padded(records.size === undefined ? size : Number(records.size))
  }
}

function padded(size: number): number {
  return Math.ceil(size / BLOCK) * BLOCK
}

/** A tar with other names; all else of its entries, contents and PAX records stay. Streams, and breaks off as its source does. */
export function renameEntries(source: Readable, rename: (name: string) => string): Readable {
  // An error reaches the reader through the stream itself.
  return pipeline(source, new Renamer(rename), () => {})
}

/** Renames what is or lies below `from`. */
export function rebase(from: string, to: string): (name: string) => string {
  return name => (name === from || name.startsWith(`${from}/`) ? to + name.slice(from.length) : name)
}
