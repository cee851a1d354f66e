import type { IncomingMessage } from 'node:http'
import type { Handling } from '#gateway/proxy/handling.ts'
import { joinTarget, type Route, type RouteMatch } from '#gateway/routes.ts'
import { MACHINE_LABEL, userLabels } from '#image/windows-config.ts'
import { answerJson, readBody, refuse } from './answer.ts'
import type { WineContext } from './context.ts'
import { withLabel } from './filters.ts'
import { DOCKER_ROOT } from './identity.ts'
import { type Json, objectOf, objectsOf, stringOf, stringsOf } from './json.ts'
import { getIfThere, isOwn, ownLabel } from './ownership.ts'
import { Refusal } from './refusal.ts'

/** The machine's own volumes, with the paths that a Windows daemon would show. */
export function volumeRoutes(context: WineContext): Route[] {
  const own = ownLabel(context.machine)
  return [
    { method: 'GET', template: '/volumes', action: match => answerJson(() => list(context, match)) },
    { method: 'POST', template: '/volumes/create', action: match => create(context, match) },
    {
      method: 'POST',
      template: '/volumes/prune',
      action: ({ head, version, query }) => ({
        kind: 'splice',
        request: { ...head, target: joinTarget(version, '/volumes/prune', withLabel(query, own)) }
      })
    },
    { method: 'GET', template: '/volumes/{name}', action: match => answerJson(() => inspect(context, match)) },
    { method: 'DELETE', template: '/volumes/{name}', action: match => remove(context, match) },
    // Changes cluster volumes, which only a swarm has.
    { method: 'PUT', template: '/volumes/{name}', action: () => refuse(new Refusal('page not found', 404)) }
  ]
}

/** A volume without Oriel's labels and with a mountpoint of Windows. */
export function windowsVolume(volume: Json): Json {
  const labels = userLabels(stringsOf(volume.Labels))
  return {
    ...volume,
    Labels: Object.keys(labels).length === 0 ? null : labels,
    Mountpoint: mountpointOf(stringOf(volume.Name))
  }
}

/** Where a Windows daemon would keep the volume. */
export function mountpointOf(name: string): string {
  return `${DOCKER_ROOT}\\volumes\\${name}\\_data`
}

async function list({ engine, machine }: WineContext, { version, query }: RouteMatch): Promise<Json> {
  const target = joinTarget(version, '/volumes', withLabel(query, ownLabel(machine)))
  const answer = objectOf(await engine.json('GET', target))
  return { ...answer, Volumes: objectsOf(answer.Volumes).map(windowsVolume) }
}

function create(context: WineContext, { version }: RouteMatch): Handling {
  return answerJson(async (request: IncomingMessage) => {
    const body = await readBody(request)
    checkDriver(body)
    const labels = { ...stringsOf(body.Labels), [MACHINE_LABEL]: context.machine }
    const target = joinTarget(version, '/volumes/create')
    const volume = objectOf(await context.engine.json('POST', target, { ...body, Labels: labels }))
    // The engine gives back a volume of that name that was there before, whosever it is.
    if (!isOwn(context.machine, volume.Labels)) {
      throw new Refusal(
        `the Docker engine has a volume named ${stringOf(volume.Name)} that is not of this machine`,
        409
      )
    }
    return windowsVolume(volume)
  }, 201)
}

/** Refuses what the local driver of a Windows daemon does not take, but for a bind of a folder. */
function checkDriver(body: Json): void {
  const driver = stringOf(body.Driver)
  const name = stringOf(body.Name)
  if (driver !== '' && driver !== 'local') {
    throw new Refusal(
      `create ${name}: error looking up volume plugin ${driver}: plugin "${driver}" not found`.replace(
        'create :',
        'create:'
      ),
      404
    )
  }
  const options = Object.entries(stringsOf(body.DriverOpts))
  if (options.length === 0) return
  const { type = 'none', o = '', device = '', ...others } = Object.fromEntries(options)
  const bind = type === 'none' && o.split(',').some(word => word === 'bind' || word === 'rbind')
  if (!bind || !device.startsWith('/') || Object.keys(others).length > 0) {
    throw new Refusal(
      `create ${name}: options are not supported on this platform, but for type=none, o=bind and device=/a/folder`
    )
  }
}

async function inspect(context: WineContext, { params, version }: RouteMatch): Promise<Json> {
  return windowsVolume(await findVolume(context, params.name ?? '', version))
}

async function remove(context: WineContext, { head, params }: RouteMatch): Promise<Handling> {
  await findVolume(context, params.name ?? '')
  return { kind: 'splice', request: head }
}

/** Finds a volume of this machine. A Refusal in docker's words when there is none. */
async function findVolume(context: WineContext, name: string, version = ''): Promise<Json> {
  const volume = await getIfThere(context, joinTarget(version, `/volumes/${encodeURIComponent(name)}`))
  if (volume === undefined || !isOwn(context.machine, volume.Labels)) {
    throw new Refusal(`get ${name}: no such volume`, 404)
  }
  return volume
}
