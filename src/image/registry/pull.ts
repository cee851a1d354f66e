import { Readable } from 'node:stream'
import { checkAborted } from '#lib/wait.ts'
import { type OwnLayer, splitBase } from './base-layers.ts'
import type { BlobStore } from './blob-store.ts'
import type { FetchedManifest, RegistryClient } from './client.ts'
import { digestOf, shortId } from './digest.ts'
import {
  checkWindows,
  chooseWindows,
  type Descriptor,
  type ImageConfig,
  type ImageManifest,
  parseConfig,
  parseManifest
} from './manifest.ts'
import { familiarName, type ImageReference, tagOrDigest } from './reference.ts'
import { RegistryFault, UnfitImage } from './registry-fault.ts'
import { inParallel } from './transfers.ts'

/** What docker prints while it pulls or pushes: `id` is empty for lines of their own; bytes where there is a bar. */
export interface TransferEvent {
  id: string
  status: string
  current?: number
  total?: number
}

export interface FetchOptions {
  /** The newest Windows that can be stood in for: `20348`. */
  maxBuild: number
  /** The build to take rather than a newer one. */
  preferBuild?: number
  progress: (event: TransferEvent) => void
  signal: AbortSignal
}

/** An image of a registry. Its manifests, its config and the layers of its own are in the store. */
export interface FetchedImage {
  reference: ImageReference
  /** Of the manifest of this one image. */
  manifestDigest: string
  /** Of what the reference names, which may be an index: what docker shows in RepoDigests. */
  repoDigest: string
  manifest: ImageManifest
  manifestBytes: Buffer
  /** `digest` is the image's ID. */
  config: ImageConfig & { digest: string; bytes: Buffer }
  /** Microsoft's layers, which have not been fetched. */
  base: readonly Descriptor[]
  own: readonly OwnLayer[]
}

/** docker's own number. */
const AT_ONCE = 3
const MOST_CONFIG = 8 * 1024 * 1024
/** docker tells of a layer about ten times a second. */
const TELL_MS = 100

/**
 * Fetches an image into the store: of an index the one for Windows, of its layers those that are not Microsoft's. Layers that
 * are there already are not fetched again. RegistryFault in docker's words; what came before it stays for the next try.
 */
export async function fetchImage(
  reference: ImageReference,
  client: RegistryClient,
  store: BlobStore,
  options: FetchOptions
): Promise<FetchedImage> {
  const { maxBuild, progress, signal } = options
  const top = await client.manifest(reference, { signal })
  progress({ id: tagOrDigest(reference), status: `Pulling from ${familiarName(reference)}` })
  const { fetched, manifest } = await imageOf(reference, top, client, options)
  const bytes = await fetchConfig(reference.repository, manifest.config, client, store, signal)
  const config = parseConfig(bytes)
  checkWindows(config, maxBuild)
  const { base, own } = splitBase(manifest, config)
  await fetchLayers(reference.repository, base, own, client, store, options)
  await keep(store, { digest: manifest.config.digest, bytes })
  // Last, so that a manifest in the store stands for a whole image.
  await keep(store, fetched)
  if (top.digest !== fetched.digest) await keep(store, top)
  return {
    reference,
    manifestDigest: fetched.digest,
    repoDigest: top.digest,
    manifest,
    manifestBytes: fetched.bytes,
    config: { ...config, digest: manifest.config.digest, bytes },
    base,
    own
  }
}

/** Fetches what a registry says of an image, and none of its layers: for Microsoft's bases, which images are pushed on. */
export async function fetchImageFacts(
  reference: ImageReference,
  client: RegistryClient,
  store: BlobStore,
  options: FetchOptions
): Promise<{ manifest: ImageManifest; config: ImageConfig }> {
  const top = await client.manifest(reference, { signal: options.signal })
  const { manifest } = await imageOf(reference, top, client, options)
  const config = parseConfig(await fetchConfig(reference.repository, manifest.config, client, store, options.signal))
  checkWindows(config, options.maxBuild)
  return { manifest, config }
}

async function keep(store: BlobStore, { digest, bytes }: { digest: string; bytes: Buffer }): Promise<void> {
  const source = async (from: number) => Readable.from([bytes.subarray(from)], { objectMode: false })
  await store.put({ digest, size: bytes.length }, source)
}

/** The manifest of the one image, after an index where there is one. */
async function imageOf(
  reference: ImageReference,
  top: FetchedManifest,
  client: RegistryClient,
  options: FetchOptions
): Promise<{ fetched: FetchedManifest; manifest: ImageManifest }> {
  const parsed = parseManifest(top.mediaType, top.bytes)
  if (parsed.kind === 'image') return { fetched: top, manifest: parsed }
  const { digest, size, mediaType } = chooseWindows(parsed, options)
  const { registry, repository } = reference
  const fetched = await client.manifest({ registry, repository, digest }, { signal: options.signal })
  if (fetched.bytes.length !== size) {
    throw new RegistryFault(`manifest ${digest} has ${fetched.bytes.length} bytes, and the index says ${size}`)
  }
  const manifest = parseManifest(fetched.mediaType || mediaType, fetched.bytes)
  if (manifest.kind !== 'image') throw new UnfitImage('unsupported manifest format', { status: 400 })
  return { fetched, manifest }
}

async function fetchConfig(
  repository: string,
  descriptor: Descriptor,
  client: RegistryClient,
  store: BlobStore,
  signal: AbortSignal
): Promise<Buffer> {
  const { digest, size } = descriptor
  if (size > MOST_CONFIG)
    throw new RegistryFault(`the image configuration has ${size} bytes, and 8 MiB are read at most`)
  if (await store.has(digest)) return store.read(digest, MOST_CONFIG)
  const chunks: Buffer[] = []
  const stream = await client.blob(repository, descriptor, 0, { signal })
  for await (const chunk of stream) chunks.push(chunk as Buffer)
  const bytes = Buffer.concat(chunks)
  if (digestOf(bytes, digest) === digest) return bytes
  throw new RegistryFault(`error pulling image configuration: image config verification failed for digest ${digest}`)
}

async function fetchLayers(
  repository: string,
  base: readonly Descriptor[],
  own: readonly OwnLayer[],
  client: RegistryClient,
  store: BlobStore,
  { progress, signal }: FetchOptions
): Promise<void> {
  for (const { digest } of base) progress({ id: shortId(digest), status: 'Already exists' })
  // An image can have the same layer twice.
  const layers = new Map(own.map(({ descriptor }) => [descriptor.digest, descriptor]))
  const missing: Descriptor[] = []
  for (const layer of layers.values()) {
    const there = await store.has(layer.digest)
    progress({ id: shortId(layer.digest), status: there ? 'Already exists' : 'Pulling fs layer' })
    if (!there) missing.push(layer)
  }
  for (const { digest } of missing.slice(AT_ONCE)) progress({ id: shortId(digest), status: 'Waiting' })
  await inParallel(missing, AT_ONCE, signal, (layer, inner) =>
    fetchLayer(repository, layer, client, store, progress, inner)
  )
}

async function fetchLayer(
  repository: string,
  layer: Descriptor,
  client: RegistryClient,
  store: BlobStore,
  progress: (event: TransferEvent) => void,
  signal: AbortSignal
): Promise<void> {
  const id = shortId(layer.digest)
  const onRetry = (seconds: number) => progress({ id, status: retryText(seconds) })
  let told = 0
  const onProgress = (current: number, total: number) => {
    const now = Date.now()
    if (current < total && now - told < TELL_MS) return
    told = now
    progress({ id, status: 'Downloading', current, total })
    if (current === total) progress({ id, status: 'Verifying Checksum' })
  }
  await store.put(layer, from => client.blob(repository, layer, from, { signal, onRetry }), onProgress, signal)
  checkAborted(signal)
  progress({ id, status: 'Download complete' })
}

/** docker's own words before a pause. */
export function retryText(seconds: number): string {
  const whole = Math.max(1, Math.round(seconds))
  return `Retrying in ${whole} second${whole === 1 ? '' : 's'}`
}
