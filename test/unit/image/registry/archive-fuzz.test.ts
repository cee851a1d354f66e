import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { afterAll, expect, test } from 'vitest'
import { BlobStore } from '#image/registry/blob-store.ts'
import { readImageArchive } from '#image/registry/image-archive.ts'
import { Fault } from '#lib/fault.ts'
import { temporaryFolder } from '../../../support/installation-disc.ts'
import { mutatedJson } from '../../../support/mutate-json.ts'
import { Random } from '../../../support/random.ts'
import { makeTar, sealTar, type TestEntry } from '../../../support/tar.ts'
import { microsoftLayers, sha256, type TestImage, windowsImage, windowsLayer } from '../../../support/windows-image.ts'

const { path: root, remove } = temporaryFolder()
afterAll(remove)

const VERSION = '10.0.20348.2700'
const base = await microsoftLayers(VERSION)
const layers = [
  ...base,
  await windowsLayer('COPY a b', [{ name: 'Files/a', data: Buffer.from('a') }]),
  await windowsLayer('COPY c d', [{ name: 'Files/c', data: Buffer.from('c') }])
]
const image = windowsImage(layers, VERSION, { Cmd: ['cmd'] })

const HOSTILE = [
  ...['../../evil', '/tmp/evil', `${root}/evil`, 'a/../../../evil', './/./x', '..', '.', '/', 'x\\..\\..\\evil'],
  ...['1', '2', 'manifest.json', 'index.json', 'oci-layout', `blobs/sha256/${'0'.repeat(64)}`, 'blobs/../../evil'],
  ...['__proto__', 'constructor', 'n'.repeat(300), 'a/'.repeat(200), 'é\u202e']
]

/** As docker writes it, or as an OCI layout, with its JSON changed here and there. */
function archiveOf(random: Random): TestEntry[] {
  const change = (value: unknown): Buffer =>
    Buffer.from(random.chance(35) ? mutatedJson(value, random) : JSON.stringify(value))
  const config = random.chance(70) ? image.config : change(JSON.parse(String(image.config)))
  const blob = (bytes: Buffer): TestEntry => ({ name: `blobs/sha256/${sha256(bytes).slice(7)}`, data: bytes })
  const { config: described, ...rest } = JSON.parse(String(image.manifest))
  const manifest = change({ ...rest, config: { ...described, digest: sha256(config), size: config.length } })
  const plain = random.chance(50)
  const names = layers.map((layer, at) => (plain ? `${at}/layer.tar` : blob(layer.bytes).name))
  const docker = [
    { name: 'c.json', data: config },
    ...layers.map((layer, at) => ({ name: names[at] ?? '', data: plain ? layer.tar : layer.bytes })),
    {
      name: 'manifest.json',
      data: change([
        {
          Config: 'c.json',
          RepoTags: ['a:1', 'b:2'],
          Layers: names,
          LayerSources: Object.fromEntries(base.map(({ diffId, descriptor }) => [diffId, descriptor]))
        }
      ])
    }
  ]
  const annotations = { 'io.containerd.image.name': 'docker.io/library/a:1' }
  const entry = { mediaType: rest.mediaType, digest: sha256(manifest), size: manifest.length, annotations }
  const nested = change({ schemaVersion: 2, mediaType: 'application/vnd.oci.image.index.v1+json', manifests: [entry] })
  const list = { mediaType: 'application/vnd.oci.image.index.v1+json', digest: sha256(nested), size: nested.length }
  const layout = [
    ...[config, manifest, nested, ...layers.map(({ bytes }) => bytes)].map(blob),
    { name: 'index.json', data: change({ schemaVersion: 2, manifests: [random.chance(50) ? entry : list] }) }
  ]
  return random.chance(20) ? [...docker, ...layout] : random.chance(50) ? docker : layout
}

/** Names that lead elsewhere, links, and files in the place of others. */
function withOddEntries(entries: TestEntry[], random: Random): TestEntry[] {
  const changed = entries.map(entry => (random.chance(5) ? { ...entry, name: random.pick(HOSTILE) } : entry))
  for (let more = random.below(3); more > 0; more--) {
    const name = random.chance(50) ? random.pick(HOSTILE) : random.pick(entries).name
    const linkname = random.chance(50) ? random.pick(HOSTILE) : random.pick(entries).name
    const odd: TestEntry[] = [
      { name, type: 'symlink', linkname },
      { name, type: 'link', linkname },
      { name, type: 'directory' },
      { name, data: random.bytes(random.pick([0, 1, 600])) }
    ]
    changed.splice(random.below(changed.length), 0, random.pick(odd))
  }
  return changed
}

async function archive(seed: number): Promise<Buffer> {
  const random = new Random(seed)
  const bytes = Buffer.from(await makeTar(withOddEntries(archiveOf(random), random)))
  if (random.chance(60)) return bytes
  for (let change = 1 + random.below(4); change > 0; change--) bytes[random.below(bytes.length)] = random.below(256)
  if (random.chance(50)) sealTar(bytes)
  return random.chance(20) ? bytes.subarray(0, random.below(bytes.length)) : bytes
}

test('any archive is images or a Fault, and nothing of it lands outside of its folder and the store', async () => {
  let loaded = 0
  const rounds = 150
  for (let seed = 1; seed <= rounds; seed++) {
    const place = mkdtempSync(join(root, 'round-'))
    const folder = mkdtempSync(join(place, 'work-'))
    const store = new BlobStore(join(place, 'store'))
    const { signal } = new AbortController()
    try {
      const images = await readImageArchive(Readable.from([await archive(seed)]), folder, store, signal)
      if (images.length > 0) loaded += 1
    } catch (error) {
      if (!(error instanceof Fault) || error.message === '') throw new Error(`seed ${seed}`, { cause: error })
    }
    for (const { parentPath, name } of filesBelow(place)) {
      const path = join(parentPath, name).slice(place.length + 1)
      expect(path, `seed ${seed}`).toMatch(/^(work-\w+\/\d+(\.gz)?|store\/(blobs|parts)\/sha\d+\/[0-9a-f]+)$/)
    }
    rmSync(place, { recursive: true })
  }
  expect(filesBelow(root)).toEqual([])
  expect(loaded).toBeGreaterThan(rounds / 10)
  expect(loaded).toBeLessThan(rounds * 0.8)
}, 30_000)

function filesBelow(folder: string) {
  return readdirSync(folder, { recursive: true, withFileTypes: true }).filter(entry => !entry.isDirectory())
}

const read = async (entries: TestEntry[]) => {
  const folder = mkdtempSync(join(root, 'work-'))
  const store = new BlobStore(mkdtempSync(join(root, 'store-')))
  const stream = Readable.from([await makeTar(entries)])
  const images = await readImageArchive(stream, folder, store, new AbortController().signal)
  return { images, store }
}

test('indexes that name each other over and over are read once', async () => {
  const type = 'application/vnd.oci.image.index.v1+json'
  const indexOf = (entries: object[]): TestEntry & { data: Buffer } => {
    const data = Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: type, manifests: entries }))
    return { name: `blobs/sha256/${sha256(data).slice(7)}`, data }
  }
  const entry = ({ data }: { data: Buffer }, mediaType = type) => ({
    mediaType,
    digest: sha256(data),
    size: data.length
  })
  const lowest = indexOf(
    Array(1000).fill(entry({ data: image.manifest }, JSON.parse(String(image.manifest)).mediaType))
  )
  const middle = indexOf(Array(1000).fill(entry(lowest)))
  const tagged = (_: unknown, at: number) => ({
    ...entry(middle),
    annotations: { 'io.containerd.image.name': `docker.io/library/a:${at}` }
  })
  const upper = JSON.stringify({ schemaVersion: 2, manifests: Array.from({ length: 1000 }, tagged) })
  const blob = (data: Buffer): TestEntry => ({ name: `blobs/sha256/${sha256(data).slice(7)}`, data })
  const begin = process.cpuUsage()
  const { images } = await read([
    { name: 'index.json', data: Buffer.from(upper) },
    ...[lowest, middle],
    ...[image.config, image.manifest, ...layers.map(({ bytes }) => bytes)].map(blob)
  ])
  expect(images.map(({ tags }) => tags)).toEqual([Array.from({ length: 1000 }, (_, at) => `a:${at}`)])
  // Microseconds of the processor, since others may keep it busy.
  expect(process.cpuUsage(begin).user).toBeLessThan(10_000_000)
}, 60_000)

test('layers whose names differ in their signs alone stay apart', async () => {
  const names = ['x', 'y', 'a/b', 'a-b']
  const listed = (of: TestImage): TestEntry[] => [
    { name: 'c.json', data: of.config },
    ...of.layers.map(({ tar }, at) => ({ name: names[at] ?? '', data: tar })),
    {
      name: 'manifest.json',
      data: Buffer.from(JSON.stringify([{ Config: 'c.json', RepoTags: ['a:1'], Layers: names }]))
    }
  ]
  const { images } = await read(listed(image))
  expect(images[0]?.own.map(({ diffId }) => diffId)).toEqual(layers.slice(2).map(({ diffId }) => diffId))
})
