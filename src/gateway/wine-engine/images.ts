import { createHash } from 'node:crypto'
import type { Handling } from '#gateway/proxy/handling.ts'
import { joinTarget, type Route, type RouteMatch } from '#gateway/routes.ts'
import { baseImage, splitReference } from '#image/bases.ts'
import { parseReference } from '#image/registry/reference.ts'
import { IMAGE_LABEL } from '#image/windows-config.ts'
import { answerJson } from './answer.ts'
import type { WineContext } from './context.ts'
import { digestTag } from './digest-tag.ts'
import { registryDistribution } from './distribution.ts'
import { type Filters, readFilters, withFilters, withLabel } from './filters.ts'
import { windowsHistory } from './image-history.ts'
import { pruneImages, removeImage } from './image-removal.ts'
import { windowsInspect, windowsSummary } from './image-views.ts'
import { type Json, objectOf, objectsOf, stringOf } from './json.ts'
import { tagsOf } from './original-image.ts'
import { baseOf } from './pull.ts'
import { Refusal } from './refusal.ts'
import { authOf } from './registry-access.ts'
import { encodeName, type FoundImage, findImage, isHidden } from './windows-images.ts'

/** What clients see of images: the Windows ones alone, as a Windows daemon would show them. */
export function imageRoutes(context: WineContext): Route[] {
  return [
    { method: 'GET', template: '/images/json', action: match => answerJson(() => list(context, match)) },
    { method: 'GET', template: '/images/{name}/json', action: match => answerJson(() => inspect(context, match)) },
    { method: 'GET', template: '/images/{name}/history', action: match => answerJson(() => history(context, match)) },
    { method: 'POST', template: '/images/{name}/tag', action: match => tag(context, match) },
    { method: 'POST', template: '/images/prune', action: match => answerJson(() => pruneImages(context, match)) },
    {
      method: 'GET',
      template: '/distribution/{name}/json',
      action: match => answerJson(() => distribution(context, match))
    },
    { method: 'DELETE', template: '/images/{name}', action: match => answerJson(() => removeImage(context, match)) }
  ]
}

async function list(context: WineContext, { version, query }: RouteMatch): Promise<unknown> {
  const asked = new URLSearchParams(query)
  const filters = await engineFilters(context, readFilters(asked))
  const dangling = filters.get('dangling')?.[0]
  filters.delete('dangling')
  const target = joinTarget(version, '/images/json', withLabel(withFilters(asked, filters), IMAGE_LABEL))
  const rows = objectsOf(await context.engine.json('GET', target)).map(windowsSummary)
  if (dangling === undefined) return rows
  const wanted = ['1', 'true'].includes(dangling)
  return rows.filter(({ RepoTags: tags }) => isWithoutTag(tags) === wanted)
}

function isWithoutTag(tags: unknown): boolean {
  return !Array.isArray(tags) || tags.every(tag => tag === '<none>:<none>')
}

/** Filters that name images, with the engine's own names for these. */
async function engineFilters(context: WineContext, filters: Filters): Promise<Filters> {
  const translated: Filters = new Map(filters)
  const references = filters.get('reference')
  if (references !== undefined)
    translated.set(
      'reference',
      references.map(name => digestTag(name) ?? name)
    )
  for (const name of ['before', 'since']) {
    const images = filters.get(name)
    if (images === undefined) continue
    const found = await Promise.all(images.map(image => findImage(context, image)))
    translated.set(
      name,
      found.map(({ inspect }) => stringOf(inspect.Id))
    )
  }
  return translated
}

async function inspect(context: WineContext, { params, version }: RouteMatch): Promise<unknown> {
  const found = await findImage(context, params.name ?? '', version)
  return { ...windowsInspect(found, version), ...(await sizeInList(context, found)) }
}

/**
 * The size that the list tells, where it is another one: with containerd's image store `inspect` tells of the compressed
 * bytes alone, and for a Windows daemon there is one size.
 */
async function sizeInList(context: WineContext, { inspect }: FoundImage): Promise<Json> {
  const [tag] = tagsOf(inspect)
  // The other stores have folders to tell of.
  if (Object.keys(objectOf(objectOf(inspect.GraphDriver).Data)).length > 0 || tag === undefined) return {}
  const query = new URLSearchParams({ filters: JSON.stringify({ reference: [tag] }) })
  const rows = objectsOf(await context.engine.json('GET', joinTarget('', '/images/json', query)))
  const size = rows.find(({ Id }) => Id === inspect.Id)?.Size
  return typeof size === 'number'
    ? { Size: size, ...(inspect.VirtualSize === undefined ? {} : { VirtualSize: size }) }
    : {}
}

async function history(context: WineContext, { params, version }: RouteMatch): Promise<unknown> {
  const image = await findImage(context, params.name ?? '')
  const target = joinTarget(version, `/images/${encodeName(image.name)}/history`)
  return windowsHistory(objectsOf(await context.engine.json('GET', target)), image.windows)
}

async function tag(context: WineContext, { head, params, query, version }: RouteMatch): Promise<Handling> {
  const name = query.get('repo') ?? ''
  if (isHidden(name) || isHidden(`${name}:${query.get('tag') ?? ''}`)) {
    throw new Refusal(`${name} is the name of Oriel's own base images; use another`, 409)
  }
  const found = await findImage(context, params.name ?? '')
  return {
    kind: 'splice',
    request: { ...head, target: joinTarget(version, `/images/${encodeName(found.name)}/tag`, query) }
  }
}

/**
 * What a registry says of an image. Of a base image the digest stands for the base as the wine driver has it: no manifest of
 * Microsoft's is fetched that could lend its own.
 */
async function distribution(context: WineContext, { head, params }: RouteMatch): Promise<object> {
  const base = baseOf(params.name ?? '')
  if (base === undefined) return await registryDistribution(context, parseReference(params.name ?? ''), authOf(head))
  const json = JSON.stringify(baseImage(base))
  return {
    Descriptor: {
      mediaType: 'application/vnd.docker.distribution.manifest.list.v2+json',
      digest: splitReference(params.name ?? '').digest ?? `sha256:${createHash('sha256').update(json).digest('hex')}`,
      size: Buffer.byteLength(json)
    },
    Platforms: [{ architecture: 'amd64', os: 'windows', 'os.version': base.release.osVersion }]
  }
}
