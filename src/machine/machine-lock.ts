import { withLock } from '#lib/lock.ts'
import type { LockHolder } from '#lib/lock-holder.ts'
import type { Report } from '#lib/progress.ts'
import { machinePaths, sharedLock } from './paths.ts'
import type { World } from './world.ts'

/** What every verb is given. */
export interface MachineRequest {
  name: string
  env: NodeJS.ProcessEnv
  signal: AbortSignal
  report: Report
  /** Only tests give one. */
  world?: World
}

/** For verbs that take seconds. */
export const LOCK_MS = 5 * 60_000

/** Takes the machine's lock for a verb, telling who has it when it has to wait. Fault 3 after `limitMs`. */
export function lockMachine<T>(
  request: MachineRequest,
  verb: string,
  limitMs: number,
  work: (signal: AbortSignal) => Promise<T>
): Promise<T> {
  return lock(request, machinePaths(request.name, request.env).lock, `oriel ${verb} ${request.name}`, limitMs, work)
}

/** Taken while something is being prepared that several machines share; `key` names it. */
export function lockShared<T>(
  request: MachineRequest,
  key: string,
  limitMs: number,
  work: (signal: AbortSignal) => Promise<T>
): Promise<T> {
  return lock(request, sharedLock(key, request.env), `oriel up ${request.name}`, limitMs, work)
}

function lock<T>(
  { signal, report }: MachineRequest,
  path: string,
  doing: string,
  limitMs: number,
  work: (signal: AbortSignal) => Promise<T>
): Promise<T> {
  const onWait = (holder: LockHolder | undefined) => {
    const who = holder === undefined ? 'another command' : `"${holder.doing}" (process ${holder.pid})`
    report({ type: 'notice', text: `Waiting for ${who}, which works on the same.` })
  }
  return withLock(path, { doing, limitMs, signal, onWait }, work)
}
