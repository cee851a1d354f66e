import { createHash } from 'node:crypto'
import { Readable } from 'node:stream'
import { gzipSync } from 'node:zlib'
import { RegistryClient } from '#image/registry/client.ts'
import { pushImage } from '#image/registry/push.ts'
import { parseReference } from '#image/registry/reference.ts'
import { LOGIN } from './docker-registry.ts'
import { makeTar, type TestEntry } from './tar.ts'

const MANIFEST = 'application/vnd.docker.distribution.manifest.v2+json'
const LAYER = 'application/vnd.docker.image.rootfs.diff.tar.gzip'

export const sha256 = (bytes: Uint8Array) => `sha256:${createHash('sha256').update(bytes).digest('hex')}`

export interface TestLayer {
  bytes: Buffer
  tar: Buffer
  descriptor: { mediaType: string; digest: string; size: number }
  diffId: string
  createdBy: string
}

export interface TestImage {
  layers: TestLayer[]
  config: Buffer
  /** Of the config: the image's ID. */
  id: string
  manifest: Buffer
  digest: string
}

/** A layer as a Windows host makes it. */
export async function windowsLayer(createdBy: string, entries: readonly TestEntry[]): Promise<TestLayer> {
  const tar = await makeTar(entries)
  const bytes = gzipSync(tar)
  const descriptor = { mediaType: LAYER, digest: sha256(bytes), size: bytes.length }
  return { bytes, tar, descriptor, diffId: sha256(tar), createdBy }
}

/** Two layers that are known for Microsoft's by what the history says of them. Nobody must want their bytes. */
export async function microsoftLayers(version: string): Promise<TestLayer[]> {
  const folders: TestEntry[] = [{ name: `Files/not for you/${version}`, data: Buffer.from('Windows') }]
  return [
    await windowsLayer(`Apply image ${version.replace(/\d+$/, '1')}`, folders),
    await windowsLayer(`Install update ${version}`, [...folders, { name: 'Files/update' }])
  ]
}

/** An image of these layers; `config` is what `docker inspect` shows as Config. */
export function windowsImage(layers: TestLayer[], version: string, inner: object, more: object = {}): TestImage {
  const config = Buffer.from(
    JSON.stringify(
      {
        architecture: 'amd64',
        os: 'windows',
        'os.version': version,
        created: '2024-05-06T07:08:09.1234567Z',
        docker_version: '24.0.7',
        config: inner,
        history: [
          ...layers.map(({ createdBy }) => ({ created: '2024-05-06T07:08:09Z', created_by: createdBy })),
          { created: '2024-05-06T07:08:09Z', created_by: 'cmd /S /C #(nop)  CMD ["app"]', empty_layer: true }
        ],
        rootfs: { type: 'layers', diff_ids: layers.map(({ diffId }) => diffId) },
        ...more
      },
      null,
      2
    )
  )
  const manifest = Buffer.from(
    // With spaces as nobody else writes them, so that bytes are only equal if they are kept.
    `${JSON.stringify(
      {
        schemaVersion: 2,
        mediaType: MANIFEST,
        config: {
          mediaType: 'application/vnd.docker.container.image.v1+json',
          size: config.length,
          digest: sha256(config)
        },
        layers: layers.map(({ descriptor }) => descriptor)
      },
      null,
      1
    )}\n `
  )
  return { layers, config, id: sha256(config), manifest, digest: sha256(manifest) }
}

/** A client of a registry with the test's password. */
export function registryClient(host: string): RegistryClient {
  const signal = new AbortController().signal
  return new RegistryClient(host, { auth: LOGIN, insecure: [], mirrors: [], env: {}, signal, retryMs: 10 })
}

/** Puts an image into a registry as it is. `name` is with host and tag. */
export async function publish(name: string, image: TestImage): Promise<void> {
  const reference = parseReference(name)
  const client = registryClient(reference.registry)
  const descriptor = {
    mediaType: 'application/vnd.docker.container.image.v1+json',
    digest: image.id,
    size: image.config.length
  }
  try {
    await pushImage(
      reference,
      client,
      {
        mediaType: MANIFEST,
        manifest: image.manifest,
        config: { descriptor, bytes: image.config },
        layers: image.layers.map(({ bytes, diffId, descriptor }) => ({
          descriptor,
          diffId,
          open: () => Readable.from([bytes], { objectMode: false })
        }))
      },
      { progress: () => undefined, signal: new AbortController().signal }
    )
  } finally {
    await client.close()
  }
}
