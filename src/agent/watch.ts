import { messageOf } from '#lib/fault.ts'
import type { Log } from '#lib/log.ts'
import { pause } from '#lib/wait.ts'

const AGAIN_MS = 10_000

/** Looks after a guest until the signal fires: what ends or fails before is logged, and begun again after a pause. */
export async function keepWatching(
  watch: (signal: AbortSignal) => Promise<void>,
  log: Pick<Log, 'warn'>,
  signal: AbortSignal,
  againMs = AGAIN_MS
): Promise<void> {
  let last: string | undefined
  while (!signal.aborted) {
    try {
      await watch(signal)
      last = undefined
    } catch (error) {
      // A guest that is gone for a night is worth one line, not thousands.
      if (!signal.aborted && messageOf(error) !== last) log.warn('looking after the guest failed', { error })
      last = messageOf(error)
    }
    await pause(againMs, signal).catch(() => undefined)
  }
}
