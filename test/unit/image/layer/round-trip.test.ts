import { Readable } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import { expect, test } from 'vitest'
import { toLinuxLayer } from '#image/layer/to-linux.ts'
import { toWindowsLayer } from '#image/layer/to-windows.ts'
import { Fault } from '#lib/fault.ts'
import { Random } from '../../../support/random.ts'
import { inPieces, makeTar, readTar, sealTar, type TestEntry } from '../../../support/tar.ts'

const NAMES = [
  'Program Files',
  'app',
  'Data.txt',
  'é日本',
  'x.dll',
  'a',
  'README',
  'con',
  'n'.repeat(120),
  '.dot',
  'UPPER'
]

/**
 * A layer in the form that survives a translation: descriptors and attributes that the Linux side can hold (a file's or a
 * folder's own, and read-only), links within the drive. Other forms of a link are generated, too; they compare as what they
 * lead to.
 */
function randomLayer(random: Random): TestEntry[] {
  const entries: TestEntry[] = []
  const files: string[] = []
  const used = new Set<string>()
  const name = (folder: string): string => {
    for (let round = 0; ; round++) {
      const fresh = `${folder}/${random.pick(NAMES)}${round > 3 ? round : ''}`
      if (!used.has(fresh.toLowerCase())) {
        used.add(fresh.toLowerCase())
        return fresh
      }
    }
  }
  const mtime = (): string =>
    `${random.below(2_000_000_000) - 100_000}${random.pick(['', '.1', '.0000001', '.9999999'])}`
  const fill = (folder: string, depth: number): void => {
    for (let count = random.below(6); count > 0; count--) {
      const path = name(folder)
      const kind = random.below(10)
      if (kind < 3 && depth < 6) {
        const attributes = random.chance(20) ? '17' : '16'
        entries.push({ name: path, type: 'directory', mtime: mtime(), pax: { 'MSWINDOWS.fileattr': attributes } })
        fill(path, depth + 1)
      } else if (kind < 7) {
        const attributes = random.chance(20) ? '33' : '32'
        const data = random.bytes(random.pick([0, 1, 511, 512, 513, 3000]))
        entries.push({ name: path, data, mtime: mtime(), pax: { 'MSWINDOWS.fileattr': attributes } })
        files.push(path)
      } else if (kind === 7) {
        const removed = path.slice(path.lastIndexOf('/') + 1)
        entries.push({ name: `${folder}/.wh.${removed}`, mtime: mtime(), pax: { 'MSWINDOWS.fileattr': '32' } })
      } else if (kind === 8 && files.length > 0) {
        entries.push({ name: path, type: 'link', linkname: random.pick(files) })
      } else {
        entries.push(randomLink(random, path, mtime()))
      }
    }
  }
  fill('Files', 0)
  return entries
}

function randomLink(random: Random, name: string, mtime: string): TestEntry {
  const parts = Array.from({ length: 1 + random.below(3) }, () => random.pick(NAMES))
  const form = random.below(4)
  const pax: Record<string, string> = { 'MSWINDOWS.fileattr': random.pick(['1056', '1040']) }
  if (form === 0) Object.assign(pax, { 'MSWINDOWS.mountpoint': '1', 'MSWINDOWS.fileattr': '1040' })
  const up = '..\\'.repeat(name.split('/').length - 2)
  const linkname = [
    `C:\\${parts.join('\\')}`,
    `\\??\\c:\\${parts.join('\\')}`,
    `${up}${parts.join('\\')}`,
    `.\\..\\${parts[0]}`
  ][form]
  return { name, type: 'symlink', mtime, pax, linkname: linkname ?? '' }
}

function isWhiteout({ name }: TestEntry): boolean {
  return name.includes('/.wh.')
}

/** What applying an entry to a drive would make of it. */
function applied({ name, type = 'file', linkname = '', data, mtime, pax }: TestEntry): Record<string, unknown> {
  const path = name.replace(/\/$/, '')
  if (type === 'link') return { path, type, linkname }
  return {
    path,
    type,
    time: Number(mtime),
    data: (data ?? Buffer.alloc(0)).toString('hex'),
    attributes: pax?.['MSWINDOWS.fileattr'],
    junction: pax?.['MSWINDOWS.mountpoint'],
    ...(type === 'symlink' ? { target: resolved(linkname, path) } : {})
  }
}

function resolved(target: string, path: string): string {
  const slashed = target.replace(/^\\\?\?\\/, '')
  const absolute = /^c:\\/i.test(slashed)
  const parts = absolute ? [] : path.split('/').slice(1, -1)
  for (const part of slashed.replace(/^c:/i, '').split('\\')) {
    if (part === '..') parts.pop()
    else if (part !== '' && part !== '.') parts.push(part)
  }
  return parts.join('\\')
}

test('there and back again is what it was', async () => {
  for (let seed = 1; seed <= 150; seed++) {
    const layer = randomLayer(new Random(seed))
    const there = toLinuxLayer(inPieces(await makeTar(layer), 1 + (seed % 700)))
    const back = toWindowsLayer(there.output)
    const entries = (await readTar(back.output)).slice(2)
    // Whiteouts go last: what they remove is below this layer, so that their place says nothing.
    const whiteoutsLast = [...layer.filter(entry => !isWhiteout(entry)), ...layer.filter(isWhiteout)]
    expect(entries.map(applied), `seed ${seed}`).toEqual(whiteoutsLast.map(applied))
    expect((await there.done).dropped).toEqual({})
    expect(await back.done).toMatchObject({ files: layer.length, dropped: {} })
    // Once in this form, the bytes themselves stay.
    const bytes = await windowsBytes(await makeTar(layer))
    expect((await windowsBytes(bytes)).equals(bytes), `seed ${seed}`).toBe(true)
  }
}, 60_000)

function windowsBytes(tar: Buffer): Promise<Buffer> {
  return buffer(toWindowsLayer(toLinuxLayer(Readable.from([tar])).output).output)
}

const HOSTILE = [
  '../../etc/passwd',
  '/etc/passwd',
  'Files/..',
  'Files/../../x',
  'C:\\x',
  '..\\..',
  '.',
  '',
  'Files//..//x'
]

test('whatever comes, nothing leaves the drive', async () => {
  const random = new Random(77)
  let refused = 0
  for (let round = 0; round < 600; round++) {
    const layer = randomLayer(new Random(round))
    for (const entry of layer) {
      if (random.chance(5)) entry.name = random.pick(HOSTILE) || 'Files/x'
      if (entry.linkname !== undefined && random.chance(20)) entry.linkname = random.pick(HOSTILE)
    }
    const bytes = Buffer.from(await makeTar(layer))
    for (let change = random.below(4); change > 0; change--) bytes[random.below(bytes.length)] = random.below(256)
    // Half of the time with checksums that are right again, so that the fields themselves are what is tried.
    if (random.chance(50)) sealTar(bytes)
    const cut = random.chance(10) ? bytes.subarray(0, random.below(bytes.length)) : bytes
    const { output, done } = toLinuxLayer(Readable.from([cut]))
    try {
      const linux = await buffer(output)
      await done
      for (const entry of await readTar(linux)) expectInDrive(entry)
    } catch (error) {
      if (!(error instanceof Fault)) throw error
      refused++
    }
  }
  expect(refused).toBeGreaterThan(50)
  expect(refused).toBeLessThan(600)
}, 60_000)

function expectInDrive({ name, type, linkname }: TestEntry): void {
  const parts = name.replace(/\/$/, '').split('/')
  expect(parts.slice(0, 2)).toEqual(['c', 'drive_c'])
  expect(parts.some(part => part === '' || part === '.' || part === '..' || /[\\\0]/.test(part))).toBe(false)
  if (type === 'link') expect(linkname).toMatch(/^c\/drive_c\/(?!.*(^|\/)\.\.(\/|$))/)
  if (type === 'symlink') {
    expect(linkname).not.toMatch(/^\//)
    let depth = parts.length - 3
    for (const part of linkname?.split('/') ?? []) {
      depth += part === '..' ? -1 : part === '' || part === '.' ? 0 : 1
      expect(depth).toBeGreaterThanOrEqual(0)
    }
  }
}
