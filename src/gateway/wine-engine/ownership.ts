import { EngineError } from '#docker/engine.ts'
import { joinTarget } from '#gateway/routes.ts'
import { MACHINE_LABEL } from '#image/windows-config.ts'
import type { WineContext } from './context.ts'
import { type Json, objectOf, objectsOf, stringOf, stringsOf } from './json.ts'

/** `dev.oriel.machine=NAME`: the filter and the mark of what belongs to this machine. */
export function ownLabel(machine: string): string {
  return `${MACHINE_LABEL}=${machine}`
}

export function isOwn(machine: string, labels: unknown): boolean {
  return stringsOf(labels)[MACHINE_LABEL] === machine
}

/** Ids of all containers of this machine. */
export async function ownContainers({ engine, machine }: WineContext): Promise<Set<string>> {
  const query = new URLSearchParams({ all: '1', filters: JSON.stringify({ label: [ownLabel(machine)] }) })
  const rows = objectsOf(await engine.json('GET', joinTarget('', '/containers/json', query)))
  return new Set(rows.map(row => stringOf(row.Id)))
}

/** The engine's answer to a GET, or undefined when it has no such thing. */
export async function getIfThere({ engine }: Pick<WineContext, 'engine'>, target: string): Promise<Json | undefined> {
  try {
    return objectOf(await engine.json('GET', target))
  } catch (error) {
    if (error instanceof EngineError && error.status === 404) return undefined
    throw error
  }
}
