import type { Engine } from '#docker/engine.ts'
import { messageOf } from '#lib/fault.ts'

// As in #image/windows-config.ts, which this room may not import: every object of a machine carries its name.
const MACHINE_LABEL = 'dev.oriel.machine'
const STOP_MS = 60_000

interface Listed {
  Id: string
}

/**
 * Stops the machine's running containers on the Linux engine. Gives the ids of those that docker would have started again
 * with the engine (restart policy `always` or `unless-stopped`), for `startContainers`.
 */
export async function stopContainers(engine: Engine, machine: string): Promise<string[]> {
  const filters = { label: [`${MACHINE_LABEL}=${machine}`], status: ['running', 'paused', 'restarting'] }
  const running = await list<Listed[]>(engine, '/containers/json', filters)
  const again: string[] = []
  await Promise.all(
    running.map(async ({ Id: id }) => {
      const { HostConfig: host } = await engine.json<{ HostConfig?: { RestartPolicy?: { Name?: string } } }>(
        'GET',
        `/containers/${id}/json`
      )
      if (/^(always|unless-stopped)$/.test(host?.RestartPolicy?.Name ?? '')) again.push(id)
      await engine.json('POST', `/containers/${id}/stop`, undefined, { timeoutMs: STOP_MS }).catch(async () => {
        await engine.json('POST', `/containers/${id}/kill`, undefined, { timeoutMs: STOP_MS }).catch(() => undefined)
      })
    })
  )
  return again
}

/** Starts what an earlier stop has ended. A container that is gone or does not start is no failure of the machine. */
export async function startContainers(engine: Engine, ids: readonly string[]): Promise<string[]> {
  const failed: string[] = []
  await Promise.all(
    ids.map(id =>
      engine.json('POST', `/containers/${id}/start`, undefined, { timeoutMs: STOP_MS }).catch((error: unknown) => {
        failed.push(`${id.slice(0, 12)}: ${messageOf(error)}`)
      })
    )
  )
  return failed
}

/** Removes the machine's containers, then its volumes and networks. Gives how many of each. */
export async function removeObjects(
  engine: Engine,
  machine: string
): Promise<{ containers: number; volumes: number; networks: number }> {
  const filters = { label: [`${MACHINE_LABEL}=${machine}`] }
  const containers = await list<Listed[]>(engine, '/containers/json', filters)
  await Promise.all(containers.map(({ Id: id }) => remove(engine, `/containers/${id}?force=1&v=1`)))
  const { Volumes: volumes } = await list<{ Volumes: { Name: string }[] | null }>(engine, '/volumes', filters)
  await Promise.all((volumes ?? []).map(({ Name: name }) => remove(engine, `/volumes/${encodeURIComponent(name)}`)))
  const networks = await list<Listed[]>(engine, '/networks', filters)
  await Promise.all(networks.map(({ Id: id }) => remove(engine, `/networks/${id}`)))
  return { containers: containers.length, volumes: volumes?.length ?? 0, networks: networks.length }
}

function list<T>(engine: Engine, path: string, filters: Record<string, string[]>): Promise<T> {
  const query = new URLSearchParams({ all: '1', filters: JSON.stringify(filters) })
  return engine.json<T>('GET', `${path}?${query}`, undefined, { timeoutMs: 30_000 })
}

// 404 and 409 (already being removed) leave nothing to do here.
async function remove(engine: Engine, path: string): Promise<void> {
  await engine.json('DELETE', path, undefined, { timeoutMs: STOP_MS }).catch((error: unknown) => {
    const status = error instanceof Error && 'status' in error ? error.status : undefined
    if (status !== 404 && status !== 409) throw error
  })
}
