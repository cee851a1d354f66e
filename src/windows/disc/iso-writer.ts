import { type FileHandle, open } from 'node:fs/promises'
import { replaceFile } from '#lib/atomic-file.ts'
import { Fault, messageOf } from '#lib/fault.ts'
import type { DiscFile } from './disc-file.ts'
import { discTree, type FileEntry, type FolderEntry } from './iso-tree.ts'

// The format is ECMA-119 (ISO 9660) with a second tree of long names as in Microsoft's Joliet specification; numbers in
// comments below are sections of ECMA-119.

const SECTOR = 2048
const PIECE = 1024 * 1024
const FIRST_DESCRIPTOR = 16
const AFTER_DESCRIPTORS = 19
// A path table names a folder's parent by 16 bits.
const FOLDERS = 65_535
// One moment for every disc, so that the same files give the same bytes: 2020-01-01, UTC.
const RECORD_TIME = Buffer.from([120, 1, 1, 0, 0, 0, 0])
const VOLUME_TIME = Buffer.from('2020010100000000\0', 'latin1')
const NO_TIME = Buffer.from('0000000000000000\0', 'latin1')

/** How one of the two trees writes its names. */
interface Naming {
  descriptor: 1 | 2
  /** Padded to `bytes` with blanks. */
  text(value: string, bytes: number): Buffer
  identifier(entry: FileEntry | FolderEntry): Buffer
  /** Records and path tables are sorted by the bytes of this. */
  sortKey(entry: FileEntry | FolderEntry): Buffer
}

const PRIMARY: Naming = {
  descriptor: 1,
  text: (value, bytes) => Buffer.from(value.padEnd(bytes), 'latin1'),
  identifier: entry => {
    if ('folders' in entry) return Buffer.from(entry.shortName, 'latin1')
    return Buffer.from(`${entry.shortName}${entry.shortName.includes('.') ? '' : '.'};1`, 'latin1')
  },
  // 9.3: name and extension are compared one after the other, each padded with blanks.
  sortKey: entry => {
    const [base = '', extension = ''] = entry.shortName.split('.')
    return Buffer.from(base.padEnd(8) + extension.padEnd(3), 'latin1')
  }
}

const JOLIET: Naming = {
  descriptor: 2,
  text: (value, bytes) => utf16(value.padEnd(bytes / 2)),
  identifier: entry => utf16('folders' in entry ? entry.name : `${entry.name};1`),
  sortKey: entry => utf16(entry.name)
}

/** One tree with everything at its place. */
interface Tree {
  naming: Naming
  root: FolderEntry
  /** In the order of the path table (6.9.1); a folder's number there is its index plus one. */
  folders: FolderEntry[]
  numbers: Map<FolderEntry, number>
  extents: Map<FolderEntry, Extent>
  pathTableBytes: number
  /** Sectors of the path table with the least significant byte first, and of the other. */
  little: number
  big: number
}

interface Extent {
  sector: number
  bytes: number
}

/**
 * Writes a disc: ISO 9660 with 8.3 names, and Joliet with the names as they are. It keeps within level 1 of interchange,
 * and so within level 3. The same label, paths and contents give the same bytes. The file gets the mode 0600 and appears
 * under its name only when it is whole.
 * Fault for names that cannot be on a disc (see `discTree`) and for files that cannot be read or written.
 */
export async function writeDisc(
  target: string,
  disc: { label: string; files: readonly DiscFile[] }
): Promise<{ size: number }> {
  // Sixteen, as that is what Joliet's descriptor has room for.
  if (!/^[A-Z0-9_]{1,16}$/.test(disc.label))
    throw new Fault(`${JSON.stringify(disc.label)} cannot be the label of a disc.`)
  const root = await discTree(disc.files)

  let next = AFTER_DESCRIPTORS
  const take = (bytes: number) => {
    const sector = next
    next += sectorsOf(bytes)
    return sector
  }
  const trees = [PRIMARY, JOLIET].map(naming => layOut(root, naming, take))
  const firstFile = next
  const files = allFiles(root)
  const extents = new Map<FileEntry, Extent>()
  for (const file of files) {
    // An empty file has no sector, but its record must still name one of the disc.
    extents.set(file, { sector: file.bytes === 0 ? firstFile : take(file.bytes), bytes: file.bytes })
  }
  // Without this, a disc of empty files would end before the sector that their records name.
  if (next === firstFile) take(SECTOR)

  const head = Buffer.alloc(firstFile * SECTOR)
  for (const [index, tree] of trees.entries()) {
    volumeDescriptor(tree, disc.label, next).copy(head, (FIRST_DESCRIPTOR + index) * SECTOR)
    pathTable(tree, 'little').copy(head, tree.little * SECTOR)
    pathTable(tree, 'big').copy(head, tree.big * SECTOR)
    for (const folder of tree.folders) {
      folderContent(folder, tree, extents).copy(head, extentOf(tree.extents, folder).sector * SECTOR)
    }
  }
  descriptorHead(255).copy(head, (AFTER_DESCRIPTORS - 1) * SECTOR)

  try {
    await replaceFile(target, async output => {
      await output.writeFile(head)
      for (const file of files) await writeContent(output, file)
      await output.truncate(next * SECTOR)
    })
  } catch (error) {
    if (error instanceof Fault) throw error
    throw new Fault(`cannot write the disc ${target}: ${messageOf(error)}`, { cause: error })
  }
  return { size: next * SECTOR }
}

/** Every file, a folder's own first; the order of their contents on the disc. */
function allFiles(folder: FolderEntry): FileEntry[] {
  return [...folder.files, ...folder.folders.flatMap(allFiles)]
}

function layOut(root: FolderEntry, naming: Naming, take: (bytes: number) => number): Tree {
  const folders = [root]
  // Grows while it is walked: each level after the one above it, by parent, then by name.
  for (const folder of folders) folders.push(...sorted(folder.folders, naming))
  if (folders.length > FOLDERS) throw new Fault(`a disc cannot hold more than ${FOLDERS} folders.`)
  const tree: Tree = {
    naming,
    root,
    folders,
    numbers: new Map(folders.map((folder, index) => [folder, index + 1])),
    extents: new Map(),
    pathTableBytes: 0,
    little: 0,
    big: 0
  }
  tree.pathTableBytes = pathTable(tree, 'little').length
  tree.little = take(tree.pathTableBytes)
  tree.big = take(tree.pathTableBytes)
  // The size of a folder does not depend on where things are, so it is made once without that to be measured.
  for (const folder of folders) {
    const bytes = folderContent(folder, tree, new Map()).length
    tree.extents.set(folder, { sector: take(bytes), bytes })
  }
  return tree
}

/** 9.1: the records of a folder, in whole sectors. No record lies across the border of two (6.8.1.1). */
function folderContent(folder: FolderEntry, tree: Tree, files: Map<FileEntry, Extent>): Buffer {
  const records = [
    directoryRecord(Buffer.from([0]), extentOf(tree.extents, folder), true),
    directoryRecord(Buffer.from([1]), extentOf(tree.extents, folder.parent ?? folder), true)
  ]
  for (const entry of sorted<FileEntry | FolderEntry>([...folder.folders, ...folder.files], tree.naming)) {
    const isFolder = 'folders' in entry
    const extent = isFolder ? extentOf(tree.extents, entry) : extentOf(files, entry)
    records.push(directoryRecord(tree.naming.identifier(entry), extent, isFolder))
  }
  const parts: Buffer[] = []
  let bytes = 0
  const pad = (wanted: number) => {
    parts.push(Buffer.alloc(wanted))
    bytes += wanted
  }
  for (const record of records) {
    const room = SECTOR - (bytes % SECTOR)
    if (record.length > room) pad(room)
    parts.push(record)
    bytes += record.length
  }
  pad((SECTOR - (bytes % SECTOR)) % SECTOR)
  return Buffer.concat(parts)
}

/** 9.1 */
function directoryRecord(identifier: Buffer, extent: Extent, isFolder: boolean): Buffer {
  const record = Buffer.alloc((33 + identifier.length + 1) & ~1)
  record[0] = record.length
  bothEndian32(record, 2, extent.sector)
  bothEndian32(record, 10, extent.bytes)
  RECORD_TIME.copy(record, 18)
  record[25] = isFolder ? 2 : 0
  bothEndian16(record, 28, 1)
  record[32] = identifier.length
  identifier.copy(record, 33)
  return record
}

/** 9.4 */
function pathTable(tree: Tree, order: 'little' | 'big'): Buffer {
  return Buffer.concat(
    tree.folders.map(folder => {
      const identifier = folder.parent === undefined ? Buffer.from([0]) : tree.naming.identifier(folder)
      const record = Buffer.alloc((8 + identifier.length + 1) & ~1)
      const { sector } = extentOf(tree.extents, folder)
      const parent = tree.numbers.get(folder.parent ?? folder) ?? 1
      record[0] = identifier.length
      if (order === 'little') {
        record.writeUInt32LE(sector, 2)
        record.writeUInt16LE(parent, 6)
      } else {
        record.writeUInt32BE(sector, 2)
        record.writeUInt16BE(parent, 6)
      }
      identifier.copy(record, 8)
      return record
    })
  )
}

/** 8.4 and 8.5 */
function volumeDescriptor(tree: Tree, label: string, sectors: number): Buffer {
  const { naming, root } = tree
  const descriptor = descriptorHead(naming.descriptor)
  naming.text('', 32).copy(descriptor, 8)
  naming.text(label, 32).copy(descriptor, 40)
  bothEndian32(descriptor, 80, sectors)
  // Joliet: the escape sequence of UCS-2, level 3.
  if (naming.descriptor === 2) descriptor.write('%/E', 88, 'latin1')
  bothEndian16(descriptor, 120, 1)
  bothEndian16(descriptor, 124, 1)
  bothEndian16(descriptor, 128, SECTOR)
  bothEndian32(descriptor, 132, tree.pathTableBytes)
  descriptor.writeUInt32LE(tree.little, 140)
  descriptor.writeUInt32BE(tree.big, 148)
  directoryRecord(Buffer.from([0]), extentOf(tree.extents, root), true).copy(descriptor, 156)
  // Set, publisher, preparer and application; then copyright, abstract and bibliography.
  for (const [field, value] of ['', '', '', 'ORIEL'].entries())
    naming.text(value, 128).copy(descriptor, 190 + field * 128)
  for (const at of [702, 739, 776]) naming.text('', 36).copy(descriptor, at)
  // These three have 37 bytes, which is no even number of UCS-2 characters.
  for (const at of [738, 775, 812]) descriptor[at] = naming.descriptor === 1 ? 0x20 : 0
  VOLUME_TIME.copy(descriptor, 813)
  VOLUME_TIME.copy(descriptor, 830)
  NO_TIME.copy(descriptor, 847)
  NO_TIME.copy(descriptor, 864)
  descriptor[881] = 1
  return descriptor
}

/** 8.1 */
function descriptorHead(type: 1 | 2 | 255): Buffer {
  const descriptor = Buffer.alloc(SECTOR)
  descriptor[0] = type
  descriptor.write('CD001', 1, 'latin1')
  descriptor[6] = 1
  return descriptor
}

/** Writes a file and fills its last sector. */
async function writeContent(output: FileHandle, file: FileEntry): Promise<void> {
  const { content, bytes } = file
  if (Buffer.isBuffer(content)) await output.writeFile(content)
  else await copyFile(output, content.file, bytes)
  await output.writeFile(Buffer.alloc(sectorsOf(bytes) * SECTOR - bytes))
}

async function copyFile(output: FileHandle, source: string, bytes: number): Promise<void> {
  const changed = () => new Fault(`${source} changed while it was being put on a disc.`, { hint: 'Try again.' })
  const input = await open(source, 'r').catch(error => {
    throw new Fault(`cannot read ${source}, which is to go on a disc: ${messageOf(error)}`, { exitCode: 4 })
  })
  try {
    const piece = Buffer.allocUnsafe(Math.min(PIECE, bytes + 1))
    let left = bytes
    for (;;) {
      const { bytesRead } = await input.read(piece, 0, piece.length)
      if (bytesRead === 0) break
      if (bytesRead > left) throw changed()
      await output.writeFile(piece.subarray(0, bytesRead))
      left -= bytesRead
    }
    if (left > 0) throw changed()
  } finally {
    await input.close()
  }
}

function sorted<T extends FileEntry | FolderEntry>(entries: readonly T[], naming: Naming): T[] {
  return entries
    .map(entry => ({ entry, key: naming.sortKey(entry) }))
    .sort((a, b) => Buffer.compare(a.key, b.key))
    .map(({ entry }) => entry)
}

/** Nowhere, as long as the sizes are still being measured. */
function extentOf<T>(extents: Map<T, Extent>, entry: T): Extent {
  return extents.get(entry) ?? { sector: 0, bytes: 0 }
}

function sectorsOf(bytes: number): number {
  return Math.ceil(bytes / SECTOR)
}

function utf16(text: string): Buffer {
  return Buffer.from(text, 'utf16le').swap16()
}

function bothEndian16(buffer: Buffer, at: number, value: number): void {
  buffer.writeUInt16LE(value, at)
  buffer.writeUInt16BE(value, at + 2)
}

function bothEndian32(buffer: Buffer, at: number, value: number): void {
  buffer.writeUInt32LE(value, at)
  buffer.writeUInt32BE(value, at + 4)
}
