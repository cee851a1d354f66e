import {
  type DiscEntry,
  type DiscFile,
  type DiscReader,
  type Extent,
  namesOf,
  readFrom,
  sameName
} from './disc-reader.ts'
import { damaged, type ImageFile } from './image-file.ts'

// ECMA-167 (3rd edition), as UDF 1.02 uses it on Microsoft's discs: one partition, no virtual or metadata partition map.
// Numbers of sections are ECMA-167's: part/clause.

const SECTOR = 2048
const ANCHOR_SECTOR = 256
const TAG = {
  primaryVolume: 1,
  anchor: 2,
  volumePointer: 3,
  partition: 5,
  logicalVolume: 6,
  terminating: 8,
  fileSet: 256,
  fileIdentifier: 257,
  allocationExtent: 258,
  fileEntry: 261,
  extendedFileEntry: 266
} as const

/** A folder with more bytes of entries is not of this world. */
const LARGEST_FOLDER = 16 * 1024 * 1024
/** At up to 1 GiB each: far more than any disc has. */
const MOST_EXTENTS = 16_384
/** Blocks with more descriptors of one file; a circle of them ends here. */
const MOST_CONTINUATIONS = 512
const MOST_DESCRIPTORS = 256

interface Volume {
  image: ImageFile
  /** Bytes. */
  blockSize: number
  /** Where each partition of the map begins and how long it is, in bytes. */
  partitions: readonly { offset: number; size: number }[]
}

/** Address of a block within a partition (4/7.1). */
interface Address {
  block: number
  partition: number
}

interface Entry extends DiscEntry {
  icb: Address
}

/** Opens the UDF file system of an image; undefined when it has none. Fault when it has one that is damaged. */
export async function openUdf(image: ImageFile): Promise<DiscReader | undefined> {
  if (!(await hasUdf(image))) return undefined
  const anchor = await findAnchor(image)
  const main = { size: anchor.readUInt32LE(16), sector: anchor.readUInt32LE(20) }
  const { volume, fileSet, label } = await readVolume(image, main)
  const root = (await readDescriptor(volume, fileSet, [TAG.fileSet])).subarray(400)
  const rootIcb = longAddress(root)
  return {
    fileSystem: 'udf',
    label,
    async find(path) {
      const entry = await walk(volume, rootIcb, namesOf(path))
      return entry === undefined || entry.folder ? undefined : readFileEntry(volume, entry.icb)
    },
    async list(path) {
      const entry = await walk(volume, rootIcb, namesOf(path))
      return entry?.folder ? readFolder(volume, entry.icb) : undefined
    }
  }
}

/** The volume recognition sequence (2/8.3): BEA01, then NSR02 or NSR03. */
async function hasUdf(image: ImageFile): Promise<boolean> {
  for (let sector = 16; sector < 64; sector += 1) {
    if ((sector + 1) * SECTOR > image.size) return false
    const id = (await image.read(sector * SECTOR, 6)).toString('latin1', 1)
    if (id === 'NSR02' || id === 'NSR03') return true
    if (!/^(CD001|BEA01|BOOT2|CDW02)$/.test(id)) return false
  }
  return false
}

// 3/8.4.2.1: at sector 256, at the last sector, or 256 before it.
async function findAnchor(image: ImageFile): Promise<Buffer> {
  const last = Math.floor(image.size / SECTOR) - 1
  for (const sector of [ANCHOR_SECTOR, last, last - ANCHOR_SECTOR]) {
    if (sector < 16 || sector > last) continue
    const bytes = await image.read(sector * SECTOR, 512)
    if (tagOf(bytes, sector) === TAG.anchor) return bytes
  }
  throw damaged(image.path, 'its UDF file system has no anchor')
}

async function readVolume(
  image: ImageFile,
  sequence: { size: number; sector: number }
): Promise<{ volume: Volume; fileSet: Address; label: string }> {
  const partitions = new Map<number, { offset: number; size: number }>()
  let logical: Buffer | undefined
  let label = ''
  let { sector } = sequence
  let end = sector + Math.floor(sequence.size / SECTOR)
  for (let count = 0; sector < end && count < MOST_DESCRIPTORS; count += 1) {
    const bytes = await image.read(sector * SECTOR, SECTOR)
    const tag = tagOf(bytes, sector)
    sector += 1
    if (tag === TAG.terminating) break
    if (tag === TAG.primaryVolume) label = text(bytes.subarray(24, 56), true)
    if (tag === TAG.logicalVolume) logical = bytes
    if (tag === TAG.partition) {
      partitions.set(bytes.readUInt16LE(22), {
        offset: bytes.readUInt32LE(188) * SECTOR,
        size: bytes.readUInt32LE(192) * SECTOR
      })
    }
    if (tag === TAG.volumePointer) {
      sector = bytes.readUInt32LE(24)
      end = sector + Math.floor(bytes.readUInt32LE(20) / SECTOR)
    }
  }
  if (logical === undefined) throw damaged(image.path, 'its UDF file system has no logical volume')
  const blockSize = logical.readUInt32LE(212)
  if (blockSize !== SECTOR) throw damaged(image.path, `its UDF blocks have ${blockSize} bytes, not ${SECTOR}`)
  const volume = { image, blockSize, partitions: partitionMap(image, logical, partitions) }
  return { volume, fileSet: longAddress(logical.subarray(248)), label: text(logical.subarray(84, 212), true) || label }
}

// 3/10.7
function partitionMap(
  image: ImageFile,
  logical: Buffer,
  partitions: ReadonlyMap<number, { offset: number; size: number }>
): { offset: number; size: number }[] {
  const maps = logical.subarray(440, 440 + logical.readUInt32LE(264))
  const result: { offset: number; size: number }[] = []
  for (let at = 0; at + 6 <= maps.length && result.length < logical.readUInt32LE(268); at += maps[at + 1] ?? 0) {
    if (maps[at] !== 1 || maps[at + 1] !== 6) {
      throw damaged(image.path, 'its UDF file system is of a kind that installation discs do not have')
    }
    const partition = partitions.get(maps.readUInt16LE(at + 4))
    if (partition === undefined) throw damaged(image.path, 'its UDF file system names a partition that is not there')
    result.push(partition)
  }
  return result
}

async function walk(volume: Volume, root: Address, names: readonly string[]): Promise<Entry | undefined> {
  let entry: Entry = { name: '', folder: true, icb: root }
  for (const name of names) {
    if (!entry.folder) return undefined
    const found = (await readFolder(volume, entry.icb)).find(child => sameName(child.name, name))
    if (found === undefined) return undefined
    entry = found
  }
  return entry
}

/** The file identifiers of a folder (4/14.4), without its parent and what was deleted. */
async function readFolder(volume: Volume, icb: Address): Promise<Entry[]> {
  const file = await readFileEntry(volume, icb)
  if (file.size > LARGEST_FOLDER) throw damaged(volume.image.path, 'it has a folder without end')
  const bytes = await readFrom(volume.image, file, 0, file.size)
  const entries: Entry[] = []
  let at = 0
  while (at + 38 <= bytes.length) {
    if (tagOf(bytes.subarray(at), undefined) !== TAG.fileIdentifier) {
      throw damaged(volume.image.path, 'a folder on it has a wrong entry')
    }
    const characteristics = bytes.readUInt8(at + 18)
    const nameSize = bytes.readUInt8(at + 19)
    const name = at + 38 + bytes.readUInt16LE(at + 36)
    if (name + nameSize > bytes.length) throw damaged(volume.image.path, 'a folder on it has a wrong entry')
    // Bits: 1 folder, 2 deleted, 3 parent.
    if ((characteristics & 0b1100) === 0) {
      entries.push({
        name: text(bytes.subarray(name, name + nameSize), false),
        folder: (characteristics & 0b10) !== 0,
        icb: longAddress(bytes.subarray(at + 20))
      })
    }
    at += (name + nameSize - at + 3) & ~3
  }
  return entries
}

/** A file's size and where its bytes are, from its file entry (4/14.9) or extended file entry (4/14.17). */
async function readFileEntry(volume: Volume, icb: Address): Promise<DiscFile> {
  const bytes = await readDescriptor(volume, icb, [TAG.fileEntry, TAG.extendedFileEntry])
  const lengths = bytes.readUInt16LE(0) === TAG.fileEntry ? 168 : 208
  const size = Number(bytes.readBigUInt64LE(56))
  const start = lengths + 8 + bytes.readUInt32LE(lengths)
  const end = start + bytes.readUInt32LE(lengths + 4)
  if (end > bytes.length || !Number.isSafeInteger(size))
    throw damaged(volume.image.path, 'a file on it has a wrong entry')
  const kind = bytes.readUInt16LE(34) & 0b111
  if (kind === 3) {
    if (size > end - start) throw damaged(volume.image.path, 'a file on it has a wrong entry')
    return { size, extents: [{ offset: blockOffset(volume, icb) + start, size }] }
  }
  if (kind > 1) throw damaged(volume.image.path, 'a file on it is stored in an unknown way')
  const extents = await readExtents(volume, bytes.subarray(start, end), kind, icb.partition)
  return { size, extents: cut(volume, extents, size) }
}

/** Allocation descriptors, short (4/14.14.1) or long (4/14.14.2), with those that go on elsewhere. */
async function readExtents(volume: Volume, first: Buffer, kind: number, partition: number): Promise<Extent[]> {
  const width = kind === 0 ? 8 : 16
  const extents: Extent[] = []
  let descriptors = first
  let continuations = 0
  for (let at = 0; at + width <= descriptors.length; at += width) {
    const length = descriptors.readUInt32LE(at)
    const size = length & 0x3fff_ffff
    if (size === 0) break
    const address =
      kind === 0 ? { block: descriptors.readUInt32LE(at + 4), partition } : longAddress(descriptors.subarray(at))
    if (extents.length >= MOST_EXTENTS) throw damaged(volume.image.path, 'a file on it has too many pieces')
    switch (length >>> 30) {
      case 0:
        extents.push({ offset: blockOffset(volume, address, size), size })
        break
      case 3: {
        continuations += 1
        if (continuations > MOST_CONTINUATIONS) throw damaged(volume.image.path, 'a file on it has too many pieces')
        const next = await readDescriptor(volume, address, [TAG.allocationExtent])
        descriptors = next.subarray(24, Math.min(24 + next.readUInt32LE(20), next.length))
        at = -width
        break
      }
      default:
        // Allocated or not, but never written: zeros (4/14.14.1.1).
        extents.push({ offset: undefined, size })
    }
  }
  return extents
}

/** The last piece is told in whole blocks by some writers; the file's own length counts. */
function cut(volume: Volume, extents: readonly Extent[], size: number): Extent[] {
  const result: Extent[] = []
  let left = size
  for (const extent of extents) {
    if (left === 0) break
    const taken = Math.min(left, extent.size)
    result.push({ offset: extent.offset, size: taken })
    left -= taken
  }
  if (left > 0) throw damaged(volume.image.path, 'a file on it is longer than its pieces')
  return result
}

async function readDescriptor(volume: Volume, address: Address, tags: readonly number[]): Promise<Buffer> {
  const bytes = await volume.image.read(blockOffset(volume, address), volume.blockSize)
  const tag = tagOf(bytes, address.block)
  if (tag === undefined || !tags.includes(tag)) throw damaged(volume.image.path, 'its UDF file system is broken')
  return bytes
}

/** Where a block lies in the image; a Fault when it, or what begins there, is not within its partition. */
function blockOffset(volume: Volume, { block, partition }: Address, size = volume.blockSize): number {
  const place = volume.partitions[partition]
  const offset = block * volume.blockSize
  if (place === undefined || offset + size > place.size) {
    throw damaged(volume.image.path, 'its UDF file system points outside of itself')
  }
  return place.offset + offset
}

function longAddress(bytes: Buffer): Address {
  return { block: bytes.readUInt32LE(4), partition: bytes.readUInt16LE(8) }
}

/**
 * The identifier of a descriptor whose tag (3/7.2) is sound; undefined otherwise. Its location is checked where it is
 * known.
 */
function tagOf(bytes: Buffer, location: number | undefined): number | undefined {
  if (bytes.length < 16) return undefined
  let sum = 0
  for (let at = 0; at < 16; at += 1) if (at !== 4) sum += bytes.readUInt8(at)
  if ((sum & 0xff) !== bytes.readUInt8(4)) return undefined
  const size = bytes.readUInt16LE(10)
  if (16 + size > bytes.length || crc(bytes.subarray(16, 16 + size)) !== bytes.readUInt16LE(8)) return undefined
  if (location !== undefined && bytes.readUInt32LE(12) !== location) return undefined
  return bytes.readUInt16LE(0)
}

/** CRC-ITU-T, polynomial 0x1021 from 0 (3/7.2.6). */
function crc(bytes: Buffer): number {
  let value = 0
  for (const byte of bytes) {
    value ^= byte << 8
    for (let bit = 0; bit < 8; bit += 1) value = (value & 0x8000 ? (value << 1) ^ 0x1021 : value << 1) & 0xffff
  }
  return value
}

/** OSTA compressed Unicode (UDF 2.1.1). In a fixed field (dstring) the last byte is the length. */
function text(bytes: Buffer, fixed: boolean): string {
  const length = fixed ? Math.min(bytes.at(-1) ?? 0, bytes.length - 1) : bytes.length
  const characters = bytes.subarray(1, length)
  if (length < 2) return ''
  if (bytes[0] !== 16) return characters.toString('latin1')
  // Big-endian, which Node cannot read.
  return Buffer.from(characters.subarray(0, characters.length & ~1))
    .swap16()
    .toString('utf16le')
}
