import type { ImageFile } from './image-file.ts'

// "El Torito" Bootable CD-ROM Format Specification 1.0, and UEFI 2.10, 13.3.2.1.

const SECTOR = 2048
const ENTRY = 32
const EFI = 0xef
const BOOTABLE = 0x88
/** Header of a section with more to follow, and of the last. */
const SECTION = [0x90, 0x91]

/** The image that UEFI firmware starts from a disc. */
export interface EfiBootEntry {
  /** Where the entry itself is in the image. */
  entryOffset: number
  /** Where its boot image begins. */
  imageOffset: number
  /** How many sectors of 512 bytes it has; 0 and 1 stand for "as far as it goes". */
  sectors: number
}

/** The entry for UEFI firmware in a disc's boot catalogue; undefined when there is none that can be read. */
export async function readEfiBootEntry(image: ImageFile): Promise<EfiBootEntry | undefined> {
  // The boot record is always the second volume descriptor.
  if (image.size < 18 * SECTOR) return undefined
  const record = await image.read(17 * SECTOR, SECTOR)
  if (record.readUInt8(0) !== 0 || record.toString('latin1', 1, 6) !== 'CD001') return undefined
  if (!record.toString('latin1', 7, 39).startsWith('EL TORITO SPECIFICATION')) return undefined
  const catalogOffset = record.readUInt32LE(71) * SECTOR
  if (catalogOffset + SECTOR > image.size) return undefined
  const catalog = await image.read(catalogOffset, SECTOR)
  if (!isValid(catalog.subarray(0, ENTRY))) return undefined
  const at = findEfiEntry(catalog)
  if (at === undefined) return undefined
  return {
    entryOffset: catalogOffset + at,
    imageOffset: catalog.readUInt32LE(at + 8) * SECTOR,
    sectors: catalog.readUInt16LE(at + 6)
  }
}

function findEfiEntry(catalog: Buffer): number | undefined {
  if (catalog.readUInt8(1) === EFI && catalog.readUInt8(ENTRY) === BOOTABLE) return ENTRY
  let at = 2 * ENTRY
  while (at + ENTRY <= catalog.length && SECTION.includes(catalog.readUInt8(at))) {
    const entries = catalog.readUInt16LE(at + 2)
    if (catalog.readUInt8(at + 1) === EFI) {
      for (
        let entry = at + ENTRY;
        entry < at + ENTRY * (entries + 1) && entry + ENTRY <= catalog.length;
        entry += ENTRY
      ) {
        if (catalog.readUInt8(entry) === BOOTABLE) return entry
      }
    }
    at += ENTRY * (entries + 1)
  }
  return undefined
}

/** The validation entry: its 16-bit words add up to 0. */
function isValid(entry: Buffer): boolean {
  let sum = 0
  for (let at = 0; at < ENTRY; at += 2) sum += entry.readUInt16LE(at)
  return (sum & 0xffff) === 0 && entry.readUInt8(0) === 1 && entry.readUInt16LE(30) === 0xaa55
}

/** What to write at `entryOffset` + 6 so that the entry leads to another boot image: sectors, then where it begins. */
export function efiBootEntryFor(entry: EfiBootEntry, boot: { offset: number; size: number }): Buffer | undefined {
  const sectors = entry.sectors < 2 ? entry.sectors : Math.ceil(boot.size / 512)
  if (boot.offset % SECTOR !== 0 || sectors > 0xffff) return undefined
  const bytes = Buffer.alloc(6)
  bytes.writeUInt16LE(sectors, 0)
  bytes.writeUInt32LE(boot.offset / SECTOR, 2)
  return bytes
}
