import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, expect, test } from 'vitest'
import { type HiveKey, readHive, readHiveFacts } from '#image/hive/regf.ts'
import { Fault } from '#lib/fault.ts'
import { runOk } from '../../../support/command.ts'
import { layered, makeHive, markKey, markTombstone } from '../../../support/hive.ts'
import { temporaryHome } from '../../../support/home.ts'
import { Random } from '../../../support/random.ts'

const LONG = Buffer.from(Array.from({ length: 40_000 }, (_, index) => (index * 7) & 0xff))

function utf16(text: string): Buffer {
  return Buffer.from(`${text}\0`, 'utf16le')
}

function hex(bytes: Buffer): string {
  return bytes.toString('hex').replace(/..(?=.)/g, '$&,')
}

/** Key by path; undefined when there is none. */
function at(root: HiveKey, path: string): HiveKey | undefined {
  let key: HiveKey | undefined = root
  for (const name of path.split('\\')) key = key?.keys.find(child => child.name === name)
  return key
}

const COMMANDS = [
  'add Kinds',
  'cd \\Kinds',
  'setval 8',
  '@',
  'string:the default',
  'narrow',
  'string:two words',
  'expand',
  'expandstring:%SystemRoot%\\x',
  'number',
  'dword:0xdeadbeef',
  'none',
  'hex:0:01,02',
  'many',
  `hex:7:${hex(Buffer.concat([utf16('a'), utf16('b'), Buffer.alloc(2)]))}`,
  'large',
  'hex:11:01,02,03,04,05,06,07,08',
  'odd',
  'hex:12345:ff',
  'cd \\ ',
  'add Long',
  'cd \\Long',
  'setval 1',
  'bytes',
  `hex:3:${hex(LONG.subarray(0, 200))}`,
  'cd \\ ',
  'add Gone',
  'add Fresh',
  'cd \\Fresh',
  'add Below',
  'cd \\ ',
  'add Local',
  'cd \\Local',
  'setval 1',
  'out',
  'string:x'
]

let hive: Buffer
let full: Buffer
beforeAll(async () => {
  hive = await makeHive(COMMANDS)
  // So many keys that hivexsh has to make a list of lists.
  full = await makeHive(Array.from({ length: 1500 }, (_, index) => `add Key${index}`))
})

test('reads every type of value as hivexsh wrote it', () => {
  const values = Object.fromEntries(at(readHive(hive), 'Kinds')?.values.map(value => [value.name, value]) ?? [])
  expect(Object.keys(values)).toHaveLength(8)
  expect(values['']).toEqual({ name: '', type: 1, data: utf16('the default'), tombstone: false })
  expect(values.narrow).toMatchObject({ type: 1, data: utf16('two words') })
  expect(values.expand).toMatchObject({ type: 2, data: utf16('%SystemRoot%\\x') })
  expect(values.number).toMatchObject({ type: 4, data: Buffer.from('efbeadde', 'hex') })
  expect(values.none).toMatchObject({ type: 0, data: Buffer.from([1, 2]) })
  expect(values.many).toMatchObject({ type: 7 })
  expect(values.large).toMatchObject({ type: 11, data: Buffer.from([1, 2, 3, 4, 5, 6, 7, 8]) })
  expect(values.odd).toMatchObject({ type: 12345, data: Buffer.from([0xff]) })
  expect(at(readHive(hive), 'Long')?.values[0]?.data.equals(LONG.subarray(0, 200))).toBe(true)
})

test('finds all that hivexml finds', async () => {
  const home = temporaryHome()
  try {
    const file = join(home.root, 'hive')
    writeFileSync(file, hive)
    const stdout = await runOk('sh', ['-c', 'hivexml "$1" | cat', 'sh', file])
    const keys = [...stdout.matchAll(/<node name="([^"]*)"/g)].map(match => match[1])
    expect(namesOf(readHive(hive)).sort()).toEqual(keys.slice(1).sort())
    expect(stdout.match(/<value /g)).toHaveLength(countValues(readHive(hive)))
  } finally {
    home.remove()
  }
})

function namesOf(key: HiveKey): string[] {
  return key.keys.flatMap(child => [child.name, ...namesOf(child)])
}

function countValues(key: HiveKey): number {
  return key.values.length + key.keys.reduce((sum, child) => sum + countValues(child), 0)
}

test('reads a list of lists of keys', () => {
  expect(new Set(readHive(full).keys.map(key => key.name)).size).toBe(1500)
})

test('a value in segments is put together', () => {
  const patched = Buffer.concat([hive, segments()])
  patched.writeUInt32LE(patched.length - 4096, 40)
  const value = [...offsets(patched, 'vk')].find(
    offset => patched.toString('latin1', offset + 20, offset + 25) === 'bytes'
  )
  patched.writeUInt32LE(LONG.length, (value ?? 0) + 4)
  patched.writeUInt32LE(hive.length - 4096 + 32, (value ?? 0) + 8)
  expect(longValue(patched)?.equals(LONG)).toBe(true)
})

function longValue(bytes: Buffer): Buffer | undefined {
  return at(readHive(bytes), 'Long')?.values[0]?.data
}

/** A bin with a "db" cell, its list and three segments. */
function segments(): Buffer {
  const base = hive.length - 4096
  const cells = [Buffer.alloc(16), Buffer.alloc(16), ...[0, 1, 2].map(() => Buffer.alloc(16_352))]
  const bin = Buffer.alloc(4096 * 13)
  bin.write('hbin', 0, 'latin1')
  bin.writeUInt32LE(base, 4)
  bin.writeUInt32LE(bin.length, 8)
  const starts: number[] = []
  let at = 32
  for (const cell of cells) {
    starts.push(at)
    bin.writeInt32LE(-cell.length, at)
    at += cell.length
  }
  bin.writeInt32LE(bin.length - at, at)
  const [db = 0, list = 0, ...pieces] = starts
  bin.write('db', db + 4, 'latin1')
  bin.writeUInt16LE(3, db + 6)
  bin.writeUInt32LE(base + list, db + 8)
  for (const [index, piece] of pieces.entries()) {
    bin.writeUInt32LE(base + piece, list + 4 + 4 * index)
    LONG.copy(bin, piece + 4, index * 16_344, (index + 1) * 16_344)
  }
  return bin
}

function* offsets(bytes: Buffer, signature: string): Generator<number> {
  for (let at = bytes.indexOf(signature); at >= 0; at = bytes.indexOf(signature, at + 1)) yield at
}

test('a wide name is a name', async () => {
  const wide = Buffer.from(await makeHive(['add Plain']))
  const at = [...offsets(wide, 'nk')].find(offset => wide.toString('latin1', offset + 76, offset + 81) === 'Plain') ?? 0
  wide.writeUInt16LE(wide.readUInt16LE(at + 2) & ~0x20, at + 2)
  wide.writeUInt16LE(4, at + 72)
  wide.write('é日', at + 76, 'utf16le')
  expect(readHive(wide).keys[0]?.name).toBe('é日')
})

test('layered keys and tombstones count only in a hive that has them', () => {
  const marked = Buffer.from(hive)
  markKey(marked, 'Gone', 1)
  markKey(marked, 'Local', 2)
  markKey(marked, 'Fresh', 3)
  markTombstone(marked, 'out')
  expect(readHive(marked).keys.map(key => key.layer)).toEqual(['merge', 'merge', 'merge', 'merge', 'merge'])
  const root = readHive(layered(marked))
  expect(at(root, 'Gone')?.layer).toBe('tombstone')
  expect(at(root, 'Local')?.layer).toBe('supersede-local')
  expect(at(root, 'Fresh')?.layer).toBe('supersede-tree')
  expect(at(root, 'Kinds')?.layer).toBe('merge')
  expect(at(root, 'Local')?.values).toEqual([{ name: 'out', type: 0, data: Buffer.alloc(0), tombstone: true }])
  expect(readHiveFacts(marked)).toEqual({ dirty: false, layered: true })
})

test('a hive that was not closed is read, and says so', () => {
  const dirty = Buffer.from(hive)
  dirty.writeUInt32LE(dirty.readUInt32LE(4) + 1, 4)
  expect(readHiveFacts(dirty).dirty).toBe(true)
  expect(readHive(dirty).keys).toHaveLength(5)
})

test.each([
  ['an empty file', Buffer.alloc(0)],
  ['text', Buffer.from('regf'.repeat(1000))],
  ['zeros', Buffer.alloc(10_000)]
])('%s is refused', (_, bytes) => {
  expect(() => readHive(bytes)).toThrow(Fault)
})

test('a ring of keys is refused', () => {
  const ring = Buffer.from(hive)
  const root = 4096 + 0x20 + 4
  const below =
    [...offsets(ring, 'nk')].find(offset => ring.toString('latin1', offset + 76, offset + 81) === 'Fresh') ?? 0
  ring.writeUInt32LE(ring.readUInt32LE(root + 28), below + 28)
  ring.writeUInt32LE(1, below + 20)
  expect(() => readHive(ring)).toThrow(/met twice/)
})

test('values that share their bytes cannot make a small file large', () => {
  const shared = Buffer.from(hive)
  const key = (name: string) =>
    [...offsets(shared, 'nk')].find(at => shared.toString('latin1', at + 76, at + 76 + name.length) === name) ?? 0
  // One list of values as long as the cell allows, all of them the same large one.
  const value = [...offsets(shared, 'vk')].find(at => shared.toString('latin1', at + 20, at + 25) === 'bytes') ?? 0
  const list = 4096 + shared.readUInt32LE(value + 8) + 4
  const room = -shared.readInt32LE(list - 4) - 4
  const count = Math.floor(room / 4)
  const target = value - 4096 - 4
  for (let index = 0; index < count; index++) shared.writeUInt32LE(target, list + 4 * index)
  shared.writeUInt32LE(count, key('Long') + 36)
  shared.writeUInt32LE(list - 4 - 4096, key('Long') + 40)
  shared.writeUInt32LE(4000, value + 4)
  expect(() => readHive(shared)).toThrow(/longer than the file|impossible size/)
})

test('cut off anywhere, it is a Fault or a hive', () => {
  for (let length = 0; length < hive.length; length += 61) expectFaultOrHive(hive.subarray(0, length))
})

test('with any bytes changed, it is a Fault or a hive', () => {
  const random = new Random(20260823)
  for (let round = 0; round < 3000; round++) {
    const bytes = Buffer.from(hive.subarray(0, 12_288 + 4096))
    for (let change = 0; change <= random.below(6); change++) {
      const at = random.chance(30) ? 4096 + random.below(0x400) : random.below(bytes.length)
      bytes[at] = random.chance(30) ? random.pick([0, 0xff, 0x7f, 0x80]) : random.below(256)
    }
    expectFaultOrHive(bytes)
  }
})

function expectFaultOrHive(bytes: Buffer): void {
  try {
    readHive(bytes)
  } catch (error) {
    if (!(error instanceof Fault)) throw error
  }
}
