import { joinTarget, type Route, type RouteMatch } from '#gateway/routes.ts'
import { LABEL_PREFIX, windowsImageOf } from '#image/windows-config.ts'
import { answerJson } from './answer.ts'
import type { WineContext } from './context.ts'
import { windowsSummary } from './image-views.ts'
import { type Json, numberOf, objectOf, objectsOf, stringOf, stringsOf } from './json.ts'
import { windowsRow } from './list.ts'
import { getIfThere, isOwn } from './ownership.ts'
import { recordOf } from './record.ts'
import { windowsVolume } from './volumes.ts'

/** `docker system df`: what this machine uses, not what else is on the engine. */
export function dfRoutes(context: WineContext): Route[] {
  return [{ method: 'GET', template: '/system/df', action: match => answerJson(() => usage(context, match)) }]
}

async function usage(context: WineContext, { version, query }: RouteMatch): Promise<Json> {
  const { engine, machine } = context
  const answer = objectOf(await engine.json('GET', joinTarget(version, '/system/df', query)))
  return windowsUsage(answer, machine, answer.Images === undefined ? [] : await ownImages(context))
}

/** An image of the engine that is Windows images' or lies below one. */
export interface SizedImage {
  /** The engine's. */
  id: string
  /** Digests of its layers, the lowest first. */
  layers: readonly string[]
  /** Of all of them, in bytes. */
  size: number
  /** False for the Wine bases and laid layers. */
  shown: boolean
}

async function ownImages({ engine }: WineContext): Promise<SizedImage[]> {
  const rows = objectsOf(await engine.json('GET', '/images/json?all=1'))
  const own = rows.filter(row => Object.keys(stringsOf(row.Labels)).some(label => label.startsWith(LABEL_PREFIX)))
  const images = await Promise.all(
    own.map(async row => {
      const inspect = await getIfThere({ engine }, `/images/${stringOf(row.Id)}/json`)
      const { Layers: layers } = objectOf(inspect?.RootFS)
      return {
        id: stringOf(row.Id),
        layers: Array.isArray(layers) ? layers.map(stringOf) : [],
        size: numberOf(row.Size),
        shown: windowsImageOf(stringsOf(row.Labels)) !== undefined
      }
    })
  )
  return images.filter(({ layers }) => layers.length > 0)
}

/** The engine's answer with the machine's own objects alone; a kind that it did not report stays out. */
export function windowsUsage(usage: Json, machine: string, sized: readonly SizedImage[]): Json {
  const images = objectsOf(usage.Images).filter(row => windowsImageOf(stringsOf(row.Labels)) !== undefined)
  const listed = new Set(images.map(row => stringOf(row.Id)))
  const shown = sized.filter(({ id }) => listed.has(id))
  // For the engine each image shares all it has with the hidden ones below, so that none would be in use.
  const shared = images.map(row => {
    const image = shown.find(({ id }) => id === row.Id)
    return image === undefined ? row : { ...row, SharedSize: sharedSize(image, shown, sized) }
  })
  const containers = objectsOf(usage.Containers).flatMap(row => {
    const record = recordOf(machine, stringsOf(row.Labels))
    return record === undefined ? [] : [windowsRow(row, record, undefined)]
  })
  const volumes = objectsOf(usage.Volumes).filter(row => isOwn(machine, row.Labels))
  return {
    ...usage,
    ...(usage.Images === undefined ? {} : { Images: shared.map(windowsSummary), LayersSize: layersSize(sized) }),
    ...(usage.Containers === undefined ? {} : { Containers: containers }),
    ...(usage.Volumes === undefined ? {} : { Volumes: volumes.map(windowsVolume) }),
    // All of it is of the engine's Linux builds: Windows images come from the classic builder, whose cache is images.
    ...(usage.BuildCache === undefined ? {} : { BuildCache: [] }),
    ...(usage.BuilderSize === undefined ? {} : { BuilderSize: 0 })
  }
}

/** The bytes of those layers of an image that another of the `shown` has as well; sizes are told by `all`. */
export function sharedSize(image: SizedImage, shown: readonly SizedImage[], all: readonly SizedImage[]): number {
  const heights = shown.map(other => (other === image ? 0 : commonHeight(image.layers, other.layers)))
  const height = Math.max(0, ...heights)
  if (height === image.layers.length) return image.size
  const below = all.filter(
    ({ layers }) => layers.length <= height && commonHeight(image.layers, layers) === layers.length
  )
  return Math.max(0, ...below.map(({ size }) => size))
}

function commonHeight(one: readonly string[], other: readonly string[]): number {
  const differs = one.findIndex((layer, at) => other[at] !== layer)
  return differs < 0 ? one.length : differs
}

/**
 * The bytes of all layers of the shown images, each once. An engine tells sizes of images only, but nearly all that images
 * share is an image itself: a Wine base, a laid layer, a step of a build.
 */
export function layersSize(images: readonly SizedImage[]): number {
  const keyOf = (layers: readonly string[]): string => layers.join(' ')
  const sizes = new Map(images.map(({ layers, size }) => [keyOf(layers), size]))
  const counted = new Set<string>()
  let sum = 0
  for (const { layers } of images.filter(({ shown }) => shown)) {
    // From the uppermost layer down, up to what another image has brought in already.
    let above: number | undefined
    for (let height = layers.length; height > 0; height -= 1) {
      const key = keyOf(layers.slice(0, height))
      const size = sizes.get(key)
      if (size === undefined) continue
      sum += above === undefined ? 0 : above - size
      if (counted.has(key)) {
        above = undefined
        break
      }
      counted.add(key)
      above = size
    }
    sum += above ?? 0
  }
  return sum
}
