import { Readable } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import { expect, test } from 'vitest'
import { type LayerFacts, type LinuxLayerOptions, toLinuxLayer } from '#image/layer/to-linux.ts'
import { Fault } from '#lib/fault.ts'
import { paxRecords, sizeOf } from '#lib/tar-header.ts'
import { layered, makeHive, markKey } from '../../../support/hive.ts'
import { inPieces, makeTar, readTar, type TestEntry } from '../../../support/tar.ts'

async function translate(entries: readonly TestEntry[], options?: LinuxLayerOptions) {
  const { output, done } = toLinuxLayer(Readable.from([await makeTar(entries)]), options)
  const read = await readTar(output)
  return { entries: read, facts: await done }
}

async function failure(entries: readonly TestEntry[] | Buffer, options?: LinuxLayerOptions): Promise<Fault> {
  const bytes = Buffer.isBuffer(entries) ? entries : await makeTar(entries)
  const { output, done } = toLinuxLayer(Readable.from([bytes]), options)
  const error = await buffer(output).then(
    () => undefined,
    thrown => thrown
  )
  expect(error).toBeInstanceOf(Fault)
  await expect(done).rejects.toBe(error)
  return error
}

const file = (name: string, text = '', more: Partial<TestEntry> = {}): TestEntry => ({
  name,
  data: Buffer.from(text),
  ...more
})
const folder = (name: string, pax: Record<string, string> = {}): TestEntry => ({ name, type: 'directory', pax })

test('Files is the drive, in the case that the layer has', async () => {
  const { entries, facts } = await translate([
    folder('Hives'),
    folder('Files'),
    folder('Files/windows'),
    folder('Files/windows/SYSTEM32'),
    file('Files/windows/SYSTEM32/x.dll', 'dll', { mtime: '1600000000.123456700', pax: { 'MSWINDOWS.rawsd': 'AQAE' } })
  ])
  expect(entries.map(({ name, type, mode }) => [name, type, mode])).toEqual([
    ['c/drive_c/', 'directory', 0o755],
    ['c/drive_c/windows/', 'directory', 0o755],
    ['c/drive_c/windows/SYSTEM32/', 'directory', 0o755],
    ['c/drive_c/windows/SYSTEM32/x.dll', 'file', 0o644]
  ])
  expect(entries.at(-1)).toMatchObject({ mtime: '1600000000.123456700', data: Buffer.from('dll') })
  expect(entries.at(-1)?.pax).toEqual({ mtime: '1600000000.123456700' })
  expect(facts).toEqual({ files: 4, bytes: 3, dropped: {}, hives: [] } satisfies LayerFacts)
})

test('read-only is kept as a mode, hidden and system are counted', async () => {
  const { entries, facts } = await translate([
    file('Files/r', '', { pax: { 'MSWINDOWS.fileattr': '33' } }),
    file('Files/h', '', { pax: { 'MSWINDOWS.fileattr': '34' } }),
    folder('Files/d', { 'MSWINDOWS.fileattr': '23' })
  ])
  expect(entries.map(entry => entry.mode)).toEqual([0o444, 0o644, 0o555])
  expect(facts.dropped).toEqual({ attributes: 2 })
})

test('alternate streams, the utility VM and base hives are left out and counted', async () => {
  const { entries, facts } = await translate([
    file('Files/a.txt', 'a'),
    file('Files/a.txt:Zone.Identifier', '[ZoneTransfer]'),
    folder('UtilityVM'),
    file('UtilityVM/Files/kernel', 'x'),
    file('Hives/SYSTEM_BASE', 'x'),
    file('Hives/SAM_DELTA', 'x'),
    file('Files/.wh..wh..opq')
  ])
  expect(entries.map(entry => entry.name)).toEqual(['c/drive_c/a.txt'])
  expect(facts.dropped).toEqual({ 'alternate-stream': 1, 'utility-vm': 2, hive: 2, whiteout: 1 })
})

test('whiteouts and hard links keep their meaning', async () => {
  const { entries } = await translate([
    file('Files/a/.wh.gone.txt'),
    { name: 'Files/b', type: 'link', linkname: 'Files/Windows/System32/lower.dll' }
  ])
  expect(entries.map(({ name, type, linkname }) => [name, type, linkname])).toEqual([
    ['c/drive_c/a/.wh.gone.txt', 'file', ''],
    ['c/drive_c/b', 'link', 'c/drive_c/Windows/System32/lower.dll']
  ])
})

test.each([
  ['C:\\a\\b', 'x/link', {}, '../a/b'],
  ['c:/A/b', 'link', {}, 'A/b'],
  ['\\??\\C:\\a', 'link', { 'MSWINDOWS.mountpoint': '1' }, 'a/.'],
  ['\\\\?\\C:\\a', 'link', { 'MSWINDOWS.fileattr': '1040' }, 'a/'],
  ['..\\y\\.\\z', 'x/link', {}, '../y/z'],
  ['..\\..\\..\\y', 'x/link', {}, '../y'],
  ['sibling', 'x/link', {}, 'sibling'],
  ['\\rooted', 'x/y/link', {}, '../../rooted'],
  ['C:\\', 'x/link', { 'MSWINDOWS.mountpoint': '1' }, '../.'],
  ['C:\\x\\..\\..\\..\\etc', 'link', {}, 'etc']
])('a link to %s', async (target, name, pax, linkname) => {
  const { entries } = await translate([{ name: `Files/${name}`, type: 'symlink', linkname: target, pax }])
  expect(entries[0]?.linkname).toBe(linkname)
})

test.each([
  'D:\\x',
  '\\\\server\\share',
  '\\??\\Volume{0b0f5a5e-0000-0000-0000-100000000000}\\',
  'C:x',
  '\\??\\UNC\\server\\x',
  '//server/x',
  'a:b'
])('a link to %s leads to no place of the drive', async target => {
  const { entries, facts } = await translate([{ name: 'Files/link', type: 'symlink', linkname: target }])
  expect(entries).toEqual([])
  expect(facts.dropped).toEqual({ 'link-target': 1 })
})

test('names that only Windows finds odd are kept', async () => {
  const names = ['con', 'aux.txt', 'trailing.', 'trailing ', '~1', 'é日本', '.hidden', `${'n'.repeat(255)}`]
  const { entries } = await translate(names.map(name => file(`Files/${name}`)))
  expect(entries.map(entry => entry.name)).toEqual(names.map(name => `c/drive_c/${name}`))
})

test.each([
  [file('Files/../etc/passwd'), /leads out of its folder/],
  [file('/Files/a'), /absolute/],
  [file('Files/a/../../../b'), /leads out/],
  [file('..'), /leads out/],
  [file('Files/a\\..\\b'), /character/],
  [file('Files/a*b'), /character/],
  [file('Files/a\u0001b'), /character/],
  [file('Files/a:s/b'), /":" in its name/],
  [file('Files/:s'), /":" in its name/],
  [file(`Files/${'é'.repeat(128)}`), /too long/],
  [file(`Files/${'d/'.repeat(1800)}x`), /too long/],
  [file('etc/passwd'), /nothing but Files/],
  [file('files/a'), /nothing but Files/],
  [file('.wh.Files'), /nothing but Files/],
  [file('Files/.wh.'), /removes nothing/],
  [file('Files/.wh...'), /removes nothing/],
  [file('Files/.wh.x', 'data'), /empty file/],
  [file('Files/.wh.x/y'), /removed file/],
  [{ name: 'Files/l', type: 'link', linkname: '../etc/passwd' }, /leads out/],
  [{ name: 'Files/l', type: 'link', linkname: 'Hives/SYSTEM_DELTA' }, /out of the drive/],
  [{ name: 'Files/l', type: 'link', linkname: 'Files/a:b' }, /alternate stream/],
  [file('Hives/OTHER_DELTA', 'x'), /no change of a registry hive/],
  [file('Files', 'x'), /root of a drive/],
  [{ name: 'Files/dev', type: 'character-device' as 'file' }, /neither a file/]
] satisfies [TestEntry, RegExp][])('%j is refused', async (entry, words) => {
  expect((await failure([entry])).message).toMatch(words)
})

test('hives become one entry of registry text', async () => {
  const system = await makeHive([
    'add ControlSet001',
    'cd \\ControlSet001',
    'setval 1',
    'KEPT',
    'string:yes',
    'add Gone'
  ])
  markKey(system, 'Gone', 1)
  const user = await makeHive(['add Environment'])
  const { entries, facts } = await translate([
    file('Hives/DefaultUser_Delta', '', { data: user }),
    file('Hives/SYSTEM_DELTA', '', { data: layered(system) }),
    file('Hives/SOFTWARE_DELTA', ''),
    file('Files/a', 'a')
  ])
  expect(entries.map(entry => entry.name)).toEqual(['c/drive_c/a', 'oriel/layer.reg'])
  const text = entries[1]?.data.toString('utf16le') ?? ''
  expect(text.charCodeAt(0)).toBe(0xfeff)
  expect(text).toContain('[HKEY_LOCAL_MACHINE\\SYSTEM\\ControlSet001]\r\n"KEPT"="yes"')
  expect(text).toContain('[-HKEY_LOCAL_MACHINE\\SYSTEM\\ControlSet001\\Gone]')
  expect(text).toContain('[HKEY_USERS\\.DEFAULT\\Environment]')
  expect(facts.hives.map(hive => hive.name)).toEqual(['DEFAULTUSER', 'SYSTEM'])
})

test('a hive that is damaged or too large is refused by name', async () => {
  expect((await failure([file('Hives/SYSTEM_DELTA', 'no hive')])).message).toMatch(
    /Hives\/SYSTEM_DELTA.*no registry hive/
  )
  expect((await failure([file('Hives/SYSTEM_DELTA', 'x'.repeat(100))], { hiveLimit: 99 })).message).toMatch(/larger/)
})

test('what is cut off or no tar is refused', async () => {
  const tar = await makeTar([file('Files/a', 'a'.repeat(2000))])
  expect((await failure(tar.subarray(0, 1000))).message).toMatch(/cut off/)
  expect((await failure(tar.subarray(0, 300))).message).toMatch(/cut off/)
  expect((await failure(Buffer.alloc(2048, 'x'))).message).toMatch(/no tar/)
  const damaged = Buffer.from(tar)
  damaged[3] = 0x41
  expect((await failure(damaged)).message).toMatch(/damaged/)
})

test('the stream may come in any pieces', async () => {
  const tar = await makeTar([
    folder('Files/d'),
    file('Files/d/a', 'a'.repeat(3000), { mtime: '1.5' }),
    file('Files/z', 'z')
  ])
  const whole = await buffer(toLinuxLayer(Readable.from([tar])).output)
  for (const length of [1, 511, 512, 513, 4096]) {
    expect((await buffer(toLinuxLayer(inPieces(tar, length)).output)).equals(whole)).toBe(true)
  }
})

test('a file of over 8 GB has its size in a record', async () => {
  const size = 9 * 2 ** 30
  const tar = await makeTar([{ name: 'Files/big', pax: { size: String(size) } }])
  // Its header, and as much of the content as makes the first piece of the output.
  const { output } = toLinuxLayer(Readable.from([tar.subarray(0, 1536), Buffer.alloc(1024 * 1024)]))
  const first = await new Promise<Buffer>((resolve, reject) => {
    output.once('data', resolve).once('error', reject)
  })
  output.destroy()
  expect(paxRecords(first.subarray(512, 512 + sizeOf(first.subarray(0, 512))))).toEqual({ size: String(size) })
})
