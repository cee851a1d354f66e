import { createHash } from 'node:crypto'
import { Readable } from 'node:stream'
import { expect, test } from 'vitest'
import { type BaseFiles, importLayer, readImportFacts, sameAsBase } from '#image/layer/import-layer.ts'
import { makeTar, readTar, type TestEntry } from '../../../support/tar.ts'

const file = (name: string, text = '', more: Partial<TestEntry> = {}): TestEntry => ({
  name,
  data: Buffer.from(text),
  ...more
})
const folder = (name: string): TestEntry => ({ name, type: 'directory' })
const link = (name: string, linkname: string): TestEntry => ({ name, type: 'symlink', linkname })
const WINE = '/usr/lib/x86_64-linux-gnu/wine/x86_64-windows/ntdll.dll'

async function imported(entries: readonly TestEntry[], base: BaseFiles = new Map()) {
  const tar = await makeTar(entries)
  const open = () => Readable.from([tar])
  const facts = await readImportFacts(open)
  const same = await sameAsBase(open, facts, base)
  const leave = (path: string, type: string) => (type === '5' ? base.has(path) : same.has(path))
  const read = await readTar(importLayer(open, facts, leave))
  const paths = read.map(({ name }) => name.replace(/\/$/, '')).filter(name => name !== 'Files' && name !== 'Hives')
  return { facts, read, paths }
}

test.each<[string, TestEntry[], string[]]>([
  ['files of a drive', [folder('./'), folder('./app'), file('./app/a')], ['Files/app', 'Files/app/a']],
  ['what docker cp gives of C:', [folder('drive_c'), file('drive_c/a')], ['Files/a']],
  ['a folder that is only called so', [file('drive_c/a'), file('b')], ['Files/drive_c/a', 'Files/b']],
  ['a container of the Linux engine', [file('oriel/init'), file('c/drive_c/a'), file('c/system.reg')], ['Files/a']],
  ['a folder C of somebody else', [file('c/drive_c/a')], ['Files/c/drive_c/a']],
  ['a folder that is called Files', [folder('Files'), file('Files/a')], ['Files/Files', 'Files/Files/a']],
  [
    'a Windows layer',
    [folder('Hives'), file('Files/a'), file('Hives/SYSTEM_DELTA')],
    ['Files/a', 'Hives/SYSTEM_DELTA']
  ],
  ['one that changes no hive', [file('Files/a', '', { pax: { 'MSWINDOWS.fileattr': '32' } })], ['Files/a']],
  ['marks for removed files', [file('.wh.windows'), file('app/.wh..wh..opq'), file('a')], ['Files/a']]
])('%s', async (_name, entries, paths) => {
  expect((await imported(entries)).paths).toEqual(paths)
})

test('of a real Windows only the folder Windows is left out, in whatever case, with hard links to it', async () => {
  const entries = [
    file('WINDOWS/system32/NTDLL.dll', 'MZ'),
    file('Windows/notepad.exe'),
    { name: 'Program Files/wmp.exe', type: 'link', linkname: 'Windows/wmp.exe' } as const,
    file('app/Windows/kept')
  ]
  const { facts, paths } = await imported(entries)
  expect(facts.windows).toBe('microsoft')
  expect(paths).toEqual(['Files/app/Windows/kept'])
  const layer = [folder('Hives'), ...entries.map(entry => ({ ...entry, name: `Files/${entry.name}` }))]
  const layered = layer.filter(({ type }) => type !== 'link')
  expect((await imported(layered)).paths).toEqual(['Files/app/Windows/kept'])
})

test('of the Wine base only what was changed is taken', async () => {
  const sha256 = createHash('sha256').update('as it was').digest('hex')
  const base: BaseFiles = new Map<string, 'folder' | { size: number; sha256: string }>([
    ['windows', 'folder'],
    ['windows/a.nls', { size: 9, sha256 }],
    ['windows/hosts', { size: 9, sha256 }]
  ])
  const { facts, paths } = await imported(
    [
      folder('windows'),
      link('windows/system32/ntdll.dll', WINE),
      file('windows/A.nls', 'as it was'),
      file('windows/hosts', 'otherwise'),
      file('windows/new', 'as it was')
    ],
    base
  )
  expect(facts.windows).toBe('wine')
  expect(paths).toEqual(['Files/windows/hosts', 'Files/windows/new'])
})

test('links stay links, and one to a folder is known for it', async () => {
  const { read } = await imported([
    folder('app'),
    file('app/a'),
    link('app/file', 'a'),
    link('folder', 'app'),
    link('windows-like', 'C:\\app\\a'),
    { name: 'hard', type: 'link', linkname: './app/a' }
  ])
  const links = read.filter(({ type }) => type === 'symlink' || type === 'link')
  expect(links.map(({ name, linkname, pax }) => [name, linkname, pax['MSWINDOWS.fileattr']])).toEqual([
    ['Files/app/file', 'a', '1056'],
    ['Files/folder', 'app', '1040'],
    ['Files/windows-like', 'app\\a', '1056'],
    ['Files/hard', 'Files/app/a', undefined]
  ])
})

test.each<[string, TestEntry[], RegExp]>([
  ['a name that leads out', [file('a/../../b')], /leads out of its folder/],
  ['an absolute name', [file('/a')], /absolute path/],
  ['a link that leads out', [link('a/b', '../../c')], /leads out of the drive/],
  ['a link to a place of Linux', [link('a', '/etc/passwd')], /leads out of the drive/],
  ['a link to another drive', [link('a', 'D:\\x')], /leads out of the drive/],
  ['a hard link that leads out', [{ name: 'a', type: 'link', linkname: '../b' }], /leads out of its folder/],
  [
    'a hard link beside the drive',
    [file('oriel/init'), { name: 'c/drive_c/a', type: 'link', linkname: 'etc/passwd' }],
    /a hard link leads out of the drive/
  ],
  ['a name that Windows has not', [file('a:b')], /no name of a file on Windows/],
  ['a drive that is a file', [file('oriel/init'), file('c/drive_c')], /the root of a drive is a folder/]
])('refuses %s', async (_name, entries, message) => {
  await expect(imported(entries)).rejects.toThrow(message)
})

test('refuses a device, and a tar that is cut off', async () => {
  const tar = await makeTar([file('a', 'x'.repeat(600))])
  const open = () => Readable.from([tar.subarray(0, 1000)])
  await expect(readImportFacts(open)).rejects.toThrow(/cut off/)
  const device = Buffer.from(await makeTar([file('a')]))
  device.write('3', 156)
  // A header's checksum is a sum of its bytes.
  device.write(`${(Number.parseInt(device.toString('latin1', 148, 154), 8) + 3).toString(8).padStart(6, '0')}`, 148)
  const whole = () => Readable.from([device])
  const facts = await readImportFacts(whole)
  await expect(readTar(importLayer(whole, facts))).rejects.toThrow(/neither a file nor a folder nor a link/)
})
