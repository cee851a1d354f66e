import { pipeline, type Readable, Transform, type TransformCallback } from 'node:stream'
import { Fault } from '#lib/fault.ts'
import { JoinedOutput } from '#lib/joined-output.ts'
import {
  BLOCK,
  type EntryFacts,
  encodePax,
  fieldOf,
  isSealed,
  makeHeader,
  mtimeOf,
  paxRecords,
  sizeOf,
  typeOf
} from '#lib/tar-header.ts'

export interface TarEntry {
  /** The letter of the format: `0` a file, `1` a hard link, `2` a symbolic link, `5` a folder, others devices and the like. */
  type: string
  name: string
  linkname: string
  /** Of the content, in bytes; 0 for all but files. */
  size: number
  /** Seconds since 1970 as a decimal, with as many places as the tar has. */
  mtime: string
  mode: number
  /** PAX records but for path, linkpath and size. */
  pax: Readonly<Record<string, string>>
}

/** An entry to write. Its content is that of the entry read, or `content`. */
export interface NewEntry extends Pick<TarEntry, 'type' | 'name' | 'linkname' | 'mtime' | 'mode'> {
  pax?: Readonly<Record<string, string>>
  content?: Buffer
}

/** What becomes of an entry: nothing, another entry with the same content, or its content is handed over. */
export type Verdict =
  | { kind: 'drop' }
  | { kind: 'pass'; entry: NewEntry }
  | { kind: 'collect'; limit: number; take: (content: Buffer) => void }

export interface Translation {
  /** Entries that come before all others. */
  begin?: () => NewEntry[]
  entry: (entry: TarEntry) => Verdict
  /** Entries that come after all others. */
  end?: () => NewEntry[] | Promise<NewEntry[]>
}

/** What may stand before one entry's header (its PAX records, or GNU's long names), in bytes. */
const META_LIMIT = 1024 * 1024
const WATER_BYTES = 1024 * 1024

/**
 * A tar made from another, entry by entry. Contents pass as they come, so that no file is held as a whole. A Fault ends both
 * streams when the input is cut off or is no tar.
 */
export function translateTar(input: Readable, translation: Translation): Readable {
  // An error reaches the reader through the stream itself.
  return pipeline(input, new TarTranslator(translation), () => {})
}

class TarTranslator extends Transform {
  readonly #translation: Translation
  #gathered: Buffer = Buffer.alloc(0)
  /** Bytes of the block, or of the records with their header, that is being gathered. */
  #wanted = BLOCK
  /** Content and padding still to come, in bytes, and what happens to them. */
  #left = 0
  #leaving: 'pass' | 'skip' | 'collect' = 'skip'
  #collected: Buffer[] = []
  #collectSize = 0
  #take: ((content: Buffer) => void) | undefined
  #path: string | undefined
  #linkpath: string | undefined
  #records: Record<string, string> = {}
  /** Seen blocks of zeros: two end the archive, and what is behind them is padding. */
  #zeros = 0
  #begun = false
  readonly #output = new JoinedOutput(bytes => this.push(bytes))

  constructor(translation: Translation) {
    super({ readableHighWaterMark: WATER_BYTES, writableHighWaterMark: WATER_BYTES })
    this.#translation = translation
  }

  override _transform(chunk: Buffer, _encoding: BufferEncoding, callback: TransformCallback): void {
    try {
      this.#begin()
      let rest = chunk
      while (rest.length > 0 && this.#zeros < 2) rest = this.#left > 0 ? this.#content(rest) : this.#gather(rest)
      callback()
    } catch (error) {
      callback(error as Error)
    }
  }

  override _flush(callback: TransformCallback): void {
    this.#finish().then(() => callback(), callback)
  }

  async #finish(): Promise<void> {
    this.#begin()
    const inside = this.#path !== undefined || this.#linkpath !== undefined || Object.keys(this.#records).length > 0
    if (this.#left > 0 || this.#gathered.length > 0 || inside) {
      throw new Fault('the layer is cut off in the middle of a file')
    }
    for (const entry of (await this.#translation.end?.()) ?? []) this.#write(entry)
    this.#output.emit(Buffer.alloc(2 * BLOCK))
    this.#output.release()
  }

  #begin(): void {
    if (this.#begun) return
    this.#begun = true
    for (const entry of this.#translation.begin?.() ?? []) this.#write(entry)
  }

  #write(entry: NewEntry): void {
    const content = entry.content ?? Buffer.alloc(0)
    this.#header(entry, content.length)
    if (content.length > 0) this.#output.emit(Buffer.concat([content, Buffer.alloc(padding(content.length))]))
  }

  #header(entry: NewEntry, size: number): void {
    const facts: EntryFacts = { ...entry, size }
    const { header, records } = makeHeader(facts)
    const all = { ...entry.pax, ...records }
    if (Object.keys(all).length > 0) this.#output.emit(encodePax(all, header))
    this.#output.emit(header)
  }

  #content(bytes: Buffer): Buffer {
    const now = bytes.subarray(0, this.#left)
    this.#left -= now.length
    if (this.#leaving === 'pass') this.#output.emit(now)
    else if (this.#leaving === 'collect') this.#collected.push(now)
    if (this.#left === 0 && this.#leaving === 'collect') this.#handOver()
    return bytes.subarray(now.length)
  }

  #handOver(): void {
    const content = Buffer.concat(this.#collected).subarray(0, this.#collectSize)
    this.#collected = []
    this.#leaving = 'skip'
    this.#take?.(content)
    this.#take = undefined
  }

  #gather(bytes: Buffer): Buffer {
    const now = bytes.subarray(0, this.#wanted - this.#gathered.length)
    this.#gathered = this.#gathered.length === 0 ? now : Buffer.concat([this.#gathered, now])
    if (this.#gathered.length === this.#wanted) this.#understand(this.#gathered)
    return bytes.subarray(now.length)
  }

  #understand(gathered: Buffer): void {
    const header = gathered.subarray(0, BLOCK)
    if (gathered.length === BLOCK && header.every(byte => byte === 0)) {
      this.#zeros++
      this.#reset()
      return
    }
    if (this.#zeros > 0) throw new Fault('this is no tar: an empty block stands in the middle of it')
    if (gathered.length === BLOCK && !isSealed(header)) throw new Fault('this is no tar, or a damaged one')
    const size = sizeOf(header)
    const type = typeOf(header)
    const meta = type === 'x' || type === 'g' || type === 'L' || type === 'K'
    if (meta && gathered.length === BLOCK && size > 0) {
      if (size > META_LIMIT) throw new Fault('the tar has a name or attributes that are too long')
      this.#wanted = BLOCK + size + padding(size)
      return
    }
    this.#reset()
    if (meta) this.#remember(type, gathered.subarray(BLOCK, BLOCK + size))
    else this.#entry(header, type, size)
  }

  #reset(): void {
    this.#gathered = Buffer.alloc(0)
    this.#wanted = BLOCK
  }

  #remember(type: string, data: Buffer): void {
    if (type === 'L' || type === 'K') {
      const name = data.toString('utf8').replace(/\0.*$/s, '')
      if (type === 'L') this.#path = name
      else this.#linkpath = name
    } else if (type === 'x') {
      const { path, linkpath, ...records } = paxRecords(data)
      if (path !== undefined) this.#path = path
      if (linkpath !== undefined) this.#linkpath = linkpath
      Object.assign(this.#records, records)
    }
    // Records for all that follows (g) are comments in practice.
  }

  #entry(header: Buffer, letter: string, fieldSize: number): void {
    const { size: paxSize, mtime: paxMtime, ...pax } = this.#records
    const name = this.#path ?? fieldOf(header, 'name')
    const linkname = this.#linkpath ?? fieldOf(header, 'linkname')
    this.#path = this.#linkpath = undefined
    this.#records = {}
    const plain = letter === '\0' || letter === '7' ? '0' : letter
    const type = plain === '0' && name.endsWith('/') ? '5' : plain
    const said = paxSize === undefined ? fieldSize : Number(paxSize)
    if (!Number.isSafeInteger(said) || said < 0) throw new Fault('the tar has a file of an impossible size')
    // Old archives give the size of a hard link's file again, with no content.
    const size = type === '0' ? said : 0
    const mtime = paxMtime !== undefined && /^-?\d{1,15}(\.\d{1,20})?$/.test(paxMtime) ? paxMtime : mtimeOf(header)
    const mode = Number.parseInt(header.toString('latin1', 100, 107), 8) || 0
    if (Object.keys(pax).some(key => key.startsWith('GNU.sparse.')) || type === 'S') {
      throw new Fault(`the tar has a sparse file ("${name}"), which no Windows layer has`)
    }
    const verdict = this.#translation.entry({ type, name, linkname, size, mtime, mode, pax })
    this.#left = size + padding(size)
    this.#leaving = verdict.kind === 'drop' ? 'skip' : verdict.kind
    if (verdict.kind === 'pass') {
      if (verdict.entry.content !== undefined) throw new Error('an entry that passes has its own content')
      this.#header(verdict.entry, verdict.entry.type === '0' ? size : 0)
    } else if (verdict.kind === 'collect') {
      if (size > verdict.limit) throw new Fault(`"${name}" is larger than the ${verdict.limit} bytes that are taken`)
      this.#collectSize = size
      this.#take = verdict.take
      if (size === 0) this.#handOver()
    }
  }
}

function padding(size: number): number {
  return (BLOCK - (size % BLOCK)) % BLOCK
}
