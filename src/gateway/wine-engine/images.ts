import { createHash } from 'node:crypto'
import type { Handling } from '#gateway/proxy/handling.ts'
import { joinTarget, type Route, type RouteMatch } from '#gateway/routes.ts'
import { baseImage, splitReference } from '#image/bases.ts'
import { IMAGE_LABEL } from '#image/windows-config.ts'
import { answerJson, refuse } from './answer.ts'
import type { WineContext } from './context.ts'
import { withLabel } from './filters.ts'
import { windowsHistory } from './image-history.ts'
import { windowsInspect, windowsSummary } from './image-views.ts'
import { objectsOf } from './json.ts'
import { baseOf } from './pull.ts'
import { Refusal } from './refusal.ts'
import { encodeName, findImage, isHidden } from './windows-images.ts'

/** What clients see of images: the Windows ones alone, as a Windows daemon would show them. */
export function imageRoutes(context: WineContext): Route[] {
  return [
    { method: 'GET', template: '/images/json', action: match => answerJson(() => list(context, match)) },
    { method: 'GET', template: '/images/{name}/json', action: match => answerJson(() => inspect(context, match)) },
    { method: 'GET', template: '/images/{name}/history', action: match => answerJson(() => history(context, match)) },
    { method: 'POST', template: '/images/{name}/tag', action: match => tag(context, match) },
    { method: 'POST', template: '/images/prune', action: match => prune(match) },
    {
      method: 'GET',
      template: '/distribution/{name}/json',
      action: match => answerJson(async () => distribution(match))
    },
    { method: 'GET', template: '/images/get', action: () => notYet('save Windows images') },
    { method: 'GET', template: '/images/{name}/get', action: () => notYet('save Windows images') },
    { method: 'POST', template: '/images/load', action: () => notYet('load Windows images') },
    { method: 'POST', template: '/images/{name}/push', action: () => notYet('push Windows images') },
    { method: 'DELETE', template: '/images/{name}', action: match => remove(context, match) }
  ]
}

async function list({ engine }: WineContext, { version, query }: RouteMatch): Promise<unknown> {
  const target = joinTarget(version, '/images/json', withLabel(query, IMAGE_LABEL))
  return objectsOf(await engine.json('GET', target)).map(windowsSummary)
}

async function inspect(context: WineContext, { params, version }: RouteMatch): Promise<unknown> {
  return windowsInspect(await findImage(context, params.name ?? '', version), version)
}

async function history(context: WineContext, { params, version }: RouteMatch): Promise<unknown> {
  const image = await findImage(context, params.name ?? '')
  const target = joinTarget(version, `/images/${encodeName(image.name)}/history`)
  return windowsHistory(objectsOf(await context.engine.json('GET', target)), image.windows)
}

async function tag(context: WineContext, { head, params, query, version }: RouteMatch): Promise<Handling> {
  if (isHidden(query.get('repo') ?? '')) {
    throw new Refusal(`${query.get('repo')} is the name of Oriel's own base images; use another`, 409)
  }
  const { name } = await findImage(context, params.name ?? '')
  return { kind: 'splice', request: { ...head, target: joinTarget(version, `/images/${encodeName(name)}/tag`, query) } }
}

async function remove(context: WineContext, { head, params, query, version }: RouteMatch): Promise<Handling> {
  const { name } = await findImage(context, params.name ?? '')
  return { kind: 'splice', request: { ...head, target: joinTarget(version, `/images/${encodeName(name)}`, query) } }
}

/** The label keeps the engine's Linux images, and the Wine base itself, out of it. */
function prune({ head, query, version }: RouteMatch): Handling {
  const target = joinTarget(version, '/images/prune', withLabel(query, IMAGE_LABEL))
  return { kind: 'splice', request: { ...head, target } }
}

/**
 * What a registry would say of a base image. The digest stands for the base as the wine driver has it: no manifest of
 * Microsoft's is fetched that could lend its own.
 */
function distribution({ params }: RouteMatch): object {
  const base = baseOf(params.name ?? '')
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

function notYet(what: string): Handling {
  return refuse(new Refusal(`this version of the wine driver cannot ${what}`, 501))
}
