import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { runOk } from './command.ts'

const BINS = 4096

/** An empty hive, for hivexsh to fill: it cannot make one. */
function emptyHive(): Buffer {
  const hive = Buffer.alloc(BINS * 2)
  hive.write('regf', 0, 'latin1')
  hive.writeUInt32LE(1, 4)
  hive.writeUInt32LE(1, 8)
  hive.writeUInt32LE(1, 20)
  hive.writeUInt32LE(5, 24)
  hive.writeUInt32LE(1, 32)
  hive.writeUInt32LE(0x20, 36)
  hive.writeUInt32LE(BINS, 40)
  hive.writeUInt32LE(1, 44)
  hive.write('hbin', BINS, 'latin1')
  hive.writeUInt32LE(BINS, BINS + 8)
  const root = BINS + 0x20
  const security = 0x80
  hive.writeInt32LE(-0x60, root)
  hive.write('nk', root + 4, 'latin1')
  hive.writeUInt16LE(0x2c, root + 6)
  hive.writeUInt32LE(0xffffffff, root + 4 + 28)
  hive.writeUInt32LE(0xffffffff, root + 4 + 32)
  hive.writeUInt32LE(0xffffffff, root + 4 + 40)
  hive.writeUInt32LE(security, root + 4 + 44)
  hive.writeUInt32LE(0xffffffff, root + 4 + 48)
  hive.writeUInt16LE(4, root + 4 + 72)
  hive.write('ROOT', root + 4 + 76, 'latin1')
  const sk = BINS + security
  hive.writeInt32LE(-0x30, sk)
  hive.write('sk', sk + 4, 'latin1')
  hive.writeUInt32LE(security, sk + 8)
  hive.writeUInt32LE(security, sk + 12)
  hive.writeUInt32LE(1, sk + 16)
  hive.writeUInt32LE(20, sk + 20)
  hive.writeUInt16LE(1, sk + 24)
  hive.writeUInt16LE(0x8000, sk + 26)
  hive.writeInt32LE(BINS - 0xb0, BINS + 0xb0)
  return seal(hive)
}

/** Sets the checksum of the base block. */
function seal(hive: Buffer): Buffer {
  let sum = 0
  for (let at = 0; at < 508; at += 4) sum ^= hive.readUInt32LE(at)
  hive.writeUInt32LE(sum >>> 0, 508)
  return hive
}

/** A hive that hivexsh (Debian: libhivex-bin) has made with these commands. */
export async function makeHive(commands: readonly string[]): Promise<Buffer> {
  const folder = mkdtempSync(join(tmpdir(), 'oriel-hive-'))
  try {
    const file = join(folder, 'hive')
    const script = join(folder, 'script')
    writeFileSync(file, emptyHive())
    writeFileSync(script, `${[...commands, 'commit', ''].join('\n')}`)
    await runOk('hivexsh', ['-w', '-f', script, file])
    return readFileSync(file)
  } finally {
    rmSync(folder, { recursive: true })
  }
}

/** The offset of the cell of the key or value with this name. */
function cellOf(hive: Buffer, signature: 'nk' | 'vk', name: string): number {
  const nameAt = signature === 'nk' ? 76 : 20
  const lengthAt = signature === 'nk' ? 72 : 2
  for (let at = BINS; at < hive.length - nameAt; at += 4) {
    if (hive.toString('latin1', at, at + 2) !== signature) continue
    const length = hive.readUInt16LE(at + lengthAt)
    if (hive.toString('latin1', at + nameAt, at + nameAt + length) === name) return at
  }
  throw new Error(`the hive has no ${signature} "${name}"`)
}

/** Makes it a layer's hive, in which the flags of layered keys count. */
export function layered(hive: Buffer): Buffer {
  hive.writeUInt32LE(hive.readUInt32LE(144) | 2, 144)
  return seal(hive)
}

/** Sets how a key lies over those below: 0 merge, 1 tombstone, 2 supersede local, 3 supersede tree. */
export function markKey(hive: Buffer, name: string, layer: 0 | 1 | 2 | 3): void {
  hive[cellOf(hive, 'nk', name) + 13] = layer
}

/** Makes a value one that takes away its namesake below. */
export function markTombstone(hive: Buffer, name: string): void {
  const at = cellOf(hive, 'vk', name)
  hive.writeUInt32LE(0, at + 4)
  hive.writeUInt32LE(0xffffffff, at + 8)
  hive.writeUInt32LE(0, at + 12)
  hive.writeUInt16LE(hive.readUInt16LE(at + 16) | 2, at + 16)
}
