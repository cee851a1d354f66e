import { setTimeout as delay } from 'node:timers/promises'
import { Fault } from './fault.ts'

/** What a command throws when Ctrl-C or SIGTERM ended it. */
export function interrupted(): Fault {
  return new Fault('interrupted.', { exitCode: 130 })
}

/** Throws when the signal has fired. */
export function checkAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw interrupted()
}

/** Waits `ms`; a Fault (130) when the signal fires first. */
export async function pause(ms: number, signal?: AbortSignal): Promise<void> {
  checkAborted(signal)
  try {
    await delay(ms, undefined, signal === undefined ? {} : { signal })
  } catch {
    throw interrupted()
  }
}

/**
 * Asks `check` again and again until it gives a value, at first quickly and then every `everyMs`.
 * Undefined when `limitMs` has passed; the caller says what that means.
 */
export async function poll<T>(
  check: () => Promise<T | undefined>,
  options: { limitMs: number; everyMs?: number; signal?: AbortSignal }
): Promise<T | undefined> {
  const end = Date.now() + options.limitMs
  let wait = 10
  for (;;) {
    checkAborted(options.signal)
    const value = await check()
    if (value !== undefined) return value
    if (Date.now() + wait > end) return undefined
    await pause(wait, options.signal)
    wait = Math.min(wait * 1.5, options.everyMs ?? 250)
  }
}
