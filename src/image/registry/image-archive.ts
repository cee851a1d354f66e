import { createHash } from 'node:crypto'
import { createReadStream, createWriteStream } from 'node:fs'
import { readFile, stat } from 'node:fs/promises'
import { join, posix } from 'node:path'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { createGzip } from 'node:zlib'
import { extract } from 'tar-stream'
import { compressionOf } from '#image/layer/decompress.ts'
import { explainWriteError } from '#lib/disk-room.ts'
import { Fault, messageOf } from '#lib/fault.ts'
import { type OwnLayer, splitBase } from './base-layers.ts'
import type { BlobStore } from './blob-store.ts'
import { digestOf, parseDigest } from './digest.ts'
import {
  checkWindows,
  type Descriptor,
  type ImageConfig,
  type ImageManifest,
  parseConfig,
  parseManifest
} from './manifest.ts'
import { familiarString, parseReference } from './reference.ts'
import { RegistryFault } from './registry-fault.ts'

/** An image of an archive. Its manifest, its config and the layers of its own are in the store. */
export interface ArchiveImage {
  /** As docker prints them. */
  tags: string[]
  manifestDigest: string
  config: ImageConfig & { digest: string; bytes: Buffer }
  own: readonly OwnLayer[]
}

const MOST_FILES = 100_000
const MOST_JSON = 8 * 1024 * 1024
const MANIFEST = 'application/vnd.docker.distribution.manifest.v2+json'
const CONFIG = 'application/vnd.docker.container.image.v1+json'
const PLAIN_LAYER = 'application/vnd.docker.image.rootfs.diff.tar'
const MOST_IMAGES = 1000

/** The files of an archive, by the names that they have there. */
export type Files = Map<string, string>

/** What either form of archive says of an image. */
interface Listed {
  config: Buffer
  tags: string[]
  /** Where each layer is in the archive, the lowest first. */
  layers: string[]
  /** The manifest as a registry would have it, where the archive has one. */
  manifest: Buffer | undefined
  /** Layers of others, by the digest of their tar. */
  sources: Readonly<Record<string, Descriptor>>
}

/**
 * Reads what `docker save` writes (moby, image/tarexport) or an OCI layout (image-spec, image-layout.md), a tar without
 * compression, and keeps what a registry would give of its images. `folder` is empty, and for the caller to remove: the order
 * of an archive does not let anyone know early what is wanted. Faults in docker's words; nothing of an archive that is wrong
 * has a name.
 */
export async function readImageArchive(
  stream: Readable,
  folder: string,
  store: BlobStore,
  signal: AbortSignal
): Promise<ArchiveImage[]> {
  const files = await unpackArchive(stream, folder, signal)
  const listed = files.has('manifest.json') ? await dockerImages(files) : await layoutImages(files)
  const images: ArchiveImage[] = []
  for (const image of listed) images.push(await keep(image, files, store))
  return images
}

/** The files of a tar, written into a folder. They get numbers for names, so that no name of an archive is ever a path here. */
export async function unpackArchive(stream: Readable, folder: string, signal: AbortSignal): Promise<Files> {
  const files: Files = new Map()
  const links = new Map<string, string>()
  const reader = extract()
  stream.once('error', error => reader.destroy(error))
  stream.pipe(reader)
  let count = 0
  try {
    for await (const entry of reader) {
      const { name, type, linkname } = entry.header
      count += 1
      if (count > MOST_FILES) throw new Fault(`the archive has more than ${MOST_FILES} files`)
      const path = posix.normalize(name).replace(/^\.\//, '')
      // Docker makes a link of a layer that it has written before.
      if (type === 'symlink' || type === 'link') {
        const target = type === 'link' ? (linkname ?? '') : posix.join(posix.dirname(path), linkname ?? '')
        links.set(path, posix.normalize(target))
      }
      if (type === 'file') {
        const file = join(folder, String(count))
        await pipeline(entry as unknown as Readable, createWriteStream(file, { mode: 0o600 }), { signal })
        files.set(path, file)
      } else entry.resume()
    }
  } catch (error) {
    if (error instanceof Fault || signal.aborted) throw error
    const explained = explainWriteError(error, folder)
    throw explained instanceof Fault
      ? explained
      : new Fault(`the archive is damaged: ${messageOf(error)}`, { cause: error })
  }
  for (const [from, to] of links) {
    const file = files.get(to)
    if (file !== undefined) files.set(from, file)
  }
  return files
}

async function dockerImages(files: Files): Promise<Listed[]> {
  const entries = await readJson(files, 'manifest.json')
  if (!Array.isArray(entries) || entries.length > MOST_IMAGES) throw new Fault('invalid manifest.json in the archive')
  const manifests = await manifestsOf(files)
  const images: Listed[] = []
  for (const entry of entries.map(objectOf)) {
    const config = await readSmall(files, textOf(entry.Config))
    images.push({
      config,
      tags: textsOf(entry.RepoTags).map(tag => familiarString(parseReference(tag))),
      layers: textsOf(entry.Layers).map(name => posix.normalize(name)),
      manifest: manifests.find(({ manifest }) => manifest.config.digest === digestOf(config, manifest.config.digest))
        ?.bytes,
      sources: sourcesOf(entry.LayerSources)
    })
  }
  return images
}

async function layoutImages(files: Files): Promise<Listed[]> {
  if (!files.has('index.json')) throw new Fault('open manifest.json: no such file in the archive', { exitCode: 2 })
  const images: Listed[] = []
  for (const { bytes, manifest, tags } of await manifestsOf(files)) {
    const config = await readSmall(files, blobName(manifest.config.digest))
    // Of an index for many systems the others are not for this one.
    if (parseConfig(config).os.toLowerCase() !== 'windows') continue
    const layers = manifest.layers.map(({ digest }) => blobName(digest))
    images.push({ config, tags: [...tags], layers, manifest: bytes, sources: {} })
  }
  if (images.length === 0)
    throw new RegistryFault('no matching manifest for windows/amd64 in the archive', { status: 404 })
  return images
}

interface LayoutManifest {
  bytes: Buffer
  manifest: ImageManifest
  tags: Set<string>
}

/** The manifests below `index.json`, those of its indexes included, whose bytes are in the archive. */
async function manifestsOf(files: Files): Promise<LayoutManifest[]> {
  if (!files.has('index.json')) return []
  // What is below each blob, which is read once: a few indexes that name each other a thousand times are millions of reads.
  const known = new Map<string, ReadonlySet<LayoutManifest>>()
  const below = async (digest: string, mediaType: string, depth: number): Promise<ReadonlySet<LayoutManifest>> => {
    const before = known.get(digest)
    if (before !== undefined) return before
    const found = new Set<LayoutManifest>()
    known.set(digest, found)
    const name = blobName(digest)
    if (!files.has(name)) return found
    const bytes = await readSmall(files, name)
    if (digestOf(bytes, digest) !== digest) throw new Fault(`${name} of the archive has other bytes than its name says`)
    const parsed = parseManifest(mediaType, bytes)
    if (parsed.kind === 'image') return found.add({ bytes, manifest: parsed, tags: new Set() })
    for (const entry of depth < 2 ? parsed.manifests.slice(0, MOST_IMAGES) : []) {
      for (const image of await below(entry.digest, entry.mediaType, depth + 1)) found.add(image)
    }
    return found
  }
  const { manifests } = objectOf(await readJson(files, 'index.json'))
  const images = new Set<LayoutManifest>()
  for (const entry of (Array.isArray(manifests) ? manifests : []).slice(0, MOST_IMAGES).map(objectOf)) {
    const tags = tagOf(objectOf(entry.annotations))
    for (const image of await below(textOf(entry.digest), textOf(entry.mediaType), 0)) {
      images.add(image)
      for (const tag of tags) image.tags.add(tag)
    }
  }
  return [...images]
}

function tagOf(annotations: Record<string, unknown>): string[] {
  const name = textOf(annotations['io.containerd.image.name'])
  return name === '' ? [] : [familiarString(parseReference(name))]
}

async function keep(listed: Listed, files: Files, store: BlobStore): Promise<ArchiveImage> {
  const parsed = parseConfig(listed.config)
  if (parsed.os.toLowerCase() !== 'windows') {
    throw new RegistryFault(`image operating system "${parsed.os || 'linux'}" cannot be used on this platform`, {
      status: 400
    })
  }
  checkWindows(parsed, Number.POSITIVE_INFINITY)
  if (listed.layers.length !== parsed.diffIds.length) {
    throw new Fault(
      'invalid manifest, layers length mismatch: the archive and the config of an image do not belong together'
    )
  }
  const manifestBytes = listed.manifest ?? (await makeManifest(listed, parsed, files))
  const manifest = parseManifest('', manifestBytes)
  if (manifest.kind !== 'image') throw new Fault('invalid manifest in the archive')
  const { own } = splitBase(manifest, parsed)
  const height = manifest.layers.length - own.length
  for (const [at, { descriptor }] of own.entries()) {
    const file = files.get(blobName(descriptor.digest)) ?? files.get(listed.layers[height + at] ?? '')
    if (file === undefined) throw new Fault(`the archive has no layer ${descriptor.digest}`)
    await store.put(descriptor, async from => createReadStream(file, { start: from }))
  }
  const bytes = listed.config
  const digest = manifest.config.digest
  await store.put({ digest, size: bytes.length }, async from => readableOf(bytes.subarray(from)))
  const manifestDigest = digestOf(manifestBytes)
  await store.put({ digest: manifestDigest, size: manifestBytes.length }, async from =>
    readableOf(manifestBytes.subarray(from))
  )
  return { tags: listed.tags, manifestDigest, config: { ...parsed, digest, bytes }, own }
}

function readableOf(bytes: Buffer): Readable {
  return Readable.from([bytes], { objectMode: false })
}

/** The manifest that docker would push such an image with: layers that come as plain tars are compressed. */
async function makeManifest(listed: Listed, config: ImageConfig, files: Files): Promise<Buffer> {
  const layers: Descriptor[] = []
  // What is Microsoft's is told by the history, so no bytes of it are read.
  const named = config.diffIds.map(digest => listed.sources[digest] ?? { mediaType: PLAIN_LAYER, digest, size: 0 })
  const empty = { kind: 'image', mediaType: MANIFEST, config: { mediaType: CONFIG, digest: '', size: 0 } } as const
  const base = splitBase({ ...empty, layers: named }, config).base.length
  for (const [at, diffId] of config.diffIds.entries()) {
    const name = listed.layers[at] ?? ''
    const file = files.get(name)
    const source = listed.sources[diffId]
    if (at < base && source !== undefined) layers.push(source)
    else if (at < base) {
      layers.push({ mediaType: PLAIN_LAYER, digest: diffId, size: file === undefined ? 0 : (await stat(file)).size })
    } else if (file === undefined) throw new Fault(`the archive has no layer ${name}`)
    else layers.push(await compressedLayer(file, files))
  }
  const described = { mediaType: CONFIG, size: listed.config.length, digest: digestOf(listed.config) }
  return Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: MANIFEST, config: described, layers }))
}

async function compressedLayer(file: string, files: Files): Promise<Descriptor> {
  const packed = await compressionOf(file)
  const bytes = packed === undefined ? `${file}.gz` : file
  if (packed === undefined)
    await pipeline(createReadStream(file), createGzip(), createWriteStream(bytes, { mode: 0o600 }))
  const hash = createHash('sha256')
  for await (const chunk of createReadStream(bytes)) hash.update(chunk as Buffer)
  const digest = `sha256:${hash.digest('hex')}`
  files.set(blobName(digest), bytes)
  return { mediaType: `${PLAIN_LAYER}.${packed ?? 'gzip'}`, digest, size: (await stat(bytes)).size }
}

/** Descriptors of layers that are not the image's own. */
function sourcesOf(value: unknown): Record<string, Descriptor> {
  const sources: Record<string, Descriptor> = {}
  for (const [diffId, source] of Object.entries(objectOf(value))) {
    const { mediaType, digest, size, urls } = objectOf(source)
    if (typeof digest !== 'string' || typeof size !== 'number' || !Number.isSafeInteger(size) || size < 0) continue
    parseDigest(digest)
    const links = textsOf(urls)
    sources[diffId] = { mediaType: textOf(mediaType), digest, size, ...(links.length > 0 ? { urls: links } : {}) }
  }
  return sources
}

/** Where a layout has a blob; a name that is in no archive for what is no digest. */
function blobName(digest: string): string {
  return `blobs/${digest.replace(':', '/')}`
}

async function readSmall(files: Files, name: string): Promise<Buffer> {
  const file = files.get(posix.normalize(name))
  if (file === undefined) throw new Fault(`the archive has no ${name.slice(0, 200)}`)
  if ((await stat(file)).size > MOST_JSON) throw new Fault(`${name.slice(0, 200)} of the archive is longer than 8 MiB`)
  return await readFile(file)
}

async function readJson(files: Files, name: string): Promise<unknown> {
  try {
    return JSON.parse((await readSmall(files, name)).toString('utf8'))
  } catch (error) {
    throw error instanceof Fault ? error : new Fault(`${name} of the archive is no JSON`, { cause: error })
  }
}

function objectOf(value: unknown): Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Record<string, unknown>) : {}
}

function textOf(value: unknown): string {
  return typeof value === 'string' ? value : ''
}

function textsOf(value: unknown): string[] {
  return Array.isArray(value) ? value.filter(text => typeof text === 'string') : []
}
