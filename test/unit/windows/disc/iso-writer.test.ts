import { execFileSync } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { mkdirSync, readdirSync, readFileSync, statSync, truncateSync, writeFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { Fault } from '#lib/fault.ts'
import type { DiscFile } from '#windows/disc/disc-file.ts'
import { writeDisc } from '#windows/disc/iso-writer.ts'

// Each test starts several programs.
vi.setConfig({ testTimeout: 60_000 })

let folder = ''
let disc = ''
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'oriel-iso-'))
  disc = join(folder, 'disc.iso')
})
afterEach(() => rm(folder, { recursive: true, force: true }))

const tool = (program: string, ...args: string[]) =>
  execFileSync(program, args, { encoding: 'utf8', cwd: folder, stdio: ['ignore', 'pipe', 'pipe'], maxBuffer: 2 ** 26 })

// Vitest takes seconds to compare large buffers.
const sumOf = (content: Buffer) => `${content.length} ${createHash('sha256').update(content).digest('hex')}`

/** Size and sum of each file that 7z takes out of the disc, by path. 7z prefers the Joliet tree. */
function extracted(): Record<string, string> {
  const out = join(folder, `out-${randomBytes(4).toString('hex')}`)
  tool('7z', 'x', '-y', `-o${out}`, disc)
  const found: Record<string, string> = {}
  for (const entry of readdirSync(out, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name)
    if (entry.isFile()) found[path.slice(out.length + 1)] = sumOf(readFileSync(path))
  }
  return found
}

function contentOf({ content }: DiscFile): Buffer {
  return typeof content === 'string' || Buffer.isBuffer(content) ? Buffer.from(content) : readFileSync(content.file)
}

async function written(files: DiscFile[]): Promise<Record<string, string>> {
  await writeDisc(disc, { label: 'ORIEL_TEST', files })
  return Object.fromEntries(files.map(file => [file.path, sumOf(contentOf(file))]))
}

/** The paths that xorriso finds: `norock` reads the Joliet tree, `nojoliet` the primary one. */
function found(tree: 'norock' | 'nojoliet'): string[] {
  return tool('xorriso', '-read_fs', tree, '-indev', disc, '-find', '/', '-exec', 'echo')
    .split('\n')
    .filter(line => line.startsWith("'/"))
    .map(line => line.slice(2, -1))
    .filter(path => path !== '')
    .sort()
}

/** Names in the Joliet tree as isoinfo lists them, which warns of records that it does not understand. */
function listed(...options: string[]): string {
  return tool('isoinfo', '-i', disc, ...options)
}

const source = (name: string, content: Buffer) => {
  const file = join(folder, name)
  writeFileSync(file, content)
  return { file }
}

test('other tools read the label, the names and the contents', async () => {
  const files: DiscFile[] = [
    { path: 'Autounattend.xml', content: '<unattend/>' },
    { path: 'oriel/setup.ps1', content: Buffer.from([0xef, 0xbb, 0xbf, 0x41]) },
    { path: 'oriel/docker.zip', content: source('engine', randomBytes(3_000_001)) },
    { path: 'oriel/provision/01-größe und mehr 窓.ps1', content: 'ü' },
    { path: 'oriel/empty', content: '' },
    { path: 'oriel/one-sector', content: source('sector', randomBytes(2048)) },
    { path: 'oriel/three-sectors', content: randomBytes(3 * 2048) },
    { path: 'oriel/one-more', content: randomBytes(2049) }
  ]
  const expected = await written(files)
  expect(extracted()).toEqual(expected)
  expect(listed('-d')).toMatch(/^Volume id: ORIEL_TEST$/m)
  expect(listed('-d')).toMatch(/Joliet with UCS level 3 found/)
  for (const name of ['Autounattend.xml', 'setup.ps1', 'three-sectors'])
    expect(listed('-J', '-l')).toContain(` ${name}`)
  expect(found('norock')).toEqual([...Object.keys(expected), 'oriel', 'oriel/provision'].sort())
  expect(tool('7z', 'l', '-slt', disc)).toMatch(/^Type = Iso$/m)
  expect(tool('7z', 't', disc)).toContain('Everything is Ok')
})

test('the size is that of the file and of the volume', async () => {
  const { size } = await writeDisc(disc, { label: 'A', files: [{ path: 'a', content: 'x' }] })
  expect(statSync(disc).size).toBe(size)
  expect(listed('-d')).toMatch(new RegExp(`Volume size is: ${size / 2048}$`, 'm'))
})

test('the primary tree has 8.3 names, each once in its folder', async () => {
  const files = [
    'Autounattend.xml',
    'long-name-one.ps1',
    'long-name-two.ps1',
    'long-name-three.ps1',
    'LONG_NAM.PS1',
    'long_na1.ps1',
    'größe.json',
    '.hidden',
    'no-extension',
    'a.b.c',
    'ssh_host_ed25519_key',
    'ssh_host_ed25519_key.pub',
    'folder.with.dots/x',
    'folder_with/y',
    ...Array.from({ length: 150 }, (_, n) => `many/collision-${n}.txt`)
  ]
  await written(files.map(path => ({ path, content: path })))
  const names = found('nojoliet')
  expect(names).toHaveLength(files.length + 3)
  expect(new Set(names).size).toBe(names.length)
  for (const name of names.flatMap(path => path.split('/'))) {
    expect(name).toMatch(/^[A-Z0-9_]{1,8}(\.[A-Z0-9_]{1,3})?$/)
  }
  expect(names).toContain('AUTOUNAT.XML')
  expect(names).toContain('SSH_HOST')
  expect(names.filter(name => name.startsWith('LONG'))).toEqual([
    'LONG_NA1.PS1',
    'LONG_NA2.PS1',
    'LONG_NA3.PS1',
    'LONG_NA4.PS1',
    'LONG_NAM.PS1'
  ])
  // The content behind a short name is that of the long one.
  expect(tool('isoinfo', '-i', disc, '-x', '/AUTOUNAT.XML;1')).toBe('Autounattend.xml')
})

test.each([1, 43, 44, 300, 1000])('a folder of %d files keeps its records within sectors', async count => {
  const files = Array.from({ length: count }, (_, n) => ({
    path: `folder/${'n'.repeat(n % 60)}${n}`,
    content: `${n}`
  }))
  const expected = await written(files)
  expect(found('norock')).toEqual([...Object.keys(expected), 'folder'].sort())
  expect(found('nojoliet')).toHaveLength(count + 1)
  expect(extracted()).toEqual(expected)
})

test('folders within folders, and many of them', async () => {
  const files: DiscFile[] = [{ path: 'a/b/c/d/e/f/g/deepest', content: 'x' }]
  for (let n = 0; n < 400; n += 1) files.push({ path: `wide/${n % 20}/folder number ${n}/file`, content: `${n}` })
  const expected = await written(files)
  expect(extracted()).toEqual(expected)
  expect(found('norock')).toHaveLength(401 + 7 + 1 + 20 + 400)
  // isoinfo walks both path tables' folders; an unsorted or broken table shows here.
  const table = listed('-p')
  expect(table).toMatch(/^\s*1:\s+1 /m)
  expect(table.match(/^\s*\d+:/gm)).toHaveLength(1 + 7 + 1 + 20 + 400)
})

test('both path tables list the same folders, by level, parent and name', async () => {
  await written(['z/a/x', 'z/B/x', 'b/q/x', 'b/c/x', 'b0/x'].map(path => ({ path, content: path })))
  const bytes = readFileSync(disc)
  for (const descriptor of [16, 17]) {
    const at = descriptor * 2048
    const length = bytes.readUInt32LE(at + 132)
    const read = (start: number, big: boolean) => {
      const records: { name: string; sector: number; parent: number }[] = []
      for (let p = start; p < start + length; ) {
        const size = bytes.readUInt8(p)
        const raw = Buffer.from(bytes.subarray(p + 8, p + 8 + size))
        records.push({
          name: descriptor === 17 && size > 1 ? raw.swap16().toString('utf16le') : raw.toString('latin1'),
          sector: big ? bytes.readUInt32BE(p + 2) : bytes.readUInt32LE(p + 2),
          parent: big ? bytes.readUInt16BE(p + 6) : bytes.readUInt16LE(p + 6)
        })
        p += 8 + size + (size % 2)
      }
      return records
    }
    const little = read(bytes.readUInt32LE(at + 140) * 2048, false)
    expect(read(bytes.readUInt32BE(at + 148) * 2048, true)).toEqual(little)
    expect(little.map(({ name, parent }) => [name.toLowerCase(), parent])).toEqual([
      ['\0', 1],
      ['b', 1],
      ['b0', 1],
      ['z', 1],
      ['c', 2],
      ['q', 2],
      ...(descriptor === 16
        ? [
            ['a', 4],
            ['b', 4]
          ]
        : // By code units, capitals come first.
          [
            ['b', 4],
            ['a', 4]
          ])
    ])
    for (const { sector } of little) {
      // Each points at a folder whose first record is itself.
      expect(bytes.readUInt32LE(sector * 2048 + 2)).toBe(sector)
    }
  }
})

test('only empty files, and no files at all', async () => {
  const expected = await written([
    { path: 'a', content: '' },
    { path: 'b/c', content: Buffer.alloc(0) }
  ])
  expect(extracted()).toEqual(expected)
  await writeDisc(disc, { label: 'NOTHING', files: [] })
  expect(found('norock')).toEqual([])
})

test('the same files in any order give the same bytes, whenever they are written', async () => {
  const files: DiscFile[] = [
    { path: 'b/two', content: 'two' },
    { path: 'a', content: source('a', Buffer.from('one')) },
    { path: 'b/long name two', content: '3' },
    { path: 'b/long name one', content: '4' }
  ]
  const sum = () => sumOf(readFileSync(disc))
  await writeDisc(disc, { label: 'SAME', files })
  const first = sum()
  await writeDisc(disc, { label: 'SAME', files: [...files].reverse() })
  expect(sum()).toBe(first)
  await writeDisc(disc, { label: 'OTHER', files })
  expect(sum()).not.toBe(first)
})

test('the disc is private, and replaces the one before as a whole', async () => {
  writeFileSync(disc, 'before', { mode: 0o644 })
  await expect(
    writeDisc(disc, { label: 'A', files: [{ path: 'a', content: { file: join(folder, 'none') } }] })
  ).rejects.toThrow(/cannot read .*none/)
  expect(readFileSync(disc, 'utf8')).toBe('before')
  await writeDisc(disc, { label: 'A', files: [] })
  expect(statSync(disc).mode & 0o777).toBe(0o600)
  expect(readdirSync(folder)).toEqual(['disc.iso'])
})

test.each<[string, string[]]>([
  ['a name beyond 64 characters', ['x'.repeat(65)]],
  ...[...'*:;?\\<>"|\n\0'].map(c => [`the character ${JSON.stringify(c)}`, [`a${c}b`]] as [string, string[]]),
  ['half a surrogate pair', ['a\ud800b']],
  ['a dot at the end', ['folder./x']],
  ['.', ['./x']],
  ['..', ['a/../x']],
  ['a path from the root', ['/x']],
  ['a folder without a name', ['a//b']],
  ['no path', ['']],
  ['nine levels', ['1/2/3/4/5/6/7/8/x']],
  ['a path twice', ['a', 'a']],
  ['names that differ only in case', ['a/Readme', 'a/README']],
  ['folders that differ only in case', ['a/x', 'A/y']],
  ['a file that is a folder as well', ['a', 'a/b']]
])('%s is refused', async (_, paths) => {
  const writing = writeDisc(disc, { label: 'A', files: paths.map(path => ({ path, content: '' })) })
  await expect(writing).rejects.toThrow(Fault)
  expect(readdirSync(folder)).toEqual([])
})

test('64 characters and seven folders are not too many', async () => {
  const expected = await written([{ path: `1/2/3/4/5/6/7/${'x'.repeat(64)}`, content: 'here' }])
  expect(extracted()).toEqual(expected)
})

test.each(['', 'lower', 'A'.repeat(17), 'A B', 'Ä'])('the label %j is refused', async label => {
  await expect(writeDisc(disc, { label, files: [] })).rejects.toThrow(/label/)
})

test('a file of 4 GiB is refused, a folder in place of a file as well', async () => {
  const large = join(folder, 'large')
  writeFileSync(large, '')
  truncateSync(large, 2 ** 32)
  await expect(writeDisc(disc, { label: 'A', files: [{ path: 'a', content: { file: large } }] })).rejects.toThrow(
    /4 GiB/
  )
  mkdirSync(join(folder, 'sub'))
  const sub = { path: 'a', content: { file: join(folder, 'sub') } }
  await expect(writeDisc(disc, { label: 'A', files: [sub] })).rejects.toThrow(/not a file/)
})

test('a large file is copied in pieces', async () => {
  const large = join(folder, 'large')
  writeFileSync(large, 'begin')
  truncateSync(large, 300 * 1024 * 1024)
  const before = process.memoryUsage().rss
  await writeDisc(disc, { label: 'A', files: [{ path: 'large', content: { file: large } }] })
  expect(process.memoryUsage().rss - before).toBeLessThan(100 * 1024 * 1024)
  expect(listed('-J', '-l')).toContain(` ${300 * 1024 * 1024} `)
})

// Files of /proc have more in them than they say.
test.runIf(process.platform === 'linux')('a file that is not as large as it was is a Fault', async () => {
  const growing = { path: 'a', content: { file: '/proc/version' } }
  await expect(writeDisc(disc, { label: 'A', files: [growing] })).rejects.toThrow(/changed while/)
  expect(readdirSync(folder)).toEqual([])
})

test('a folder that does not exist is a Fault that names the disc', async () => {
  const target = join(folder, 'none', 'disc.iso')
  await expect(writeDisc(target, { label: 'A', files: [] })).rejects.toThrow(`cannot write the disc ${target}`)
})
