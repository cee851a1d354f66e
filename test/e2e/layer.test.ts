import { createReadStream, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import { afterAll, beforeAll, expect, inject, test } from 'vitest'
import { wineBaseTag } from '#image/bases.ts'
import { diffRegistry, readWineRegistry } from '#image/hive/wine-registry.ts'
import { INIT, launchArguments } from '#image/launch.ts'
import { compressionOf, decompressAs } from '#image/layer/decompress.ts'
import { toLinuxLayer } from '#image/layer/to-linux.ts'
import { toWindowsLayer } from '#image/layer/to-windows.ts'
import { type Result, type RunOptions, run, runOk } from '../support/command.ts'
import { layered, makeHive, markKey, markTombstone } from '../support/hive.ts'
import { makeTar, readTar, type TestEntry } from '../support/tar.ts'

const BASE = wineBaseTag('ltsc2022')
const NAME = `oriel-layer-test-${process.pid}`
const images: string[] = []

function docker(args: readonly string[], options?: RunOptions): Promise<Result> {
  return run('docker', ['-H', inject('engine'), ...args], options)
}

function dockerOk(args: readonly string[], options?: RunOptions): Promise<string> {
  return runOk('docker', ['-H', inject('engine'), ...args], options)
}

/** Lays a tar over an image: what init said and its exit code. The container stays. */
async function lay(image: string, tar: Readable): Promise<Result> {
  await docker(['rm', '-f', NAME])
  await dockerOk(['create', '-i', '--network', 'none', '--name', NAME, '--entrypoint', INIT, image, 'layer'])
  return docker(['start', '-ai', NAME], { input: tar })
}

/** An image with a Windows layer more. */
async function withLayer(image: string, entries: readonly TestEntry[]): Promise<string> {
  const { output, done } = toLinuxLayer(Readable.from([await makeTar(entries)]))
  expect(await lay(image, output)).toEqual({ code: 0, stdout: '', stderr: '' })
  await done
  return commit()
}

async function commit(): Promise<string> {
  const tag = `${NAME}:${images.length}`
  await dockerOk(['commit', '-c', `ENTRYPOINT ["${INIT}"]`, '-c', 'CMD []', NAME, tag])
  images.push(tag)
  return tag
}

function launch(commandLine: string): string[] {
  const [, ...args] = launchArguments({
    commandLine,
    cwd: 'C:\\',
    user: 'ContainerAdministrator',
    env: [],
    role: 'main',
    services: 'auto',
    state: '/oriel/run/main'
  })
  return args
}

/** What a Windows command prints in a new container of an image, in lines without the blanks at their ends. */
async function said(image: string, commandLine: string): Promise<string[]> {
  const { stdout } = await docker(['run', '--rm', '--network', 'none', image, ...launch(commandLine)])
  return stdout.split('\n').map(line => line.trim())
}

const file = (name: string, text = '', more: Partial<TestEntry> = {}): TestEntry => ({
  name: `Files/${name}`,
  data: Buffer.from(text),
  mtime: '1600000000',
  pax: { 'MSWINDOWS.fileattr': '32' },
  ...more
})
const folder = (name: string): TestEntry => ({
  name: `Files/${name}`,
  type: 'directory',
  mtime: '1500000000',
  pax: { 'MSWINDOWS.fileattr': '16' }
})
const link = (name: string, linkname: string, pax: Record<string, string>): TestEntry => ({
  name: `Files/${name}`,
  type: 'symlink',
  mtime: '1600000000',
  linkname,
  pax
})

const FILES: TestEntry[] = [
  folder('WINDOWS'),
  folder('WINDOWS/SYSTEM32'),
  file('WINDOWS/SYSTEM32/Probe.txt', 'in the one System32\r\n'),
  file('windows/.wh.HH.EXE'),
  folder('app'),
  file('app/A.txt', 'first\r\n'),
  file('app/locked.txt', 'x', { pax: { 'MSWINDOWS.fileattr': '33' } }),
  { name: 'Files/app/system.ini', type: 'link', linkname: 'Files/Windows/SYSTEM.INI' },
  link('app/soft.txt', 'C:\\app\\a.TXT', { 'MSWINDOWS.fileattr': '1056' }),
  link('app/junction', '\\??\\C:\\WINDOWS\\System32', { 'MSWINDOWS.fileattr': '1040', 'MSWINDOWS.mountpoint': '1' }),
  folder('été'),
  file('été/ÀÉ.txt', 'one\r\n'),
  file('ÉTÉ/late.txt', 'two\r\n')
]

let first = ''
let second = ''
beforeAll(async () => {
  const system = await makeHive([
    ...['add ControlSet001', 'cd \\ControlSet001', 'add Control', 'cd \\ControlSet001\\Control', 'add Session Manager'],
    ...['cd \\ControlSet001\\Control\\Session Manager', 'add Environment'],
    'cd \\ControlSet001\\Control\\Session Manager\\Environment',
    ...['setval 2', 'KEPT', 'string:set on Windows', 'GOES', 'string:x']
  ])
  const software = await makeHive([
    ...['add Oriel', 'cd \\Oriel', 'setval 3', 'Number', 'dword:0x2a', 'Bytes', 'hex:3:01,ff', 'Goes', 'string:x'],
    ...['add Below', 'cd \\Oriel\\Below', 'setval 1', '@', 'string:below']
  ])
  first = await withLayer(BASE, [
    { name: 'Hives', type: 'directory' },
    { name: 'Hives/SYSTEM_DELTA', data: layered(system) },
    { name: 'Hives/SOFTWARE_DELTA', data: layered(software) },
    { name: 'Files', type: 'directory' },
    ...FILES
  ])
  const upper = await makeHive(['add Oriel', 'cd \\Oriel', 'setval 1', 'Goes', 'string:x', 'add Below'])
  markTombstone(upper, 'Goes')
  markKey(upper, 'Below', 1)
  second = await withLayer(first, [
    { name: 'Hives/SOFTWARE_DELTA', data: layered(upper) },
    file('APP/a.TXT', 'second\r\n'),
    file('App/Junction/through.txt', 'through the junction\r\n'),
    file('app/.wh.LOCKED.TXT'),
    { name: 'Files/app/again.txt', type: 'link', linkname: 'Files/APP/Junction/PROBE.TXT' }
  ])
}, 300_000)

afterAll(async () => {
  await docker(['rm', '-f', NAME])
  if (images.length > 0) await docker(['rmi', '-f', ...images])
})

test('a folder that a layer writes in another case is the one of the base', async () => {
  expect(await said(first, 'cmd /c type C:\\Windows\\system32\\probe.TXT')).toContain('in the one System32')
  expect(await said(first, 'cmd /c dir /b C:\\')).toEqual(expect.arrayContaining(['windows', 'app']))
  expect((await said(first, 'cmd /c dir /b C:\\')).filter(name => /^windows$/i.test(name))).toHaveLength(1)
  expect((await said(first, 'cmd /c type C:\\ÉtÉ\\àé.txt & type C:\\été\\late.txt')).slice(0, 2)).toEqual([
    'one',
    'two'
  ])
})

test('whiteouts, hard links into the base, links and junctions do what they do on Windows', async () => {
  expect((await docker(['run', '--rm', first, ...launch('C:\\windows\\hh.exe')])).code).toBe(127)
  expect(await said(first, 'cmd /c type C:\\app\\system.ini')).toContain('[mci]')
  expect(await said(first, 'cmd /c type C:\\app\\soft.txt & type C:\\app\\junction\\probe.txt')).toEqual(
    expect.arrayContaining(['first', 'in the one System32'])
  )
})

test('attributes and times are kept', async () => {
  expect((await said(first, 'cmd /c attrib C:\\app\\locked.txt')).join()).toMatch(/\bR\s+C:\\app\\locked.txt/i)
  expect((await said(first, 'cmd /c dir C:\\app')).join('\n')).toMatch(/09\/13\/2020.*A\.txt/)
})

test('the registry of a layer is there at run time', async () => {
  expect(await said(first, 'cmd /c echo [%KEPT%]')).toContain('[set on Windows]')
  const values = (await said(first, 'reg query HKLM\\Software\\Oriel /s')).join('\n')
  expect(values).toMatch(/Number\s+REG_DWORD\s+0x2a/)
  expect(values).toMatch(/Bytes\s+REG_BINARY\s+01ff/i)
  expect(values).toMatch(/REG_SZ\s+below/)
})

test('a second layer changes what the first one brought, whatever the case', async () => {
  expect(await said(second, 'cmd /c type C:\\app\\A.txt')).toContain('second')
  expect(await said(second, 'cmd /c type C:\\app\\soft.txt')).toContain('second')
  expect(
    (await said(second, 'cmd /c dir /b C:\\app'))
      .filter(Boolean)
      .map(name => name.toLowerCase())
      .sort()
  ).toEqual(['a.txt', 'again.txt', 'junction', 'soft.txt', 'system.ini'])
  expect(await said(second, 'cmd /c type C:\\windows\\system32\\through.txt')).toContain('through the junction')
  expect(await said(second, 'cmd /c type C:\\app\\again.txt')).toContain('in the one System32')
  const values = (await said(second, 'reg query HKLM\\Software\\Oriel /s')).join('\n')
  expect(values).toContain('Number')
  expect(values).not.toContain('Goes')
  expect(values).not.toContain('Below')
})

test('what was laid comes back out of docker save as the Windows layer that it was', async () => {
  const { output, done } = toWindowsLayer(Readable.from([await lastLayer(first)]))
  const back = (await readTar(output)).slice(2)
  const shape = ({ name, type = 'file', linkname = '', data, mtime, pax }: TestEntry) => ({
    name: name.replace(/\/$/, '').toLowerCase(),
    // Which of two names of a file is the link, the engine says.
    ...(/system\.ini$/i.test(name)
      ? {}
      : { type, data: data?.toString() ?? '', attributes: pax?.['MSWINDOWS.fileattr'] }),
    ...(type === 'symlink'
      ? { target: linkname.split('\\').at(-1)?.toLowerCase(), junction: pax?.['MSWINDOWS.mountpoint'] }
      : {}),
    ...(type === 'file' && !name.includes('.wh.') && !/system\.ini$/i.test(name) ? { mtime } : {})
  })
  const byName = (a: { name: string }, b: { name: string }) => (a.name < b.name ? -1 : 1)
  expect(
    back
      .filter(entry => !/windows\/system\.ini/.test(entry.name))
      .map(shape)
      .sort(byName)
  ).toEqual(FILES.map(shape).sort(byName))
  expect((await done).registry['system.reg']).toContain('set on Windows')
}, 180_000)

async function lastLayer(image: string): Promise<Buffer> {
  const temp = mkdtempSync(join(tmpdir(), 'oriel-layer-'))
  try {
    await dockerOk(['save', '-o', join(temp, 'image.tar'), image])
    await runOk('tar', ['-xf', join(temp, 'image.tar'), '-C', temp])
    const [{ Layers }] = JSON.parse(readFileSync(join(temp, 'manifest.json'), 'utf8'))
    const layer = join(temp, Layers.at(-1))
    return await buffer(decompressAs(createReadStream(layer), await compressionOf(layer)))
  } finally {
    rmSync(temp, { recursive: true })
  }
}

test.each([
  ['a lean', 'cmd /c mkdir C:\\made & echo x>C:\\made\\f.txt', []],
  ['a full', 'net start', []],
  ['a setx', 'cmd /c setx /M BUILT yes', ['System\\ControlSet001\\Control\\Session Manager\\Environment|BUILT|added']],
  ['a reg add', 'reg add HKLM\\Software\\Vendor /v v /d x /f', ['Software\\Vendor||added', 'Software\\Vendor|v|added']]
])('%s start leaves in the registry what the program did, and none of Wine', async (_, commandLine, changes) => {
  await docker(['rm', '-f', NAME])
  await dockerOk(['create', '--network', 'none', '--name', NAME, first, ...launch(commandLine)])
  const before = await registryOf()
  await docker(['start', '-a', NAME])
  const found = diffRegistry(before, await registryOf())
  expect(found.map(({ key, value, change }) => [key, value ?? '', change].join('|'))).toEqual(changes)
})

async function registryOf() {
  const { stdout } = await run('sh', [
    '-c',
    `docker -H "$1" cp "$2:/c/system.reg" - | tar xO`,
    'sh',
    inject('engine'),
    NAME
  ])
  return readWineRegistry(stdout)
}

test.each<[string, TestEntry[], RegExp]>([
  ['a place beside the drive', [{ name: 'etc/passwd', data: Buffer.from('x') }], /not on the drive/],
  ['a way out by dots', [{ name: 'c/drive_c/../../etc/passwd', data: Buffer.from('x') }], /out of the drive/],
  ['a link out of the drive', [{ name: 'c/drive_c/l', type: 'symlink', linkname: '../../etc' }], /out of the drive/],
  ['a hard link out of the drive', [{ name: 'c/drive_c/l', type: 'link', linkname: 'etc/passwd' }], /another place/],
  ['a hard link to nothing', [{ name: 'c/drive_c/l', type: 'link', linkname: 'c/drive_c/no' }], /not there/],
  ['a file below a file', [{ name: 'c/drive_c/windows/win.ini/x', data: Buffer.from('x') }], /is a file/]
])('init refuses %s', async (_, entries, words) => {
  const { code, stdout, stderr } = await lay(BASE, Readable.from([await makeTar(entries)]))
  expect([code, stdout]).toEqual([1, ''])
  expect(stderr.trim().split('\n')).toEqual([expect.stringMatching(words)])
})

test('init refuses what is cut off or no tar', async () => {
  const tar = await makeTar([{ name: 'c/drive_c/a', data: Buffer.alloc(3000) }])
  expect(await lay(BASE, Readable.from([tar.subarray(0, 2000)]))).toMatchObject({ code: 1 })
  expect((await lay(BASE, Readable.from([Buffer.alloc(2000, 'x')]))).stderr).toMatch(/no tar/)
  expect((await lay(BASE, Readable.from([await buffer(Readable.from([Buffer.alloc(0)]))]))).stderr).toMatch(/cut off/)
})
