import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { rebase, renameEntries } from '#gateway/wine-engine/tar-rename.ts'
import { encodePax, paxRecords } from '#lib/tar-header.ts'

let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'oriel-tar-'))
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

const LONG = `${'long-'.repeat(30)}name.txt`

/** A tree with every kind of name, as an archive that the host's own tar made. */
function archive(format: string): Buffer {
  mkdirSync(join(folder, 'old', 'sub'), { recursive: true })
  writeFileSync(join(folder, 'old', 'plain.txt'), 'plain')
  writeFileSync(join(folder, 'old', 'sub', LONG), 'x'.repeat(5000))
  writeFileSync(join(folder, 'old', 'größe.txt'), '')
  symlinkSync('plain.txt', join(folder, 'old', 'link'))
  const made = spawnSync('tar', ['--format', format, '-C', folder, '-cf', '-', 'old'], { maxBuffer: 1 << 24 })
  expect(made.status).toBe(0)
  return made.stdout
}

/** Cuts bytes into pieces of odd sizes, as a network does. */
function* pieces(bytes: Buffer, size: number): Generator<Buffer> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size)
}

const renamed = (bytes: Buffer, size: number, to: string): Promise<Buffer> =>
  buffer(renameEntries(Readable.from(pieces(bytes, size)), rebase('old', to)))

describe.each(['ustar', 'gnu', 'pax'])('a %s archive', format => {
  test.each([
    ['new', 100_000],
    ['new', 1],
    [`${'deeper/'.repeat(20)}new`, 511],
    ['größer', 513]
  ])('becomes %s, in pieces of %i bytes', async (to, size) => {
    // ustar has no room for the long name.
    const source = format === 'ustar' ? archive('pax') : archive(format)
    const out = join(folder, 'out')
    mkdirSync(out)
    const unpacked = spawnSync('tar', ['-C', out, '-xf', '-'], { input: await renamed(source, size, to) })
    expect(unpacked.stderr.toString()).toBe('')
    expect(unpacked.status).toBe(0)
    const same = spawnSync('diff', ['-r', '--no-dereference', join(folder, 'old'), join(out, to)])
    expect(same.stdout.toString()).toBe('')
    expect(same.status).toBe(0)
    expect(readFileSync(join(out, to, 'sub', LONG), 'utf8')).toHaveLength(5000)
  })
})

test('a hard link follows what it links to', async () => {
  mkdirSync(join(folder, 'old'))
  writeFileSync(join(folder, 'old', 'a'), 'shared')
  spawnSync('ln', [join(folder, 'old', 'a'), join(folder, 'old', 'b')])
  const made = spawnSync('tar', ['-C', folder, '-cf', '-', 'old'])
  const listed = spawnSync('tar', ['-tvf', '-'], { input: await renamed(made.stdout, 700, 'new') })
  expect(listed.stdout.toString()).toMatch(/new\/[ab] link to new\/[ab]/)
})

test.each([1, 500, 512, 900, 1300])('an archive cut off after %i bytes breaks off', async length => {
  mkdirSync(join(folder, 'old'))
  writeFileSync(join(folder, 'old', 'a'), 'x'.repeat(4000))
  const { stdout } = spawnSync('tar', ['-C', folder, '-cf', '-', 'old/a'])
  await expect(renamed(stdout.subarray(0, length), 300, 'new')).rejects.toThrow('cut off')
})

test.each([
  ['a size that is no number', (bytes: Buffer) => bytes.write('zzz', 124)],
  ['records that are none', (bytes: Buffer) => bytes.write('no records', 512)],
  ['records without end', (bytes: Buffer) => bytes.write('77777777777', 124)]
])('%s is refused', async (_, spoil) => {
  const bytes = Buffer.concat([encodePax({ path: 'old' }, Buffer.alloc(512)), Buffer.alloc(1024)])
  spoil(bytes)
  await expect(renamed(bytes, 512, 'new')).rejects.toThrow()
})

test('PAX records read back as they were written, whatever their length', () => {
  for (let length = 0; length < 120; length++) {
    const records = { path: 'ä'.repeat(length), 'MSWINDOWS.fileattr': '32' }
    const bytes = encodePax(records, Buffer.alloc(512))
    expect(bytes.length % 512).toBe(0)
    const size = Number.parseInt(bytes.toString('latin1', 124, 135), 8)
    expect(paxRecords(bytes.subarray(512, 512 + size))).toEqual(records)
  }
})
