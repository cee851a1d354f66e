import { joinTarget, type Route, type RouteMatch } from '#gateway/routes.ts'
import { windowsImageOf } from '#image/windows-config.ts'
import { answerJson } from './answer.ts'
import type { WineContext } from './context.ts'
import { windowsSummary } from './image-views.ts'
import { type Json, numberOf, objectOf, objectsOf, stringsOf } from './json.ts'
import { windowsRow } from './list.ts'
import { isOwn } from './ownership.ts'
import { recordOf } from './record.ts'
import { windowsVolume } from './volumes.ts'

/** `docker system df`: what this machine uses, not what else is on the engine. */
export function dfRoutes(context: WineContext): Route[] {
  return [{ method: 'GET', template: '/system/df', action: match => answerJson(() => usage(context, match)) }]
}

async function usage({ engine, machine }: WineContext, { version, query }: RouteMatch): Promise<Json> {
  return windowsUsage(objectOf(await engine.json('GET', joinTarget(version, '/system/df', query))), machine)
}

/** The engine's answer with the machine's own objects alone; a kind that it did not report stays out. */
export function windowsUsage(usage: Json, machine: string): Json {
  const images = objectsOf(usage.Images).filter(row => windowsImageOf(stringsOf(row.Labels)) !== undefined)
  const containers = objectsOf(usage.Containers).flatMap(row => {
    const record = recordOf(machine, stringsOf(row.Labels))
    return record === undefined ? [] : [windowsRow(row, record, undefined)]
  })
  const volumes = objectsOf(usage.Volumes).filter(row => isOwn(machine, row.Labels))
  return {
    ...usage,
    ...(usage.Images === undefined ? {} : { Images: images.map(windowsSummary), LayersSize: layersSize(images) }),
    ...(usage.Containers === undefined ? {} : { Containers: containers }),
    ...(usage.Volumes === undefined ? {} : { Volumes: volumes.map(windowsVolume) }),
    // All of it is of the engine's Linux builds: Windows images come from the classic builder, whose cache is images.
    ...(usage.BuildCache === undefined ? {} : { BuildCache: [] }),
    ...(usage.BuilderSize === undefined ? {} : { BuilderSize: 0 })
  }
}

/** What images share is nearly always the Wine base, so the largest share counts once, and each image's own part besides. */
function layersSize(images: readonly Json[]): number {
  const shared = images.map(({ SharedSize }) => Math.max(0, numberOf(SharedSize)))
  const sizes = images.map(({ Size }, index) => numberOf(Size) - (shared[index] ?? 0))
  return sizes.reduce((sum, size) => sum + size, Math.max(0, ...shared))
}
