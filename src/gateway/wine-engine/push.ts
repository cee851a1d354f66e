import type { Handling } from '#gateway/proxy/handling.ts'
import type { Route, RouteMatch } from '#gateway/routes.ts'
import { splitReference } from '#image/bases.ts'
import type { RegistryAuth } from '#image/registry/auth.ts'
import { type PushedImage, pushImage } from '#image/registry/push.ts'
import { familiarName, familiarString, type ImageReference, parseReference } from '#image/registry/reference.ts'
import { builtOrigin } from './built-image.ts'
import type { WineContext } from './context.ts'
import { digestTag } from './digest-tag.ts'
import { stringOf } from './json.ts'
import { type ImageBytes, originalBytes } from './original-bytes.ts'
import { nameImage, originOf, tagsOf } from './original-image.ts'
import { ProgressLines } from './progress-lines.ts'
import { Refusal } from './refusal.ts'
import { authOf, withRegistry } from './registry-access.ts'
import { type FoundImage, isHidden, listImages, lookUpImage } from './windows-images.ts'

/** `docker push`: an image of a registry goes out with the bytes that it came as, one built here as a Windows image. */
export function pushRoutes(context: WineContext): Route[] {
  return [{ method: 'POST', template: '/images/{name}/push', action: match => push(context, match) }]
}

function push(context: WineContext, { head, params, query }: RouteMatch): Handling {
  return {
    kind: 'handle',
    async handler(request, response) {
      request.resume()
      const lines = new ProgressLines(response)
      try {
        const references = await referencesOf(context, params.name ?? '', query.get('tag') ?? '')
        for (const reference of references) await pushOne(context, reference, authOf(head), lines)
        lines.end()
      } catch (error) {
        lines.fail(error)
      }
    }
  }
}

/** What is to be pushed: one tag, or without one all of the repository's. */
async function referencesOf(context: WineContext, name: string, tag: string): Promise<ImageReference[]> {
  if (tag !== '') return [parseReference(`${name}:${tag}`)]
  const reference = parseReference(name)
  if (reference.digest !== undefined) throw new Refusal('cannot push a digest reference')
  if (reference.tag !== undefined) return [reference]
  const repository = familiarName(reference)
  const tags = (await listImages(context)).flatMap(tagsOf).filter(each => !isHidden(each))
  const own = tags.filter(each => splitReference(each).repository === repository)
  if (own.length === 0) throw new Refusal(`An image does not exist locally with the tag: ${repository}`, 404)
  return own.map(parseReference)
}

async function pushOne(
  context: WineContext,
  reference: ImageReference,
  auth: RegistryAuth | undefined,
  lines: ProgressLines
): Promise<void> {
  const found = await lookUpImage(context, familiarString(reference))
  if (found === undefined || found === 'linux') {
    throw new Refusal(`An image does not exist locally with the tag: ${familiarName(reference)}`, 404)
  }
  const { signal } = lines
  const bytes = await bytesOf(context, found, signal)
  const mountFrom = await mountableFrom(context, found, reference)
  const pushed = await withRegistry(context, reference, auth, signal, client =>
    pushImage(reference, client, pushedImage(bytes, mountFrom), { progress: lines.event, signal })
  )
  lines.send({ progressDetail: {}, aux: { Tag: pushed.tag, Digest: pushed.digest, Size: pushed.size } })
  const fixed = digestTag(`${familiarName(reference)}@${pushed.digest}`)
  if (fixed !== undefined) await nameImage(context, stringOf(found.inspect.Id), [fixed])
}

/** An image as the bytes that it goes out as. A Refusal for one that has none. */
export async function bytesOf(context: WineContext, found: FoundImage, signal: AbortSignal): Promise<ImageBytes> {
  const { origin, parent, imported, history } = found.windows
  if (origin === undefined && parent === undefined && imported === undefined && history.length === 0) {
    throw new Refusal(
      "this is the Wine base under a name of Microsoft's, whose own image was never here: push or save what is built on it"
    )
  }
  return await originalBytes(await context.images.blobs(), origin ?? (await builtOrigin(context, found, signal)))
}

/** Another repository of the same registry that has the image, or the one that it was built on, so that the registry can take the layers from there. */
async function mountableFrom(
  context: WineContext,
  { inspect, windows }: FoundImage,
  { registry, repository }: ImageReference
): Promise<string | undefined> {
  const id = windows.parent?.id
  const parents = id === undefined ? [] : (await listImages(context, true)).filter(row => originOf(row)?.id === id)
  for (const tag of [inspect, ...parents].flatMap(tagsOf)) {
    const other = parseReference(tag)
    if (other.registry === registry && other.repository !== repository) return other.repository
  }
  return undefined
}

function pushedImage(image: ImageBytes, mountFrom: string | undefined): PushedImage {
  const more = mountFrom === undefined ? {} : { mountFrom }
  return {
    mediaType: image.manifest.mediaType,
    manifest: image.manifestBytes,
    config: { descriptor: image.manifest.config, bytes: image.configBytes },
    layers: [
      ...image.base.map((descriptor, at) => ({ descriptor, diffId: image.baseDiffIds[at] ?? '', ...more })),
      ...image.own.map(({ descriptor, diffId, open }) => ({ descriptor, diffId, open, ...more }))
    ]
  }
}
