import type { Readable } from 'node:stream'
import { type OwnLayer, splitBase } from '#image/registry/base-layers.ts'
import type { BlobStore } from '#image/registry/blob-store.ts'
import { shortId } from '#image/registry/digest.ts'
import {
  type Descriptor,
  type ImageConfig,
  type ImageManifest,
  parseConfig,
  parseManifest
} from '#image/registry/manifest.ts'
import type { ImageOrigin } from '#image/windows-config.ts'
import { Refusal } from './refusal.ts'

const MOST_MANIFEST = 4 * 1024 * 1024
const MOST_CONFIG = 8 * 1024 * 1024

/** An image as bytes, as a registry or an archive has it. */
export interface ImageBytes {
  manifest: ImageManifest
  manifestBytes: Buffer
  manifestDigest: string
  config: ImageConfig
  configBytes: Buffer
  /** Microsoft's layers, whose bytes nobody here has. */
  base: readonly Descriptor[]
  /** Digests of the tars of those. */
  baseDiffIds: readonly string[]
  own: readonly (OwnLayer & { open: () => Readable })[]
}

/** The bytes that an original came as. A Refusal when they are not all here, as on an engine that others pull to. */
export async function originalBytes(blobs: BlobStore, origin: ImageOrigin): Promise<ImageBytes> {
  await need(blobs, origin.manifest, 'manifest')
  const manifestBytes = await blobs.read(origin.manifest, MOST_MANIFEST)
  const manifest = parseManifest('', manifestBytes)
  if (manifest.kind !== 'image') throw new Refusal(`${origin.manifest} is no manifest of an image`, 500)
  await need(blobs, origin.id, 'config')
  const configBytes = await blobs.read(origin.id, MOST_CONFIG)
  const config = parseConfig(configBytes)
  const { base, own } = splitBase(manifest, config)
  for (const { descriptor } of own) await need(blobs, descriptor.digest, `layer ${shortId(descriptor.digest)}`)
  return {
    manifest,
    manifestBytes,
    manifestDigest: origin.manifest,
    config,
    configBytes,
    base,
    baseDiffIds: config.diffIds.slice(0, base.length),
    own: own.map(layer => ({ ...layer, open: () => blobs.open(layer.descriptor.digest) }))
  }
}

async function need(blobs: BlobStore, digest: string, what: string): Promise<void> {
  if (await blobs.has(digest)) return
  throw new Refusal(
    `the ${what} of this image is not on this computer, as it came from the registry: pull the image again`,
    404
  )
}
