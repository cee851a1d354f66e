// Changes UDF descriptors (ECMA-167) in place and makes their tags right again, so that a test can tell that it is the
// content which is refused, and not the checksum.

const SECTOR = 2048

export const FILE_ENTRY = 261

/** Offsets of all sectors with a sound descriptor of this kind. */
export function descriptorsOf(disc: Buffer, kind: number): number[] {
  const found: number[] = []
  for (let at = 0; at + SECTOR <= disc.length; at += SECTOR) {
    if (disc.readUInt16LE(at) === kind && checksum(disc, at) === disc.readUInt8(at + 4)) found.push(at)
  }
  return found
}

/** The file entry of the file with this size. */
export function fileEntryOf(disc: Buffer, size: number): number {
  const [entry] = descriptorsOf(disc, FILE_ENTRY).filter(at => disc.readBigUInt64LE(at + 56) === BigInt(size))
  if (entry === undefined) throw new Error(`no file entry tells of ${size} bytes`)
  return entry
}

/** Makes CRC and checksum of a changed descriptor right. `covered` bytes after the tag are in the CRC. */
export function retag(disc: Buffer, at: number, covered = disc.readUInt16LE(at + 10)): void {
  disc.writeUInt16LE(covered, at + 10)
  let crc = 0
  for (const byte of disc.subarray(at + 16, at + 16 + covered)) {
    crc ^= byte << 8
    for (let bit = 0; bit < 8; bit += 1) crc = (crc & 0x8000 ? (crc << 1) ^ 0x1021 : crc << 1) & 0xffff
  }
  disc.writeUInt16LE(crc, at + 8)
  disc.writeUInt8(checksum(disc, at), at + 4)
}

function checksum(disc: Buffer, at: number): number {
  let sum = 0
  for (let byte = 0; byte < 16; byte += 1) if (byte !== 4) sum += disc.readUInt8(at + byte)
  return sum & 0xff
}
