import type { Handling } from '#gateway/proxy/handling.ts'
import { joinTarget, type Route, type RouteMatch } from '#gateway/routes.ts'
import { MACHINE_LABEL } from '#image/windows-config.ts'
import { answerJson, readBody } from './answer.ts'
import type { WineContext } from './context.ts'
import { readFilters, withFilters, withLabel } from './filters.ts'
import { type Json, objectOf, objectsOf, stringOf, stringsOf } from './json.ts'
import { engineNetworkName, isShown, linuxOption, windowsNetwork } from './network-names.ts'
import { getIfThere, isOwn, ownContainers, ownLabel } from './ownership.ts'
import { cannot, Refusal } from './refusal.ts'

/** The machine's own networks, with the engine's `bridge` as the `nat` of a Windows daemon. */
export function networkRoutes(context: WineContext): Route[] {
  const own = ownLabel(context.machine)
  return [
    { method: 'GET', template: '/networks', action: match => answerJson(() => list(context, match)) },
    { method: 'POST', template: '/networks/create', action: match => create(context, match) },
    {
      method: 'POST',
      template: '/networks/prune',
      action: ({ head, version, query }) => ({
        kind: 'splice',
        request: { ...head, target: joinTarget(version, '/networks/prune', withLabel(query, own)) }
      })
    },
    { method: 'POST', template: '/networks/{id}/connect', action: match => join(context, match, 'connect') },
    { method: 'POST', template: '/networks/{id}/disconnect', action: match => join(context, match, 'disconnect') },
    { method: 'GET', template: '/networks/{id}', action: match => answerJson(() => inspect(context, match)) },
    { method: 'DELETE', template: '/networks/{id}', action: match => remove(context, match) }
  ]
}

async function list(context: WineContext, { version, query }: RouteMatch): Promise<Json[]> {
  const filters = readFilters(query)
  const names = filters.get('name')
  const drivers = filters.get('driver')
  // Asked for in Windows words: they are compared after the translation.
  filters.delete('name')
  filters.delete('driver')
  const target = joinTarget(version, '/networks', withFilters(query, filters))
  const rows = objectsOf(await context.engine.json('GET', target)).filter(row => isShown(context.machine, row))
  const containers = await ownContainers(context)
  return rows
    .map(row => windowsNetwork(row, containers))
    .filter(row => names === undefined || names.some(name => matches(name, stringOf(row.Name))))
    .filter(row => drivers === undefined || drivers.includes(stringOf(row.Driver)))
}

/** The engine takes a filter's name as a pattern that may match anywhere. */
function matches(pattern: string, name: string): boolean {
  if (pattern === name) return true
  try {
    return new RegExp(pattern).test(name)
  } catch {
    return false
  }
}

async function inspect(context: WineContext, { params, query, version }: RouteMatch): Promise<Json> {
  const network = await findNetwork(context, params.id ?? '', version, query)
  return windowsNetwork(network, await ownContainers(context))
}

const hyperVisors = new Set(['transparent', 'l2bridge', 'l2tunnel', 'overlay', 'ics', 'private', 'internal'])

function create(context: WineContext, { version }: RouteMatch): Handling {
  return answerJson(async request => {
    const body = await readBody(request)
    const name = stringOf(body.Name)
    const driver = stringOf(body.Driver)
    if (name.toLowerCase() === 'nat') throw new Refusal('network with name nat already exists', 409)
    if (hyperVisors.has(driver)) throw cannot(`make a network of the driver ${driver}`)
    // `bridge` is what the docker CLI sends when nobody names a driver.
    if (driver !== '' && driver !== 'nat' && driver !== 'bridge') {
      throw new Refusal(`could not find plugin ${driver} in v1 plugin registry: plugin not found`, 404)
    }
    return await context.engine.json('POST', joinTarget(version, '/networks/create'), {
      ...body,
      Driver: 'bridge',
      Labels: { ...stringsOf(body.Labels), [MACHINE_LABEL]: context.machine },
      ...(body.Options === undefined || body.Options === null ? {} : { Options: linuxOptions(objectOf(body.Options)) }),
      ...(body.IPAM === undefined || body.IPAM === null ? {} : { IPAM: linuxIpam(objectOf(body.IPAM)) })
    })
  }, 201)
}

/** Options for Windows' own network service mean nothing to a bridge. */
function linuxOptions(options: Json): Json {
  return Object.fromEntries(Object.entries(options).filter(([name]) => linuxOption(name)))
}

function linuxIpam(ipam: Json): Json {
  return ipam.Driver === 'windows' ? { ...ipam, Driver: 'default' } : ipam
}

async function join(context: WineContext, match: RouteMatch, verb: 'connect' | 'disconnect'): Promise<Handling> {
  const { params, version } = match
  return answerJson(async request => {
    const network = await findNetwork(context, params.id ?? '')
    const body = await readBody(request)
    const container = stringOf(body.Container)
    const found = await getIfThere(context, `/containers/${encodeURIComponent(container)}/json`)
    if (!isOwn(context.machine, objectOf(found?.Config).Labels)) {
      throw new Refusal(`No such container: ${container}`, 404)
    }
    await context.engine.json('POST', joinTarget(version, `/networks/${stringOf(network.Id)}/${verb}`), body)
  }, 200)
}

async function remove(context: WineContext, { head, params, version }: RouteMatch): Promise<Handling> {
  const network = await findNetwork(context, params.id ?? '')
  if (network.Name === 'bridge' || network.Name === 'none') {
    const shown = stringOf(windowsNetwork(network, new Set()).Name)
    throw new Refusal(`${shown} is a pre-defined network and cannot be removed`, 403)
  }
  return { kind: 'splice', request: { ...head, target: joinTarget(version, `/networks/${stringOf(network.Id)}`) } }
}

/** Finds a network that this machine shows, by its Windows name or its id. A Refusal in docker's words when there is none. */
async function findNetwork(
  context: WineContext,
  id: string,
  version = '',
  query: URLSearchParams | string = ''
): Promise<Json> {
  const target = joinTarget(version, `/networks/${encodeURIComponent(engineNetworkName(id))}`, query)
  const network = id === 'bridge' || id === '' ? undefined : await getIfThere(context, target)
  if (network === undefined || !isShown(context.machine, network)) throw new Refusal(`network ${id} not found`, 404)
  return network
}
