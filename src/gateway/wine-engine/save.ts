import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { pack } from 'tar-stream'
import type { Handling } from '#gateway/proxy/handling.ts'
import type { Route } from '#gateway/routes.ts'
import { splitReference } from '#image/bases.ts'
import { parseDigest } from '#image/registry/digest.ts'
import { canonicalName, parseReference } from '#image/registry/reference.ts'
import type { WineContext } from './context.ts'
import { stringOf } from './json.ts'
import type { ImageBytes } from './original-bytes.ts'
import { tagsOf } from './original-image.ts'
import { bytesOf } from './push.ts'
import { findImage, isHidden, listImages } from './windows-images.ts'

/**
 * `docker save`: an archive that is docker's and an OCI layout at once, with the bytes that the registry gave. Microsoft's
 * layers are not in it, since nobody here has them: docker takes those that it has by what the config says.
 */
export function saveRoutes(context: WineContext): Route[] {
  return [
    { method: 'GET', template: '/images/get', action: ({ query }) => save(context, query.getAll('names')) },
    { method: 'GET', template: '/images/{name}/get', action: ({ params }) => save(context, [params.name ?? '']) }
  ]
}

interface SavedImage {
  bytes: ImageBytes
  tags: string[]
}

function save(context: WineContext, names: readonly string[]): Handling {
  return {
    kind: 'handle',
    async handler(_request, response) {
      const gone = new AbortController()
      response.once('close', () => gone.abort())
      const images = await savedImages(context, names, gone.signal)
      response.writeHead(200, { 'Content-Type': 'application/x-tar' })
      await pipeline(Readable.from(archiveOf(images)), response)
    }
  }
}

/** The images of these names, each once with all of its names among them. A name without a tag is all of its tags. */
async function savedImages(context: WineContext, names: readonly string[], signal: AbortSignal): Promise<SavedImage[]> {
  const all = (await listImages(context)).flatMap(tagsOf).filter(tag => !isHidden(tag))
  const images = new Map<string, SavedImage>()
  for (const name of names) {
    const { repository, tag, digest } = splitReference(name)
    const own = all.filter(each => splitReference(each).repository === repository)
    for (const each of tag === undefined && digest === undefined && own.length > 0 ? own : [name]) {
      const found = await findImage(context, each)
      const id = stringOf(found.inspect.Id)
      const image = images.get(id) ?? { bytes: await bytesOf(context, found, signal), tags: [] }
      images.set(id, image)
      if (all.includes(each) && !image.tags.includes(each)) image.tags.push(each)
    }
  }
  return [...images.values()]
}

/** The bytes of the archive. */
async function* archiveOf(images: readonly SavedImage[]): AsyncGenerator<Buffer> {
  const tar = pack()
  const filled = fill(tar, images).then(
    () => tar.finalize(),
    (error: Error) => tar.destroy(error)
  )
  yield* tar as unknown as AsyncIterable<Buffer>
  await filled
}

type Pack = ReturnType<typeof pack>

async function fill(tar: Pack, images: readonly SavedImage[]): Promise<void> {
  const written = new Set<string>()
  const add = async (digest: string, size: number, open: () => Readable): Promise<void> => {
    if (written.has(digest)) return
    written.add(digest)
    await pipeline(
      open(),
      tar.entry({ name: blobName(digest), size, mtime: new Date(0) }) as unknown as NodeJS.WritableStream
    )
  }
  const text = (name: string, value: unknown): void => {
    tar.entry({ name, mtime: new Date(0) }, JSON.stringify(value))
  }
  for (const { bytes } of images) {
    const whole = (buffer: Buffer) => () => Readable.from([buffer], { objectMode: false })
    await add(bytes.manifest.config.digest, bytes.configBytes.length, whole(bytes.configBytes))
    await add(bytes.manifestDigest, bytes.manifestBytes.length, whole(bytes.manifestBytes))
    for (const { descriptor, open } of bytes.own) await add(descriptor.digest, descriptor.size, open)
  }
  text('index.json', {
    schemaVersion: 2,
    mediaType: 'application/vnd.oci.image.index.v1+json',
    manifests: images.flatMap(indexEntries)
  })
  text('manifest.json', images.map(dockerEntry))
  text('oci-layout', { imageLayoutVersion: '1.0.0' })
}

/** OCI image-spec, image-layout.md; the annotations are those by which docker finds names. */
function indexEntries({ bytes, tags }: SavedImage): object[] {
  const { os, architecture, osVersion } = bytes.config
  const entry = {
    mediaType: bytes.manifest.mediaType,
    digest: bytes.manifestDigest,
    size: bytes.manifestBytes.length,
    platform: { architecture, os, ...(osVersion === '' ? {} : { 'os.version': osVersion }) }
  }
  if (tags.length === 0) return [entry]
  return tags.map(name => {
    const reference = parseReference(name)
    const tag = reference.tag ?? 'latest'
    return {
      ...entry,
      annotations: {
        'io.containerd.image.name': `${canonicalName(reference)}:${tag}`,
        'org.opencontainers.image.ref.name': tag
      }
    }
  })
}

/** An image in docker's own `manifest.json`. */
function dockerEntry({ bytes, tags }: SavedImage): object {
  return {
    Config: blobName(bytes.manifest.config.digest),
    RepoTags: tags.length === 0 ? null : tags,
    Layers: bytes.manifest.layers.map(({ digest }) => blobName(digest)),
    LayerSources: Object.fromEntries(bytes.base.map((descriptor, at) => [bytes.baseDiffIds[at], descriptor]))
  }
}

function blobName(digest: string): string {
  const { algorithm, hex } = parseDigest(digest)
  return `blobs/${algorithm}/${hex}`
}
