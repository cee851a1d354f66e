import { Readable, Transform } from 'node:stream'
import { isForeign } from './base-layers.ts'
import type { RegistryClient } from './client.ts'
import { digestOf, shortId } from './digest.ts'
import type { Descriptor } from './manifest.ts'
import { retryText, type TransferEvent } from './pull.ts'
import { canonicalName, type ImageReference, tagOrDigest } from './reference.ts'
import { RegistryFault } from './registry-fault.ts'
import { inParallel } from './transfers.ts'

/** A layer of an image that is pushed. */
export interface PushedLayer {
  descriptor: Descriptor
  /** The digest of its tar: docker shows its first digits. */
  diffId: string
  /** Its bytes, for each try anew. Without it (Microsoft's base) the registry has to have the layer, or to be able to do without. */
  open?: () => Readable
  /** A repository of the same registry that has it: `library/golang`. */
  mountFrom?: string
}

export interface PushedImage {
  mediaType: string
  /** Sent as they are. */
  manifest: Buffer
  config: { descriptor: Descriptor; bytes: Buffer }
  /** The lowest first. */
  layers: readonly PushedLayer[]
}

export interface PushOptions {
  progress: (event: TransferEvent) => void
  signal: AbortSignal
}

/** docker's own number. */
const AT_ONCE = 5
const TELL_MS = 100

/**
 * Sends what a registry lacks of an image, and then its manifest, under the tag of the reference. Gives the digest and the
 * bytes of the manifest. RegistryFault in docker's words.
 */
export async function pushImage(
  reference: ImageReference,
  client: RegistryClient,
  image: PushedImage,
  { progress, signal }: PushOptions
): Promise<{ tag: string; digest: string; size: number }> {
  const { repository } = reference
  progress({ id: '', status: `The push refers to repository [${canonicalName(reference)}]` })
  // docker begins with the uppermost one.
  const layers = new Map([...image.layers].reverse().map(layer => [layer.descriptor.digest, layer]))
  for (const { diffId } of layers.values()) progress({ id: shortId(diffId), status: 'Preparing' })
  for (const { diffId } of [...layers.values()].slice(AT_ONCE)) progress({ id: shortId(diffId), status: 'Waiting' })
  await inParallel([...layers.values()], AT_ONCE, signal, (layer, inner) =>
    pushLayer(repository, layer, client, progress, inner)
  )
  const { descriptor, bytes } = image.config
  await client.pushBlob(repository, descriptor, () => Readable.from([bytes], { objectMode: false }), undefined, {
    signal
  })
  const tag = tagOrDigest(reference)
  const digest = digestOf(image.manifest)
  await client.pushManifest(repository, tag, image.mediaType, image.manifest, { signal })
  progress({ id: '', status: `${tag}: digest: ${digest} size: ${image.manifest.length}` })
  return { tag, digest, size: image.manifest.length }
}

async function pushLayer(
  repository: string,
  { descriptor, diffId, open, mountFrom }: PushedLayer,
  client: RegistryClient,
  progress: (event: TransferEvent) => void,
  signal: AbortSignal
): Promise<void> {
  const id = shortId(diffId)
  if (open === undefined) {
    progress({ id, status: await findBase(repository, descriptor, mountFrom, client, signal) })
    return
  }
  const counted = () =>
    countBytes(open(), bytes => progress({ id, status: 'Pushing', current: bytes, total: descriptor.size }))
  const onRetry = (seconds: number) => progress({ id, status: retryText(seconds) })
  const how = await client.pushBlob(repository, descriptor, counted, mountFrom, { signal, onRetry })
  progress({
    id,
    status: { exists: 'Layer already exists', mounted: `Mounted from ${mountFrom}`, uploaded: 'Pushed' }[how]
  })
}

/** What becomes of a layer that nobody here has the bytes of. */
async function findBase(
  repository: string,
  { digest, mediaType }: Descriptor,
  mountFrom: string | undefined,
  client: RegistryClient,
  signal: AbortSignal
): Promise<string> {
  if (await client.hasBlob(repository, digest, { signal })) return 'Layer already exists'
  if (mountFrom !== undefined && (await client.mountBlob(repository, digest, mountFrom, { signal }))) {
    return `Mounted from ${mountFrom}`
  }
  if (isForeign(mediaType)) return 'Skipped foreign layer'
  throw new RegistryFault(`the base layer ${digest} is not in ${repository}, and it was never fetched`, {
    hint: 'Push an image with the same base to this repository from a Windows host once, or use a registry that has it.'
  })
}

function countBytes(stream: Readable, onBytes: (bytes: number) => void): Readable {
  let bytes = 0
  let told = 0
  const counter = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      bytes += chunk.length
      const now = Date.now()
      if (now - told >= TELL_MS) {
        told = now
        onBytes(bytes)
      }
      done(null, chunk)
    }
  })
  stream.on('error', error => counter.destroy(error))
  counter.on('close', () => stream.destroy())
  return stream.pipe(counter)
}
