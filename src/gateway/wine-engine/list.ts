import { sendJson } from '#gateway/proxy/respond.ts'
import { joinTarget, type Route } from '#gateway/routes.ts'
import { quoteArgument } from '#image/launch.ts'
import { CONTAINER_LABEL, MACHINE_LABEL, userLabels } from '#image/windows-config.ts'
import type { WineContext } from './context.ts'
import { endingOf } from './exit-code.ts'
import { type Filters, readFilters, withFilters } from './filters.ts'
import { networkName, windowsMount, windowsNetworks } from './inspect.ts'
import { type Json, objectOf, objectsOf, stringOf, stringsOf, without } from './json.ts'
import { absoluteWindowsPath, type ContainerRecord, containerPath, recordOf } from './record.ts'
import { Refusal } from './refusal.ts'
import { lookUpImage } from './windows-images.ts'

export function listRoutes(context: WineContext): Route[] {
  return [
    {
      method: 'GET',
      template: '/containers/json',
      action: ({ query, version }) => ({
        kind: 'handle',
        handler: async (_request, response) => sendJson(response, 200, await list(context, query, version))
      })
    }
  ]
}

async function list(context: WineContext, query: URLSearchParams, version: string): Promise<Json[]> {
  const filters = readFilters(query)
  const { engine, codes, isolation, none } = translateFilters(filters, context.machine)
  const ancestors = filters.get('ancestor')
  if (ancestors !== undefined)
    engine.set('ancestor', await Promise.all(ancestors.map(name => engineName(context, name))))
  if (none || (isolation.length > 0 && !isolation.includes('process'))) return []
  const limit = codes.length > 0 ? Number(query.get('limit') ?? 0) : 0
  const asked = withFilters(query, engine)
  // The engine knows the codes in 8 bits only, so the choice is made here, and with it the counting.
  if (codes.length > 0) {
    asked.delete('limit')
    asked.set('all', '1')
  }
  const rows = objectsOf(await context.engine.json('GET', joinTarget(version, '/containers/json', asked)))
  const shown = await Promise.all(rows.map(row => shownRow(context, row)))
  const kept = shown.filter(row => row !== undefined)
  const chosen = codes.length === 0 ? kept : kept.filter(({ code }) => code !== undefined && codes.includes(code))
  return chosen.slice(0, limit > 0 ? limit : undefined).map(({ row }) => row)
}

/** The engine's name for an image that it may know by another id. */
async function engineName(context: WineContext, name: string): Promise<string> {
  const found = await lookUpImage(context, name)
  return found === undefined || found === 'linux' ? name : stringOf(found.inspect.Id)
}

/** The client's filters as the engine takes them, what is left to choose here, and whether nothing can match at all. */
export function translateFilters(
  filters: Filters,
  machine: string
): { engine: Filters; codes: number[]; isolation: string[]; none: boolean } {
  const engine: Filters = new Map(filters)
  engine.set('label', [...(filters.get('label') ?? []), `${MACHINE_LABEL}=${machine}`, CONTAINER_LABEL])
  const codes = (filters.get('exited') ?? []).map(value => {
    const code = Number(value)
    if (!/^-?\d+$/.test(value)) throw new Refusal(`invalid filter 'exited=${value}'`)
    return code
  })
  engine.delete('exited')
  const isolation = filters.get('isolation') ?? []
  engine.delete('isolation')
  const networks = filters.get('network')
  if (networks !== undefined) {
    engine.set(
      'network',
      networks.map(name => (name === 'nat' || name === 'default' ? 'bridge' : name))
    )
  }
  const volumes = filters.get('volume')
  if (volumes !== undefined) {
    engine.set(
      'volume',
      volumes.map(volume => {
        const path = absoluteWindowsPath(volume)
        // A path that starts with a slash may be the source of a bind as well; only a drive is surely a place inside.
        return path !== undefined && /^[a-z]:/i.test(volume) ? containerPath({ mounts: [], folders: [] }, path) : volume
      })
    )
  }
  return {
    engine,
    codes,
    isolation: isolation.map(value => value.toLowerCase()),
    none: networks?.includes('bridge') ?? false
  }
}

async function shownRow(context: WineContext, row: Json): Promise<{ row: Json; code: number | undefined } | undefined> {
  const record = recordOf(context.machine, stringsOf(row.Labels))
  if (record === undefined) return undefined
  const linuxCode = exitedCode(stringOf(row.Status))
  const ending = linuxCode === undefined ? undefined : await endingOf(context, stringOf(row.Id), linuxCode)
  if (ending?.kind === 'failed') {
    return { row: { ...windowsRow(row, record, undefined), State: 'created', Status: 'Created' }, code: undefined }
  }
  const code = ending?.kind === 'exited' ? ending.code : linuxCode
  return { row: windowsRow(row, record, code), code }
}

/** The code in `Exited (7) 3 minutes ago`. */
function exitedCode(status: string): number | undefined {
  const match = /^(?:Exited|Restarting) \((-?\d+)\)/.exec(status)
  return match === null ? undefined : Number(match[1])
}

/** A line of `docker ps` as a Windows daemon would give it. `code` is the 32-bit code of one that has ended. */
export function windowsRow(row: Json, record: ContainerRecord, code: number | undefined): Json {
  const { Entrypoint, Cmd } = record.config
  const words = [...(Entrypoint ?? []), ...(Cmd ?? [])]
  const status = stringOf(row.Status)
  const networks = windowsNetworks(objectOf(row.NetworkSettings))
  const mode = stringOf(objectOf(row.HostConfig).NetworkMode)
  return {
    // The manifest on the Linux engine is no Windows one.
    ...without(row, ['ImageManifestDescriptor']),
    Image: /^sha256:/.test(stringOf(row.Image)) || !/^sha256:/.test(record.image) ? record.image : row.Image,
    ImageID: record.imageId ?? row.ImageID,
    Command: record.config.ArgsEscaped ? words.join(' ') : words.map(quoteForList).join(' '),
    Labels: userLabels(stringsOf(row.Labels)),
    Status: code === undefined ? status : status.replace(/\(-?\d+\)/, `(${code})`),
    HostConfig: { ...objectOf(row.HostConfig), NetworkMode: networkName(mode) },
    NetworkSettings: networks,
    Mounts: objectsOf(row.Mounts).map(mount => windowsMount(mount, record))
  }
}

// Docker's own list puts words with blanks in quotes, and so shows a Windows path with its slashes as they are.
function quoteForList(word: string): string {
  return /\s/.test(word) ? quoteArgument(word) : word
}
