import { joinTarget } from '#gateway/routes.ts'
import { knownBase, splitReference } from '#image/bases.ts'
import { IMAGE_LABEL, type WindowsImage, windowsImageOf } from '#image/windows-config.ts'
import type { WineContext } from './context.ts'
import { digestOfTag, digestTag } from './digest-tag.ts'
import { type Json, objectOf, objectsOf, stringOf, stringsOf } from './json.ts'
import { getIfThere } from './ownership.ts'
import { Refusal } from './refusal.ts'

/** An image on the engine that is a Windows image: the engine's `inspect` and the Windows side of it. */
export interface FoundImage {
  inspect: Json
  windows: WindowsImage
  /** By what the engine knows it; differs from the client's name only for a digest. */
  name: string
}

const wineBase = 'oriel/wine'

/** True for what only Oriel may see and name: the Wine base images, and the tags that stand for digests. */
export function isHidden(reference: string): boolean {
  return splitReference(reference).repository === wineBase || digestOfTag(reference) !== undefined
}

/**
 * The image's name on the engine. A digest of a Microsoft base cannot be one there, since its bytes are never fetched; the
 * base that stands in carries the tag instead.
 */
export function engineImageName(name: string): string {
  const { repository, tag, digest } = splitReference(name)
  if (digest === undefined) return name
  const base = knownBase(name)
  if (base === undefined || base === 'unknownTag') return name
  return `${repository}:${tag ?? base.release.tag}`
}

/** Finds a Windows image by name or id. A Refusal (404, the daemon's words) when there is none, or it is a Linux one. */
export async function findImage(context: WineContext, name: string, version = ''): Promise<FoundImage> {
  const found = await lookUpImage(context, name, version)
  if (found === undefined || found === 'linux') throw noSuchImage(name)
  return found
}

/** As findImage, but tells an image that is not there (undefined) from one that is not a Windows image. */
export async function lookUpImage(
  context: WineContext,
  name: string,
  version = ''
): Promise<FoundImage | 'linux' | undefined> {
  if (isHidden(name)) return 'linux'
  // An engine with containerd's image store has digests of its own, so the name itself comes first.
  for (const real of new Set([name, digestTag(name) ?? name, engineImageName(name)])) {
    const inspect = await getIfThere(context, joinTarget(version, `/images/${encodeName(real)}/json`))
    if (inspect === undefined) continue
    const windows = windowsImageOf(stringsOf(objectOf(inspect.Config).Labels))
    return windows === undefined ? 'linux' : { inspect, windows, name: real }
  }
  const id = await idOfOriginal(context, name)
  return id === undefined ? undefined : await lookUpImage(context, id, version)
}

/** The engine's id for (the beginning of) the id that an original has in its registry. */
async function idOfOriginal(context: WineContext, name: string): Promise<string | undefined> {
  const [, hex] = /^(?:sha256:)?([0-9a-f]{1,64})$/.exec(name) ?? []
  if (hex === undefined) return undefined
  const found = new Map<string, string>()
  for (const row of await listImages(context, true)) {
    const id = windowsImageOf(stringsOf(row.Labels))?.origin?.id ?? ''
    // One that has lost its names to a newer one of the same image comes last.
    if (id.startsWith(`sha256:${hex}`) && !found.has(id)) found.set(id, stringOf(row.Id))
  }
  return found.size === 1 ? [...found.values()][0] : undefined
}

/** The id of an image for clients: that of its registry, or the engine's. */
export function shownId(inspect: Json, windows: WindowsImage | undefined): string {
  return windows?.origin?.id ?? stringOf(inspect.Id)
}

/** The Windows images on the engine, as its list has them. */
export async function listImages(context: WineContext, all = false): Promise<Json[]> {
  const query = new URLSearchParams({ ...(all ? { all: '1' } : {}), filters: JSON.stringify({ label: [IMAGE_LABEL] }) })
  return objectsOf(await context.engine.json('GET', joinTarget('', '/images/json', query)))
}

export function noSuchImage(name: string): Refusal {
  const { tag, digest } = splitReference(name)
  const id = /^(sha256:)?[0-9a-f]{12,64}$/.test(name)
  return new Refusal(
    `No such image: ${tag === undefined && digest === undefined && !id ? `${name}:latest` : name}`,
    404
  )
}

/** An image's name as a part of a path: its slashes stay, since the engine's own router takes them so. */
export function encodeName(name: string): string {
  return name.split('/').map(encodeURIComponent).join('/')
}
