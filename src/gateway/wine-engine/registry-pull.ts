import { EngineError } from '#docker/engine.ts'
import { originalImage, playableBuilds, releaseFor } from '#image/origin.ts'
import type { RegistryAuth } from '#image/registry/auth.ts'
import type { BlobStore } from '#image/registry/blob-store.ts'
import { shortId } from '#image/registry/digest.ts'
import { type FetchedImage, fetchImage, type TransferEvent } from '#image/registry/pull.ts'
import { familiarName, familiarString, type ImageReference } from '#image/registry/reference.ts'
import type { WineContext } from './context.ts'
import { digestTag } from './digest-tag.ts'
import { layLayers, removeLeftovers } from './layer-chain.ts'
import { nameImage, originalOnEngine } from './original-image.ts'
import { Refusal } from './refusal.ts'
import { withRegistry } from './registry-access.ts'
import { lookUpImage } from './windows-images.ts'

export interface PullOptions {
  auth: RegistryAuth | undefined
  progress: (event: TransferEvent) => void
  signal: AbortSignal
}

/** As often as another machine's `rmi` may take away what is being used. */
const MOST_TRIES = 3
const TELL_MS = 100

/**
 * Pulls an image from its registry: what it brings is kept as it came, and laid over the Wine base under its own name. Gives
 * whether the name means another image than before. RegistryFault and Refusal in docker's words.
 */
export async function pullImage(
  context: WineContext,
  reference: ImageReference,
  options: PullOptions
): Promise<{ digest: string; fresh: boolean }> {
  const name = familiarString(reference)
  const before = await lookUpImage(context, name)
  if (before === 'linux') {
    throw new Refusal(`the Docker engine has a Linux image named ${name}; remove or rename it there first`, 409)
  }
  await removeLeftovers(context)
  context.images.pulling += 1
  try {
    const { digest, image } = await fetchAndLay(context, reference, options)
    return { digest, fresh: before?.inspect.Id !== image }
  } finally {
    context.images.pulling -= 1
  }
}

async function fetchAndLay(
  context: WineContext,
  reference: ImageReference,
  options: PullOptions
): Promise<{ digest: string; image: string }> {
  const blobs = await context.images.blobs()
  const { auth, progress, signal } = options
  return await withRegistry(context, reference, auth, signal, async client => {
    for (let tries = 1; ; tries += 1) {
      const fetched = await fetchImage(reference, client, blobs, { ...playableBuilds(), progress, signal })
      try {
        const image = await layImage(context, fetched, blobs, options)
        if (tries < MOST_TRIES && !(await isWhole(blobs, fetched))) continue
        const fixed = digestTag(`${familiarName(reference)}@${fetched.repoDigest}`)
        const tags = [
          ...(reference.digest === undefined ? [familiarString(reference)] : []),
          ...(fixed === undefined ? [] : [fixed])
        ]
        await nameImage(context, image, tags)
        return { digest: fetched.repoDigest, image }
      } catch (error) {
        const taken = (error instanceof EngineError && error.status === 404) || !(await isWhole(blobs, fetched))
        if (tries >= MOST_TRIES || !taken) throw error
      }
    }
  })
}

async function isWhole(blobs: BlobStore, { manifestDigest, config, own }: FetchedImage): Promise<boolean> {
  const digests = [manifestDigest, config.digest, ...own.map(({ descriptor }) => descriptor.digest)]
  return (await Promise.all(digests.map(digest => blobs.has(digest)))).every(Boolean)
}

/** Gives the engine's image. */
async function layImage(
  context: WineContext,
  { config, manifestDigest, own }: FetchedImage,
  blobs: BlobStore,
  { progress, signal }: PullOptions
): Promise<string> {
  let told = 0
  const layers = own.map(({ descriptor, diffId }) => ({
    descriptor,
    diffId,
    open: () => blobs.open(descriptor.digest)
  }))
  const laid = await layLayers(context, releaseFor(config.osVersion).tag, layers, {
    signal,
    tell: (at, what) => {
      const { descriptor } = layers[at] ?? {}
      const id = shortId(descriptor?.digest ?? '')
      if (typeof what === 'string') progress({ id, status: what === 'done' ? 'Pull complete' : 'Already exists' })
      else if (Date.now() - told >= TELL_MS || what.current === descriptor?.size) {
        told = Date.now()
        progress({ id, status: 'Extracting', current: what.current, total: descriptor?.size ?? 0 })
      }
    }
  })
  const origin = { id: config.digest, manifest: manifestDigest, config: config.bytes.toString('utf8') }
  return await originalOnEngine(context, laid, originalImage(config, origin, laid.folders))
}
