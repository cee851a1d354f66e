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

// ISO 9660 (ECMA-119) with Joliet names where there are any, and files in several extents (level 3).

const SECTOR = 2048
const FIRST_DESCRIPTOR = 16
const MOST_DESCRIPTORS = 64
const LARGEST_FOLDER = 16 * 1024 * 1024

interface Volume {
  image: ImageFile
  blockSize: number
  joliet: boolean
}

interface Entry extends DiscEntry {
  size: number
  extents: Extent[]
}

/** Opens the ISO 9660 file system of an image; undefined when it has none. Fault when it has one that is damaged. */
export async function openIso9660(image: ImageFile): Promise<DiscReader | undefined> {
  const descriptor = await findDescriptor(image)
  if (descriptor === undefined) return undefined
  const { bytes, joliet } = descriptor
  const blockSize = bytes.readUInt16LE(128)
  if (![512, 1024, SECTOR].includes(blockSize)) throw damaged(image.path, `its blocks have ${blockSize} bytes`)
  const volume = { image, blockSize, joliet }
  const root = extentOf(volume, bytes.subarray(156, 190))
  const rootEntry: Entry = { name: '', folder: true, size: root.size, extents: [root] }
  return {
    fileSystem: 'iso9660',
    label: decode(bytes.subarray(40, 72), joliet).trimEnd(),
    async find(path) {
      const entry = await walk(volume, rootEntry, namesOf(path))
      return entry === undefined || entry.folder ? undefined : { size: entry.size, extents: entry.extents }
    },
    async list(path) {
      const entry = await walk(volume, rootEntry, namesOf(path))
      return entry?.folder ? readFolder(volume, entry) : undefined
    }
  }
}

/** The Joliet descriptor, else the primary one. */
async function findDescriptor(image: ImageFile): Promise<{ bytes: Buffer; joliet: boolean } | undefined> {
  let primary: Buffer | undefined
  for (let at = FIRST_DESCRIPTOR; at < FIRST_DESCRIPTOR + MOST_DESCRIPTORS; at += 1) {
    if ((at + 1) * SECTOR > image.size) break
    const bytes = await image.read(at * SECTOR, SECTOR)
    if (bytes.toString('latin1', 1, 6) !== 'CD001') break
    const type = bytes.readUInt8(0)
    if (type === 255) break
    if (type === 1) primary ??= bytes
    // The escape sequences of UCS-2 levels 1 to 3.
    if (type === 2 && /^%\/[@CE]/.test(bytes.toString('latin1', 88, 91))) return { bytes, joliet: true }
  }
  return primary === undefined ? undefined : { bytes: primary, joliet: false }
}

async function walk(volume: Volume, root: Entry, names: readonly string[]): Promise<Entry | undefined> {
  let entry = root
  for (const name of names) {
    if (!entry.folder) return undefined
    const found = (await readFolder(volume, entry)).find(child => sameName(child.name, name))
    if (found === undefined) return undefined
    entry = found
  }
  return entry
}

/** The directory records of a folder, without itself and its parent. */
async function readFolder(volume: Volume, folder: DiscFile): Promise<Entry[]> {
  const { image } = volume
  if (folder.size > LARGEST_FOLDER) throw damaged(image.path, 'it has a folder without end')
  const bytes = await readFrom(image, folder, 0, folder.size)
  const entries: Entry[] = []
  let unfinished: Entry | undefined
  let at = 0
  while (at < bytes.length) {
    const length = bytes.readUInt8(at)
    if (length === 0) {
      // A record does not cross a sector's end; the rest of the sector is zeros.
      at = (Math.floor(at / SECTOR) + 1) * SECTOR
      continue
    }
    if (length < 34 || at + length > bytes.length || 33 + bytes.readUInt8(at + 32) > length) {
      throw damaged(image.path, 'a folder on it has a wrong entry')
    }
    const record = bytes.subarray(at, at + length)
    at += length
    const name = nameOf(volume, record)
    if (name === undefined) continue
    const extent = extentOf(volume, record)
    const flags = record.readUInt8(25)
    const entry: Entry = unfinished ?? { name, folder: (flags & 0b10) !== 0, size: 0, extents: [] }
    entry.size += extent.size
    entry.extents.push(extent)
    // Bit 7: another extent of the same file follows.
    unfinished = (flags & 0x80) === 0 ? undefined : entry
    if (unfinished === undefined) entries.push(entry)
  }
  return entries
}

function extentOf({ image, blockSize }: Volume, record: Buffer): { offset: number; size: number } {
  // Extended attributes, if any, come first.
  const offset = (record.readUInt32LE(2) + record.readUInt8(1)) * blockSize
  const size = record.readUInt32LE(10)
  if (record.readUInt8(26) !== 0) throw damaged(image.path, 'a file on it is interleaved')
  return { offset, size }
}

/** Undefined for the folder itself and its parent, which are called 0 and 1. */
function nameOf({ joliet }: Volume, record: Buffer): string | undefined {
  const bytes = record.subarray(33, 33 + record.readUInt8(32))
  if (bytes.length === 1 && (bytes[0] === 0 || bytes[0] === 1)) return undefined
  return decode(bytes, joliet).replace(/;\d+$/, '').replace(/\.$/, '')
}

function decode(bytes: Buffer, joliet: boolean): string {
  if (!joliet) return bytes.toString('latin1')
  // Big-endian, which Node cannot read.
  return Buffer.from(bytes.subarray(0, bytes.length & ~1))
    .swap16()
    .toString('utf16le')
}
