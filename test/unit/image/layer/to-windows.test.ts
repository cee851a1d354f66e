import { Readable } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import { expect, test } from 'vitest'
import { toWindowsLayer, type WindowsLayerOptions } from '#image/layer/to-windows.ts'
import { Fault } from '#lib/fault.ts'
import { makeTar, readTar, type TestEntry } from '../../../support/tar.ts'

// As BuildKit writes them: moby/buildkit, util/winlayers/differ.go.
const FOLDER_SD =
  'AQAEgBQAAAAkAAAAAAAAADAAAAABAgAAAAAABSAAAAAgAgAAAQEAAAAAAAUSAAAAAgCoAAcAAAAAAxgA/wEfAAECAAAAAAAFIAAAACACAAAAAxQA/wEfAAEBAAAAAAAFEgAAAAAAGAD/AR8AAQIAAAAAAAUgAAAAIAIAAAALFAAAAAAQAQEAAAAAAAMAAAAAAAMYAKkAEgABAgAAAAAABSAAAAAhAgAAAAIYAAQAAAABAgAAAAAABSAAAAAhAgAAAAIYAAIAAAABAgAAAAAABSAAAAAhAgAA'
const FILE_SD =
  'AQAEgBQAAAAkAAAAAAAAADAAAAABAgAAAAAABSAAAAAgAgAAAQEAAAAAAAUSAAAAAgBMAAMAAAAAABgA/wEfAAECAAAAAAAFIAAAACACAAAAABQA/wEfAAEBAAAAAAAFEgAAAAAAGACpABIAAQIAAAAAAAUgAAAAIQIAAA=='

async function translate(entries: readonly TestEntry[], options?: WindowsLayerOptions) {
  const { output, done } = toWindowsLayer(Readable.from([await makeTar(entries)]), options)
  const read = await readTar(output)
  return { entries: read, facts: await done }
}

const file = (name: string, text = '', more: Partial<TestEntry> = {}): TestEntry => ({
  name,
  data: Buffer.from(text),
  ...more
})
const folder = (name: string): TestEntry => ({ name, type: 'directory', mode: 0o755 })
/** All but the two folders that every layer begins with. */
const below = <T>(entries: readonly T[]): T[] => entries.slice(2)

test('a file and its folders get the records that BuildKit gives', async () => {
  const { entries } = await translate(
    [
      folder('c/'),
      folder('c/drive_c/'),
      folder('c/drive_c/app/'),
      file('c/drive_c/app/a.exe', 'MZ', { mtime: '1600000000' })
    ],
    { time: new Date('2026-01-02T03:04:05.5Z') }
  )
  const time = '1767323045.5'
  expect(entries.map(({ name, type }) => [name, type])).toEqual([
    ['Hives', 'directory'],
    ['Files', 'directory'],
    ['Files/app/', 'directory'],
    ['Files/app/a.exe', 'file']
  ])
  expect(entries[0]?.pax).toEqual({ 'MSWINDOWS.fileattr': '16', 'LIBARCHIVE.creationtime': time, mtime: time })
  expect(entries[2]?.pax).toEqual({
    'MSWINDOWS.fileattr': '16',
    'MSWINDOWS.rawsd': FOLDER_SD,
    'LIBARCHIVE.creationtime': '0'
  })
  expect(entries[3]).toMatchObject({
    data: Buffer.from('MZ'),
    mtime: '1600000000',
    pax: { 'MSWINDOWS.fileattr': '32', 'MSWINDOWS.rawsd': FILE_SD, 'LIBARCHIVE.creationtime': '1600000000' }
  })
})

test('the mode has the bits of a type', async () => {
  const bytes = await buffer(
    toWindowsLayer(Readable.from([await makeTar([folder('c/drive_c/d/'), file('c/drive_c/f')])])).output
  )
  const modes = [...bytes.toString('latin1').matchAll(/Files\/[df]\/?\0+(\d{7})\0/g)].map(match => match[1])
  expect(modes.slice(-2)).toEqual(['0040755', '0100644'])
})

test('what Wine adds by itself stays out', async () => {
  const { entries, facts } = await translate([
    file('c/.update-timestamp', 'disable'),
    file('c/system.reg', 'WINE REGISTRY Version 2\n'),
    folder('c/dosdevices/'),
    { name: 'c/dosdevices/c:', type: 'symlink', linkname: '../drive_c' },
    file('oriel/run/build', 'exited 0'),
    file('oriel/layer.reg', 'x'),
    folder('tmp/'),
    file('tmp/wine-IQvmDi/server-27-ff89c3/lock'),
    file('c/drive_d/data', 'a volume'),
    file('c/.wh.user.reg'),
    {
      name: 'c/drive_c/windows/system32/x.dll',
      type: 'symlink',
      linkname: '/usr/lib/x86_64-linux-gnu/wine/x86_64-windows/x.dll'
    },
    file('c/drive_c/kept', 'k')
  ])
  expect(below(entries).map(entry => entry.name)).toEqual(['Files/kept'])
  expect(facts).toEqual({
    files: 1,
    bytes: 1,
    dropped: { 'outside-drive': 9, 'link-target': 1 },
    registry: { 'system.reg': 'WINE REGISTRY Version 2\n' }
  })
})

test('whiteouts, hard links, links and junctions come back', async () => {
  const { entries } = await translate([
    // As containerd writes them.
    file('c/drive_c/.wh.gone', '', { mode: 0 }),
    { name: 'c/drive_c/a/hard', type: 'link', linkname: 'c/drive_c/b' },
    { name: 'c/drive_c/a/soft', type: 'symlink', linkname: '../x/./y' },
    { name: 'c/drive_c/a/dir', type: 'symlink', linkname: '../x/' },
    { name: 'c/drive_c/a/junction', type: 'symlink', linkname: '../x/y/.' },
    { name: 'c/drive_c/a/absolute', type: 'symlink', linkname: '/c/drive_c/x' }
  ])
  expect(
    below(entries).map(({ name, type, linkname, pax }) => [
      name,
      type,
      linkname,
      pax['MSWINDOWS.fileattr'],
      pax['MSWINDOWS.mountpoint']
    ])
  ).toEqual([
    ['Files/a/hard', 'link', 'Files/b', undefined, undefined],
    ['Files/a/soft', 'symlink', '..\\x\\y', '1056', undefined],
    ['Files/a/dir', 'symlink', '..\\x', '1040', undefined],
    ['Files/a/junction', 'symlink', 'C:\\x\\y', '1040', '1'],
    ['Files/a/absolute', 'symlink', 'C:\\x', '1056', undefined],
    ['Files/.wh.gone', 'file', '', '32', undefined]
  ])
})

test('a folder that was made anew removes what was in it, name by name', async () => {
  const lower: Record<string, { name: string; folder: boolean }[]> = {
    d: [
      { name: 'Old.txt', folder: false },
      { name: 'KEPT.txt', folder: false },
      { name: 'sub', folder: true }
    ],
    'd/sub': [{ name: 'deep.txt', folder: false }]
  }
  const { entries, facts } = await translate(
    [
      folder('c/drive_c/d/'),
      file('c/drive_c/d/.wh..wh..opq'),
      file('c/drive_c/d/kept.txt', 'new'),
      folder('c/drive_c/d/sub/'),
      file('c/drive_c/d/sub/other')
    ],
    { below: path => Promise.resolve(lower[path] ?? []) }
  )
  expect(below(entries).map(entry => entry.name)).toEqual([
    'Files/d/',
    'Files/d/kept.txt',
    'Files/d/sub/',
    'Files/d/sub/other',
    'Files/d/.wh.Old.txt',
    'Files/d/sub/.wh.deep.txt'
  ])
  expect(facts.files).toBe(6)
})

test('a name that is here in another case is not removed', async () => {
  const { entries } = await translate(
    [
      file('c/drive_c/.wh.win.ini'),
      file('c/drive_c/Win.ini', 'new'),
      file('c/drive_c/.wh.Folder'),
      folder('c/drive_c/FOLDER/'),
      file('c/drive_c/.wh.gone')
    ],
    { below: path => Promise.resolve(path === 'Folder' ? [{ name: 'old', folder: false }] : []) }
  )
  expect(below(entries).map(entry => entry.name)).toEqual([
    'Files/Win.ini',
    'Files/FOLDER/',
    'Files/.wh.gone',
    'Files/Folder/.wh.old'
  ])
})

test.each([
  [[file('c/drive_c/a:b')], /no name of a file on Windows/],
  [[file('c/drive_c/a\\b')], /no name of a file on Windows/],
  [[file('c/drive_c/../../etc')], /leads out/],
  [[{ name: 'c/drive_c/x', type: 'link' as const, linkname: 'usr/bin/x' }], /outside of the drive/],
  [[folder('c/drive_c/d/'), file('c/drive_c/d/.wh..wh..opq')], /removed and made again/]
])('%j cannot be said in a Windows layer', async (entries, words) => {
  const { output, done } = toWindowsLayer(Readable.from([await makeTar(entries)]))
  await expect(buffer(output)).rejects.toThrow(words)
  await expect(done).rejects.toBeInstanceOf(Fault)
})

test('equal layers have equal bytes', async () => {
  const tar = await makeTar([file('c/drive_c/a', 'a')])
  const once = await buffer(toWindowsLayer(Readable.from([tar])).output)
  expect((await buffer(toWindowsLayer(Readable.from([tar])).output)).equals(once)).toBe(true)
})
