import { createHash, randomBytes } from 'node:crypto'
import { gzipSync } from 'node:zlib'

export const sha256 = (bytes: Uint8Array) => `sha256:${createHash('sha256').update(bytes).digest('hex')}`

export interface SampleLayer {
  bytes: Buffer
  diffId: string
  descriptor: { mediaType: string; digest: string; size: number; urls?: string[] }
  createdBy: string
}

/** A layer of random bytes; what is in it is nothing to a registry. */
export function sampleLayer(size = 1000, createdBy = 'COPY a b'): SampleLayer {
  const tar = randomBytes(size)
  const bytes = gzipSync(tar, { level: 0 })
  const mediaType = 'application/vnd.docker.image.rootfs.diff.tar.gzip'
  return { bytes, diffId: sha256(tar), descriptor: { mediaType, digest: sha256(bytes), size: bytes.length }, createdBy }
}

export interface SampleImage {
  layers: SampleLayer[]
  config: Buffer
  configDescriptor: { mediaType: string; digest: string; size: number }
  manifest: Buffer
  mediaType: string
  digest: string
}

export const MANIFEST = 'application/vnd.docker.distribution.manifest.v2+json'
export const INDEX = 'application/vnd.docker.distribution.manifest.list.v2+json'

export function sampleImage(layers: SampleLayer[], more: object = {}): SampleImage {
  const config = Buffer.from(
    JSON.stringify({
      os: 'windows',
      architecture: 'amd64',
      'os.version': '10.0.20348.1487',
      rootfs: { type: 'layers', diff_ids: layers.map(({ diffId }) => diffId) },
      history: layers.flatMap(({ createdBy }) => [
        { created_by: createdBy },
        { created_by: 'ENV a=b', empty_layer: true }
      ]),
      config: {},
      ...more
    })
  )
  const configDescriptor = {
    mediaType: 'application/vnd.docker.container.image.v1+json',
    digest: sha256(config),
    size: config.length
  }
  const descriptors = layers.map(({ descriptor }) => descriptor)
  const manifest = manifestOf({ schemaVersion: 2, mediaType: MANIFEST, config: configDescriptor, layers: descriptors })
  return { layers, config, configDescriptor, manifest, mediaType: MANIFEST, digest: sha256(manifest) }
}

/** With spaces as nobody else writes them, so that bytes are only equal if they are kept. */
export function manifestOf(value: object): Buffer {
  return Buffer.from(`${JSON.stringify(value, null, 1)}\n `)
}

export function sampleIndex(entries: { image: SampleImage; platform: object }[]): Buffer {
  return manifestOf({
    schemaVersion: 2,
    mediaType: INDEX,
    manifests: entries.map(({ image, platform }) => ({
      mediaType: image.mediaType,
      digest: image.digest,
      size: image.manifest.length,
      platform
    }))
  })
}
