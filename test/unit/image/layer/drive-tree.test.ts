import { Readable } from 'node:stream'
import { expect, test } from 'vitest'
import { DriveTree } from '#image/layer/drive-tree.ts'
import { toWindowsLayer } from '#image/layer/to-windows.ts'
import { Fault } from '#lib/fault.ts'
import { Random } from '../../../support/random.ts'
import { makeTar, readTar, type TestEntry } from '../../../support/tar.ts'

const file = (name: string): TestEntry => ({ name: `c/drive_c/${name}`, data: Buffer.from('x') })
const folder = (name: string): TestEntry => ({ name: `c/drive_c/${name}/`, type: 'directory' })

async function treeOf(...layers: TestEntry[][]): Promise<DriveTree> {
  const tree = new DriveTree()
  for (const layer of layers) await tree.lay(Readable.from([await makeTar(layer)]))
  return tree
}

/** Every path of it; folders with a slash. */
function pathsOf(tree: DriveTree, below = ''): string[] {
  return tree.list(below).flatMap(({ name, folder }) => {
    const path = below === '' ? name : `${below}/${name}`
    return folder ? [`${path}/`, ...pathsOf(tree, path)] : [path]
  })
}

test('layers add up, and what is beside the drive is nothing to it', async () => {
  const outside: TestEntry[] = [{ name: 'c/system.reg' }, { name: 'oriel/run/build' }, { name: 'c/drive_d/x' }]
  const link: TestEntry = { name: 'c/drive_c/App/link', type: 'symlink', linkname: '/usr/lib/wine' }
  const tree = await treeOf(
    [folder('App'), file('App/One.txt'), link, ...outside],
    [file('App/two.txt'), file('New/x')]
  )
  expect(pathsOf(tree)).toEqual(['App/', 'App/One.txt', 'App/link', 'App/two.txt', 'New/', 'New/x'])
  expect(tree.list('APP')).toHaveLength(3)
  expect(tree.list('App/One.txt')).toEqual([])
  expect(tree.list('none')).toEqual([])
})

test('marks take away what is below, and nothing of their own layer', async () => {
  const lower = [file('a/1'), file('a/sub/2'), file('b'), file('c/3'), file('d')]
  const upper = [file('a/new'), file('a/.wh..wh..opq'), file('.wh.b'), file('.wh.c'), folder('c'), folder('d')]
  expect(pathsOf(await treeOf(lower, upper))).toEqual(['a/', 'a/new', 'd/', 'c/'])
  expect(pathsOf(await treeOf([file('a/1')], [file('a')]))).toEqual(['a'])
})

test('what is no tar is a Fault', async () => {
  await expect(new DriveTree().lay(Readable.from([Buffer.alloc(1024, 'x')]))).rejects.toThrow(Fault)
})

/** A drive as a set of paths, which is what layers are made from and what must come of them. */
type Drive = Map<string, 'file' | 'folder'>

function randomDrive(random: Random, from: Drive): Drive {
  const drive: Drive = new Map(from)
  for (let change = 1 + random.below(5); change > 0; change--) {
    const path = Array.from({ length: 1 + random.below(3) }, () => random.pick(['a', 'b', 'c'])).join('/')
    for (const known of [...drive.keys()]) if (known === path || known.startsWith(`${path}/`)) drive.delete(known)
    if (random.chance(30)) continue
    const parts = path.split('/')
    for (let depth = 1; depth < parts.length; depth++) drive.set(parts.slice(0, depth).join('/'), 'folder')
    const parents = parts.slice(0, -1).map((_, at) => parts.slice(0, at + 1).join('/'))
    for (const parent of parents) drive.set(parent, 'folder')
    drive.set(path, random.chance(40) ? 'folder' : 'file')
  }
  return drive
}

/** The layer that overlayfs would make of it: a folder that is new hides all that was there. */
function layerBetween(before: Drive, after: Drive, random: Random): TestEntry[] {
  const entries: TestEntry[] = []
  const isBelow = (path: string, folders: readonly string[]) => folders.some(each => path.startsWith(`${each}/`))
  const anew: string[] = []
  for (const [path, kind] of [...after].sort()) {
    entries.push(kind === 'folder' ? folder(path) : file(path))
    const opaque = kind === 'folder' && !isBelow(path, anew) && (before.get(path) !== 'folder' || random.chance(30))
    if (!opaque) continue
    anew.push(path)
    entries.push(file(`${path}/.wh..wh..opq`))
  }
  for (const path of before.keys()) {
    const parent = path.split('/').slice(0, -1).join('/')
    if (after.has(path) || isBelow(path, anew) || (parent !== '' && after.get(parent) !== 'folder')) continue
    entries.push(file(path.replace(/[^/]*$/, '.wh.$&')))
  }
  return entries
}

/** A drive after a Windows layer, whose only mark is a name that is gone. */
function applied(before: Drive, layer: readonly TestEntry[]): string[] {
  const drive = new Map(before)
  const without = (path: string) => {
    for (const known of [...drive.keys()]) if (known === path || known.startsWith(`${path}/`)) drive.delete(known)
  }
  const entries = layer.map(({ name, type }) => ({ path: name.replace(/^Files\/|\/$/g, ''), type }))
  for (const { path } of entries) if (/(^|\/)\.wh\./.test(path)) without(path.replace(/\.wh\.(?=[^/]*$)/, ''))
  for (const { path, type } of entries) {
    if (/(^|\/)\.wh\./.test(path)) continue
    const kind = type === 'directory' ? 'folder' : 'file'
    if (drive.get(path) !== kind) without(path)
    drive.set(path, kind)
  }
  return [...drive].map(([path, kind]) => (kind === 'folder' ? `${path}/` : path)).sort()
}

test('a Windows layer leaves what its Linux layer leaves, whatever was removed and made again', async () => {
  for (let seed = 1; seed <= 150; seed++) {
    const random = new Random(seed)
    const tree = new DriveTree()
    let drive: Drive = new Map()
    for (let layer = 0; layer < 3; layer++) {
      const next = randomDrive(random, drive)
      const tar = await makeTar(layerBetween(drive, next, random))
      const { output } = toWindowsLayer(Readable.from([tar]), { below: async path => tree.list(path) })
      const wanted = [...next].map(([path, kind]) => (kind === 'folder' ? `${path}/` : path)).sort()
      expect(applied(drive, (await readTar(output)).slice(2)), `seed ${seed}, layer ${layer}`).toEqual(wanted)
      await tree.lay(Readable.from([tar]))
      expect(pathsOf(tree).sort(), `seed ${seed}, layer ${layer}`).toEqual(wanted)
      drive = next
    }
  }
}, 60_000)
