import { withLock } from '#lib/lock.ts'
import type { Report } from '#lib/progress.ts'
import { machinePaths } from './paths.ts'

/** What every verb is given. */
export interface MachineRequest {
  name: string
  env: NodeJS.ProcessEnv
  signal: AbortSignal
  report: Report
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
  const { name, env, signal, report } = request
  return withLock(
    machinePaths(name, env).lock,
    {
      doing: `oriel ${verb} ${name}`,
      limitMs,
      signal,
      onWait: holder =>
        report({
          type: 'notice',
          text: `Waiting for ${holder === undefined ? 'another command' : `"${holder.doing}" (process ${holder.pid})`}, which works on this machine.`
        })
    },
    work
  )
}
