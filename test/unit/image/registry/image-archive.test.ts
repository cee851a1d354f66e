import { existsSync, mkdtempSync } from 'node:fs'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import { gunzipSync } from 'node:zlib'
import { afterAll, expect, test } from 'vitest'
import { BlobStore } from '#image/registry/blob-store.ts'
import { readImageArchive } from '#image/registry/image-archive.ts'
import { temporaryFolder } from '../../../support/installation-disc.ts'
import { makeTar, type TestEntry } from '../../../support/tar.ts'
import { microsoftLayers, sha256, type TestImage, windowsImage, windowsLayer } from '../../../support/windows-image.ts'

const { path: root, remove } = temporaryFolder()
afterAll(remove)

const VERSION = '10.0.20348.2700'
const base = await microsoftLayers(VERSION)
const own = await windowsLayer('COPY a b', [{ name: 'Files/a', data: Buffer.from('a') }])
const image = windowsImage([...base, own], VERSION, { Cmd: ['cmd'] })
const json = (name: string, value: unknown): TestEntry => ({ name, data: Buffer.from(JSON.stringify(value)) })
const blob = (bytes: Buffer): TestEntry => ({ name: `blobs/sha256/${sha256(bytes).slice(7)}`, data: bytes })

async function read(entries: readonly TestEntry[] | Buffer) {
  const folder = mkdtempSync(join(root, 'work-'))
  const store = new BlobStore(mkdtempSync(join(root, 'store-')))
  const tar = Buffer.isBuffer(entries) ? entries : await makeTar(entries)
  const images = await readImageArchive(Readable.from([tar]), folder, store, new AbortController().signal)
  return { images, store }
}

const listed = (more: object = {}, of: TestImage = image): TestEntry[] => [
  { name: 'c.json', data: of.config },
  ...of.layers.map(({ tar }, at): TestEntry => ({ name: `${at}/layer.tar`, data: tar })),
  json('manifest.json', [
    {
      Config: 'c.json',
      RepoTags: ['docker.io/library/app:1'],
      Layers: of.layers.map((_, at) => `${at}/layer.tar`),
      ...more
    }
  ])
]

test('docker’s archive: plain layers are compressed, and the manifest is made', async () => {
  const { images, store } = await read(listed())
  expect(images).toMatchObject([{ tags: ['app:1'], config: { digest: image.id } }])
  const [layer] = images[0]?.own ?? []
  expect(layer?.diffId).toBe(own.diffId)
  const bytes = await buffer(store.open(layer?.descriptor.digest ?? ''))
  expect(gunzipSync(bytes).equals(own.tar)).toBe(true)
  expect(JSON.parse(String(await store.read(images[0]?.manifestDigest ?? '', 10_000))).layers).toHaveLength(3)
  expect(await store.has(base[0]?.diffId ?? '')).toBe(false)
})

test('a layer that docker has written as a link to another one', async () => {
  const entries = listed({ Layers: ['0/layer.tar', '1/layer.tar', 'again/layer.tar'] })
  const link: TestEntry = { name: 'again/layer.tar', type: 'symlink', linkname: '../2/layer.tar' }
  expect((await read([link, ...entries])).images[0]?.own).toHaveLength(1)
})

test('the base may be left out, and its descriptors given', async () => {
  const LayerSources = Object.fromEntries(base.map(({ diffId, descriptor }) => [diffId, descriptor]))
  const { images, store } = await read(listed({ LayerSources }).filter(({ name }) => !/^[01]\//.test(name)))
  const manifest = JSON.parse(String(await store.read(images[0]?.manifestDigest ?? '', 10_000)))
  expect(manifest.layers.slice(0, 2)).toEqual(base.map(({ descriptor }) => descriptor))
})

test('an OCI layout keeps its own manifest', async () => {
  const descriptor = {
    mediaType: 'application/vnd.docker.distribution.manifest.v2+json',
    digest: image.digest,
    size: image.manifest.length,
    annotations: { 'io.containerd.image.name': 'docker.io/team/app:2' }
  }
  const layout = [
    blob(image.config),
    blob(image.manifest),
    blob(own.bytes),
    json('index.json', { manifests: [descriptor] })
  ]
  const { images, store } = await read(layout)
  expect(images).toMatchObject([{ tags: ['team/app:2'], manifestDigest: image.digest, config: { digest: image.id } }])
  expect((await store.read(image.digest, 10_000)).equals(image.manifest)).toBe(true)
})

test.each<[string, () => Promise<TestEntry[] | Buffer>, RegExp]>([
  ['no tar', async () => Buffer.from('no tar at all, but text that is longer than a block'.repeat(20)), /damaged/],
  ['nothing', async () => Buffer.alloc(1024), /manifest.json/],
  ['one that is cut', async () => (await makeTar(listed())).subarray(0, 1000), /damaged/],
  [
    'no JSON',
    async () => [{ name: 'manifest.json', data: Buffer.from('{') }],
    /manifest.json of the archive is no JSON/
  ],
  ['a list that is none', async () => [json('manifest.json', {})], /invalid manifest.json/],
  ['a config outside', async () => listed({ Config: '../../../etc/passwd' }), /has no .*passwd/],
  ['too few layers', async () => listed({ Layers: [] }), /length mismatch/],
  ['a missing layer', async () => listed().filter(({ name }) => name !== '2/layer.tar'), /has no layer 2\/layer.tar/],
  ['a Linux image', async () => listed({}, windowsImage([own], '', {}, { os: 'linux' })), /operating system "linux"/],
  ['a bad name', async () => listed({ RepoTags: ['UPPER:1'] }), /lowercase/],
  [
    'a manifest of another name',
    async () => [
      { name: `blobs/sha256/${'0'.repeat(64)}`, data: image.manifest },
      json('index.json', { manifests: [{ digest: `sha256:${'0'.repeat(64)}` }] })
    ],
    /other bytes than its name says/
  ]
])('refuses %s', async (_name, make, words) => {
  await expect(read(await make())).rejects.toThrow(words)
})

test('names of an archive are never paths of this host', async () => {
  const evil = `evil-${process.pid}`
  await read([
    { name: `../${evil}`, data: Buffer.from('x') },
    { name: `${root}/${evil}`, data: Buffer.from('x') },
    ...listed()
  ])
  expect(existsSync(join(root, evil))).toBe(false)
})
