import { EngineError } from '#docker/engine.ts'
import { joinTarget, type RouteMatch } from '#gateway/routes.ts'
import { splitReference } from '#image/bases.ts'
import type { BlobStore } from '#image/registry/blob-store.ts'
import { type ImageManifest, parseManifest } from '#image/registry/manifest.ts'
import { IMAGE_LABEL, LAYER_LABEL, type WindowsImage, windowsImageOf } from '#image/windows-config.ts'
import type { WineContext } from './context.ts'
import { digestOfTag } from './digest-tag.ts'
import { readFilters, withFilters, withLabel } from './filters.ts'
import { type Json, numberOf, objectOf, objectsOf, stringOf, stringsOf } from './json.ts'
import { originOf, tagsOf } from './original-image.ts'
import { Refusal } from './refusal.ts'
import { encodeName, type FoundImage, findImage, listImages } from './windows-images.ts'

const MOST_MANIFEST = 4 * 1024 * 1024
/** What no image refers to may be what another agent is just fetching. */
const YOUNG_MS = 60 * 60_000

/** `docker rmi`: as the engine does it, but that digests, which are tags there, go with the last tag of their repository. */
export async function removeImage(context: WineContext, { params, query, version }: RouteMatch): Promise<Json[]> {
  const asked = params.name ?? ''
  const found = await findImage(context, asked)
  const { inspect, windows } = found
  const before = await listImages(context, true)
  const answer = await removeNames(context, found, asked, query, version)
  if (answer.some(row => row.Deleted !== undefined)) {
    if (!isTrue(query.get('noprune'))) answer.push(...(await removeParents(context, stringOf(inspect.Id), before)))
    await forget(context, [{ id: stringOf(inspect.Id), tags: tagsOf(inspect), windows }])
  }
  return answer
}

async function removeNames(
  context: WineContext,
  found: FoundImage,
  asked: string,
  query: URLSearchParams,
  version: string
): Promise<Json[]> {
  const { engine } = context
  const id = stringOf(found.inspect.Id)
  const remove = async (name: string): Promise<Json[]> =>
    objectsOf(await engine.json('DELETE', joinTarget(version, `/images/${encodeName(name)}`, query)))
  const tags = tagsOf(found.inspect)
  const hidden = goingDigests(tags, found.name === id ? undefined : found.name)
  if (hidden.length === 0 && found.name !== id) return shownRemoval(await remove(found.name), found, id)
  if (found.name === id) checkById(asked, tags, query)
  const removed: Json[] = []
  try {
    for (const tag of hidden) removed.push(...(await remove(tag)))
    // The last one takes the image with it, or is refused because a container uses it.
    const others = found.name === id ? tags.filter(tag => !hidden.includes(tag)) : []
    const last = found.name === id ? (others.at(-1) ?? id) : found.name
    for (const tag of others.slice(0, -1)) removed.push(...(await remove(tag)))
    const gone = removed.some(row => row.Deleted === id)
    return shownRemoval([...(gone ? [] : await remove(last)), ...removed], found, id)
  } catch (error) {
    for (const tag of hidden) await putBack(context, id, tag)
    throw error
  }
}

/** What is left of the steps of a build when its image has gone: an engine with containerd's image store keeps them. */
async function removeParents(context: WineContext, image: string, before: readonly Json[]): Promise<Json[]> {
  const left = new Map((await listImages(context, true)).map(row => [stringOf(row.Id), row]))
  const removed: Json[] = []
  let child = before.find(row => row.Id === image)
  while (child !== undefined) {
    const id = stringOf(child.ParentId)
    const parent = left.get(id)
    if (parent === undefined || tagsOf(parent).length > 0 || [...left.values()].some(row => row.ParentId === id)) break
    if (!(await removeById(context, id))) break
    left.delete(id)
    removed.push({ Deleted: originOf(parent)?.id ?? id })
    child = parent
  }
  return removed
}

async function removeById({ engine }: WineContext, id: string): Promise<boolean> {
  try {
    await engine.json('DELETE', `/images/${id}`)
    return true
  } catch (error) {
    // A container uses it, or another command was quicker.
    if (error instanceof EngineError) return false
    throw error
  }
}

/** The digests that go with a name: its own, all for an id, and those of a repository that has no other tag. */
export function goingDigests(tags: readonly string[], name: string | undefined): string[] {
  const digests = tags.filter(tag => digestOfTag(tag) !== undefined)
  if (name === undefined) return digests
  const { repository, tag = 'latest' } = splitReference(name)
  const own = tags.filter(each => splitReference(each).repository === repository)
  const left = own.filter(each => digestOfTag(each) === undefined && splitReference(each).tag !== tag)
  return left.length > 0 || digestOfTag(name) !== undefined ? [] : digests.filter(each => own.includes(each))
}

/** An id stands for one name, as docker has it; for more it wants to be forced. */
function checkById(asked: string, tags: readonly string[], query: URLSearchParams): void {
  const repositories = new Set(tags.map(tag => splitReference(tag).repository))
  if (repositories.size <= 1 || isTrue(query.get('force'))) return
  throw new Refusal(
    `conflict: unable to delete ${asked.replace('sha256:', '').slice(0, 12)} (must be forced) - image is referenced in multiple repositories`,
    409
  )
}

/** As docker reads a switch of a query. */
function isTrue(value: string | null): boolean {
  return !['', '0', 'false', 'no', 'none', 'null'].includes((value ?? '').toLowerCase())
}

async function putBack({ engine }: WineContext, id: string, name: string): Promise<void> {
  const { repository, tag = '' } = splitReference(name)
  const query = new URLSearchParams({ repo: repository, tag })
  await engine.json('POST', joinTarget('', `/images/${encodeName(id)}/tag`, query)).catch(() => undefined)
}

/** The engine's rows as docker shows them: names before what was deleted, and an original under its own id. */
function shownRemoval(rows: readonly Json[], { windows }: FoundImage, id: string): Json[] {
  const shown = shownRows(rows, new Map([[id, windows.origin?.id ?? id]]))
  return [...shown.filter(row => row.Untagged !== undefined), ...shown.filter(row => row.Untagged === undefined)]
}

function shownRows(rows: readonly Json[], ids: ReadonlyMap<string, string>): Json[] {
  return rows.map(row => {
    if (row.Untagged !== undefined) return { Untagged: digestOfTag(stringOf(row.Untagged)) ?? row.Untagged }
    return { ...row, Deleted: ids.get(stringOf(row.Deleted)) ?? row.Deleted }
  })
}

/**
 * `docker image prune`. The label keeps the engine's Linux images, and the Wine base itself, out of it. An image that has
 * digests only is dangling for clients, and not for the engine, for which they are tags; with `until` it is left alone.
 */
export async function pruneImages(context: WineContext, { query, version }: RouteMatch): Promise<Json> {
  const { engine } = context
  const filters = readFilters(query)
  const labelled = withLabel(query, IMAGE_LABEL)
  const before = await layersSize(context)
  const ids = new Map<string, string>()
  const rows = await listImages(context, true)
  for (const row of rows) ids.set(stringOf(row.Id), originOf(row)?.id ?? stringOf(row.Id))
  const deleted: Json[] = []
  const dangling = !['0', 'false'].includes(filters.get('dangling')?.[0] ?? 'true')
  if (dangling && !filters.has('until')) {
    const wanted = new Map([...readFilters(labelled)].filter(([name]) => name.startsWith('label')))
    const target = joinTarget('', '/images/json', withFilters(new URLSearchParams(), wanted))
    for (const row of objectsOf(await engine.json('GET', target))) {
      const tags = tagsOf(row)
      if (tags.length === 0 || tags.some(tag => digestOfTag(tag) === undefined)) continue
      deleted.push(...(await unlessUsed(context, tags)))
    }
  }
  const answer = objectOf(await engine.json('POST', joinTarget(version, '/images/prune', labelled)))
  deleted.push(...objectsOf(answer.ImagesDeleted))
  const left = new Set((await listImages(context, true)).map(row => stringOf(row.Id)))
  const gone = rows.filter(row => !left.has(stringOf(row.Id)))
  const blobs =
    (await forget(
      context,
      gone.map(row => ({ id: stringOf(row.Id), tags: tagsOf(row), windows: windowsImageOf(stringsOf(row.Labels)) }))
    )) + (await sweep(context))
  const freed = Math.max(numberOf(answer.SpaceReclaimed), before - (await layersSize(context)))
  return {
    ...answer,
    ImagesDeleted: deleted.length === 0 ? null : shownRows(deleted, ids),
    SpaceReclaimed: freed + blobs
  }
}

/** Removes these names of an image; a container that uses it keeps the last one. */
async function unlessUsed({ engine }: WineContext, tags: readonly string[]): Promise<Json[]> {
  const removed: Json[] = []
  try {
    for (const tag of tags) removed.push(...objectsOf(await engine.json('DELETE', `/images/${encodeName(tag)}`)))
  } catch (error) {
    if (!(error instanceof EngineError)) throw error
  }
  return removed
}

async function layersSize({ engine }: WineContext): Promise<number> {
  return numberOf(objectOf(await engine.json('GET', '/system/df')).LayersSize)
}

interface GoneImage {
  /** The engine's. */
  id: string
  tags: readonly string[]
  windows: WindowsImage | undefined
}

/** Removes what images that are gone have brought, as far as no other needs it. Gives the bytes of the blobs. */
async function forget(context: WineContext, images: readonly GoneImage[]): Promise<number> {
  await removeUnusedLayers(context)
  if (context.images.pulling > 0) return 0
  const blobs = await context.images.blobs()
  const gone = new Set<string>()
  for (const { id, tags, windows } of images) {
    const origins = [windows?.origin, windows?.parent, await context.images.builtAs(id)]
    await context.images.setBuiltAs(id, undefined)
    for (const tag of tags) gone.add(splitReference(digestOfTag(tag) ?? '').digest ?? '')
    for (const origin of origins) {
      if (origin === undefined) continue
      const layers = (await manifestOf(blobs, origin.manifest))?.layers ?? []
      for (const digest of [origin.id, origin.manifest, ...layers.map(layer => layer.digest)]) gone.add(digest)
    }
  }
  const needed = await neededBlobs(context, blobs)
  let freed = 0
  for (const digest of gone) {
    if (digest === '' || needed.has(digest)) continue
    freed += (await blobs.sizeOf(digest)) ?? 0
    await blobs.remove(digest)
  }
  return freed
}

/** Removes all that no image needs, such as a pull that was cut off has left. Gives the bytes of the blobs. */
async function sweep(context: WineContext): Promise<number> {
  if (context.images.pulling > 0) return 0
  const blobs = await context.images.blobs()
  return await blobs.sweep(await neededBlobs(context, blobs), YOUNG_MS)
}

async function neededBlobs(context: WineContext, blobs: BlobStore): Promise<Set<string>> {
  const needed = new Set<string>()
  for (const row of await listImages(context, true)) {
    const image = windowsImageOf(stringsOf(row.Labels))
    for (const tag of tagsOf(row)) needed.add(splitReference(digestOfTag(tag) ?? '').digest ?? '')
    const built = image?.origin === undefined ? await context.images.builtAs(stringOf(row.Id)) : undefined
    for (const origin of [image?.origin, image?.parent, built]) {
      if (origin === undefined) continue
      needed.add(origin.id)
      needed.add(origin.manifest)
      for (const { digest } of (await manifestOf(blobs, origin.manifest))?.layers ?? []) needed.add(digest)
    }
  }
  return needed
}

async function manifestOf(blobs: BlobStore, digest: string): Promise<ImageManifest | undefined> {
  if (!(await blobs.has(digest))) return undefined
  const manifest = parseManifest('', await blobs.read(digest, MOST_MANIFEST))
  return manifest.kind === 'image' ? manifest : undefined
}

/**
 * The uppermost go first. Not every engine refuses to remove what others are made of, nor keeps the steps between: an image
 * needs the uppermost of its layers, which it names, and each of these the one below.
 */
async function removeUnusedLayers(context: WineContext): Promise<void> {
  const { engine, images } = context
  const query = new URLSearchParams({ all: '1', filters: JSON.stringify({ label: [LAYER_LABEL] }) })
  for (let removed = 1; removed > 0 && images.pulling === 0; ) {
    removed = 0
    const rows = objectsOf(await engine.json('GET', joinTarget('', '/images/json', query))).map(row => {
      const labels = stringsOf(row.Labels)
      const laid = (labels[IMAGE_LABEL] ?? '') === '' && tagsOf(row).length === 0
      return { id: stringOf(row.Id), parent: row.ParentId, mark: labels[LAYER_LABEL], laid }
    })
    const needed = new Set(rows.flatMap(({ parent, mark, laid }) => (laid ? [parent] : [parent, mark])))
    for (const { id, mark, laid } of rows) {
      if (!laid || needed.has(id) || needed.has(mark)) continue
      if (await removeById(context, id)) removed += 1
    }
  }
}
