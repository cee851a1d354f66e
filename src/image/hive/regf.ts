// The format: https://github.com/msuhanov/regf/blob/master/Windows%20registry%20file%20format%20specification.md
import { Fault } from '#lib/fault.ts'

/** How a key of a layer's hive lies over the key of the same name in the layers below. */
export type KeyLayer = 'merge' | 'tombstone' | 'supersede-local' | 'supersede-tree'

export interface HiveValue {
  /** Empty for the default value. */
  name: string
  /** REG_SZ is 1, REG_DWORD 4 and so on; the types above 0xffff are Windows' own. */
  type: number
  data: Buffer
  /** The layer takes away a value of the layers below. */
  tombstone: boolean
}

export interface HiveKey {
  /** Empty for the root, whose name in the file says nothing. */
  name: string
  layer: KeyLayer
  values: HiveValue[]
  keys: HiveKey[]
}

/** What a hive says of itself in its base block. */
export interface HiveFacts {
  /** The hive was not closed: its log files, which a layer does not carry, have newer data. */
  dirty: boolean
  /** The flags of layered keys mean something. */
  layered: boolean
}

/** Where the hive bins begin; every offset in the file counts from there. */
const BINS = 4096
const NO_CELL = 0xffffffff

const MAX_DEPTH = 512
/** The least that a key and a value with its place in a list take in a file. */
const KEY_BYTES = 80
const VALUE_BYTES = 28
/** A value longer than this lies in several segments (from format 1.4 on). */
const SEGMENT_BYTES = 16344
const KEY_LAYERS: readonly KeyLayer[] = ['merge', 'tombstone', 'supersede-local', 'supersede-tree']

const ASCII_KEY_NAME = 0x20
const ASCII_VALUE_NAME = 0x1
const TOMBSTONE_VALUE = 0x2
const LAYERED_KEYS = 0x2

/** Reads the base block. Fault when this is no hive, or one of a format that no Windows of the last 25 years writes. */
export function readHiveFacts(bytes: Buffer): HiveFacts {
  if (bytes.length < BINS || bytes.toString('latin1', 0, 4) !== 'regf') {
    throw new Fault('this is no registry hive: it does not begin with "regf"')
  }
  const major = bytes.readUInt32LE(20)
  const minor = bytes.readUInt32LE(24)
  if (major !== 1 || minor < 3 || minor > 6) {
    throw new Fault(`this registry hive has format ${major}.${minor}; 1.3 to 1.6 can be read`)
  }
  return {
    dirty: bytes.readUInt32LE(4) !== bytes.readUInt32LE(8),
    layered: (bytes.readUInt32LE(144) & LAYERED_KEYS) !== 0
  }
}

/**
 * Reads a whole registry hive (a regf file). Fault when it is damaged or larger than a hive can be; a hive that was not
 * closed is read as it is (`readHiveFacts` tells).
 */
export function readHive(bytes: Buffer): HiveKey {
  const facts = readHiveFacts(bytes)
  return new HiveReader(bytes, facts.layered).read()
}

/** One pass through a hive; every cell of a key is entered once, so that a ring of keys cannot be walked for ever. */
class HiveReader {
  readonly #bytes: Buffer
  readonly #layered: boolean
  readonly #big: boolean
  readonly #end: number
  readonly #entered = new Set<number>()
  #values = 0
  /** Of names and data. */
  #textBytes = 0

  constructor(bytes: Buffer, layered: boolean) {
    this.#bytes = bytes
    this.#layered = layered
    this.#big = bytes.readUInt32LE(24) >= 4
    this.#end = Math.min(bytes.length, BINS + bytes.readUInt32LE(40))
  }

  read(): HiveKey {
    return { ...this.#key(this.#bytes.readUInt32LE(36), 0), name: '' }
  }

  /** The content of the cell at an offset, without its size. */
  #cell(offset: number, least: number, what: string): Buffer {
    const at = BINS + offset
    if (offset % 8 !== 0 || at + 4 > this.#end) throw damaged(`${what} lies outside of it`)
    // The size of a cell in use is negative.
    const size = -this.#bytes.readInt32LE(at)
    if (size < 4 + least || at + size > this.#end) throw damaged(`${what} has an impossible size`)
    return this.#bytes.subarray(at + 4, at + size)
  }

  /** Keys or values that share their bytes would make a small file a large registry; in a sound hive none do. */
  #spend(bytes: number): void {
    this.#textBytes += bytes
    if (this.#textBytes > this.#bytes.length) throw damaged('its names and values are longer than the file')
  }

  #key(offset: number, depth: number): HiveKey {
    if (depth > MAX_DEPTH) throw damaged(`its keys are nested more than ${MAX_DEPTH} deep`)
    if (this.#entered.has(offset)) throw damaged('a key is met twice')
    if (this.#entered.size * KEY_BYTES > this.#bytes.length) throw damaged('it has more keys than there is room for')
    this.#entered.add(offset)
    const cell = this.#cell(offset, 76, 'a key')
    if (signature(cell) !== 'nk') throw damaged('where a key should be is something else')
    const length = cell.readUInt16LE(72)
    if (76 + length > cell.length) throw damaged('the name of a key is longer than its cell')
    this.#spend(length)
    const name = text(cell.subarray(76, 76 + length), (cell.readUInt16LE(2) & ASCII_KEY_NAME) !== 0)
    if (depth > 0 && (name === '' || /[\\\0]/.test(name))) throw damaged('a key has an impossible name')
    return {
      name,
      layer: (this.#layered ? KEY_LAYERS[(cell[13] ?? 0) & 3] : undefined) ?? 'merge',
      values: this.#valuesOf(cell.readUInt32LE(36), cell.readUInt32LE(40)),
      keys: this.#subkeys(cell.readUInt32LE(28), cell.readUInt32LE(20)).map(subkey => this.#key(subkey, depth + 1))
    }
  }

  /** The offsets of the keys in a list of subkeys, which may be a list of lists. */
  #subkeys(list: number, count: number): number[] {
    if (count === 0 || list === NO_CELL) return []
    const cell = this.#cell(list, 4, 'a list of keys')
    if (signature(cell) !== 'ri') return this.#leaf(cell)
    const leaves = this.#offsets(cell, 4)
    const keys: number[] = []
    for (const leaf of leaves) {
      keys.push(...this.#leaf(this.#cell(leaf, 4, 'a list of keys')))
      if (keys.length * KEY_BYTES > this.#bytes.length) throw damaged('it has more keys than there is room for')
    }
    return keys
  }

  #leaf(cell: Buffer): number[] {
    switch (signature(cell)) {
      case 'li':
        return this.#offsets(cell, 4)
      // Each offset is followed by a hint or a hash of the name.
      case 'lf':
      case 'lh':
        return this.#offsets(cell, 8)
      default:
        throw damaged('where a list of keys should be is something else')
    }
  }

  #offsets(cell: Buffer, width: number): number[] {
    const count = cell.readUInt16LE(2)
    if (4 + count * width > cell.length) throw damaged('a list of keys is longer than its cell')
    return Array.from({ length: count }, (_, index) => cell.readUInt32LE(4 + index * width))
  }

  #valuesOf(count: number, list: number): HiveValue[] {
    if (count === 0 || list === NO_CELL) return []
    this.#values += count
    if (this.#values * VALUE_BYTES > this.#bytes.length) throw damaged('it has more values than there is room for')
    const cell = this.#cell(list, 4 * count, 'a list of values')
    return Array.from({ length: count }, (_, index) => this.#value(cell.readUInt32LE(4 * index)))
  }

  #value(offset: number): HiveValue {
    const cell = this.#cell(offset, 20, 'a value')
    if (signature(cell) !== 'vk') throw damaged('where a value should be is something else')
    const length = cell.readUInt16LE(2)
    if (20 + length > cell.length) throw damaged('the name of a value is longer than its cell')
    this.#spend(length)
    const flags = cell.readUInt16LE(16)
    const tombstone = this.#layered && (flags & TOMBSTONE_VALUE) !== 0
    return {
      name: text(cell.subarray(20, 20 + length), (flags & ASCII_VALUE_NAME) !== 0),
      type: cell.readUInt32LE(12),
      data: tombstone ? Buffer.alloc(0) : this.#data(cell),
      tombstone
    }
  }

  #data(value: Buffer): Buffer {
    const size = value.readUInt32LE(4)
    // The high bit says that the data, up to four bytes, stand in the place of their offset.
    if (size & 0x80000000) {
      const inline = size & 0x7fffffff
      if (inline > 4) throw damaged('a value has an impossible size')
      return Buffer.from(value.subarray(8, 8 + inline))
    }
    this.#spend(size)
    if (size === 0) return Buffer.alloc(0)
    const offset = value.readUInt32LE(8)
    if (size > SEGMENT_BYTES && this.#big) return this.#segments(this.#cell(offset, 8, 'a large value'), size)
    return Buffer.from(this.#cell(offset, size, 'the data of a value').subarray(0, size))
  }

  #segments(cell: Buffer, size: number): Buffer {
    if (signature(cell) !== 'db') throw damaged('where a large value should be is something else')
    const count = cell.readUInt16LE(2)
    if (count !== Math.ceil(size / SEGMENT_BYTES)) throw damaged('a large value has the wrong number of pieces')
    const list = this.#cell(cell.readUInt32LE(4), 4 * count, 'the list of a large value')
    const pieces: Buffer[] = []
    for (let index = 0, left = size; index < count; index++, left -= SEGMENT_BYTES) {
      const length = Math.min(left, SEGMENT_BYTES)
      pieces.push(this.#cell(list.readUInt32LE(4 * index), length, 'a piece of a large value').subarray(0, length))
    }
    return Buffer.concat(pieces)
  }
}

function signature(cell: Buffer): string {
  return cell.toString('latin1', 0, 2)
}

function text(bytes: Buffer, narrow: boolean): string {
  // Narrow names are Windows-1252 in name, but Windows takes each byte for a character of Unicode.
  return narrow ? bytes.toString('latin1') : bytes.toString('utf16le')
}

function damaged(why: string): Fault {
  return new Fault(`this registry hive is damaged: ${why}`)
}
