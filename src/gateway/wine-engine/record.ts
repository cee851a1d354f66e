import { EngineError } from '#docker/engine.ts'
import { CONTAINER_LABEL, MACHINE_LABEL, type WindowsConfig } from '#image/windows-config.ts'
import { isWindowsPath, normalizeWindowsPath, toLinuxPath, toWindowsPath } from '#image/windows-path.ts'
import type { WineContext } from './context.ts'
import { type Json, objectOf, stringOf, stringsOf } from './json.ts'
import { Refusal } from './refusal.ts'

/** A mount as the client named it and as the engine has it. */
export interface RecordedMount {
  type: 'bind' | 'volume'
  /** The client's spelling of the source; empty for a volume without a name. */
  source: string
  /** A Windows path. */
  destination: string
  /** The Linux path in the container. */
  target: string
}

/** The JSON under CONTAINER_LABEL: what the engine cannot keep of a Windows container, and its clients want back. */
export interface ContainerRecord {
  machine: string
  /** The image as the client named it. */
  image: string
  /** The image's id as clients see it; records of earlier versions have none. */
  imageId?: string
  /** The client's HostConfig, as it came. */
  hostConfig: Json
  /** What the container is configured with, the image's part included. */
  config: WindowsConfig
  /** Removed by the gateway when it ends, since the engine would take the 32-bit exit code with it. */
  autoRemove: boolean
  mounts: RecordedMount[]
  /** Folders of the image in their real case. */
  folders: string[]
}

/** A container of this machine. */
export interface Container {
  id: string
  /** The engine's `inspect`. */
  inspect: Json
  state: Json
  record: ContainerRecord
}

/** Reads the record of this machine's container from its labels; undefined for all others. */
export function recordOf(machine: string, labels: Record<string, string>): ContainerRecord | undefined {
  const json = labels[CONTAINER_LABEL]
  if (labels[MACHINE_LABEL] !== machine || json === undefined) return undefined
  try {
    return JSON.parse(json) as ContainerRecord
  } catch {
    return undefined
  }
}

/** Finds a container of this machine by name or (short) id. A Refusal in docker's words when there is none. */
export async function findContainer(context: WineContext, id: string): Promise<Container> {
  let inspect: Json
  try {
    inspect = objectOf(await context.engine.json('GET', `/containers/${encodeURIComponent(id)}/json`))
  } catch (error) {
    if (error instanceof EngineError && error.status === 404) throw noSuchContainer(id)
    throw error
  }
  const record = recordOf(context.machine, stringsOf(objectOf(inspect.Config).Labels))
  if (record === undefined) throw noSuchContainer(id)
  return { id: stringOf(inspect.Id), inspect, state: objectOf(inspect.State), record }
}

/** What docker says of a container that is not there; those of other machines count as such. */
export function noSuchContainer(id: string): Refusal {
  return new Refusal(`No such container: ${id}`, 404)
}

/** The Linux path of a Windows path in this container: mounts and the image's folders lend their case. */
export function containerPath(record: Pick<ContainerRecord, 'mounts' | 'folders'>, path: string): string {
  const normal = normalizeWindowsPath(path)
  let best: RecordedMount | undefined
  for (const mount of record.mounts) {
    const root = mount.destination.toLowerCase()
    const inside = normal.toLowerCase() === root || normal.toLowerCase().startsWith(`${root.replace(/\\$/, '')}\\`)
    if (inside && mount.destination.length > (best?.destination.length ?? 0)) best = mount
  }
  if (best === undefined) return toLinuxPath(normal, record.folders)
  return best.target + normal.slice(best.destination.replace(/\\$/, '').length).replaceAll('\\', '/')
}

/** A path that a client gave, in any form that a Windows daemon takes, as an absolute Windows path; undefined for others. */
export function absoluteWindowsPath(path: string): string | undefined {
  const slashed = path.replaceAll('/', '\\')
  return isWindowsPath(slashed) ? normalizeWindowsPath(slashed) : undefined
}

/** Linux paths in a text of the engine as the Windows paths that they stand for. */
export function inWindowsWords(text: string): string {
  return text.replace(/\/c\/drive_[a-z](?:\/[^\s"':,]*)*/g, path => toWindowsPath(path.replace(/\/$/, '')) ?? path)
}
