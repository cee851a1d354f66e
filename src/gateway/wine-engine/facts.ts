import type { Engine } from '#docker/engine.ts'
import { objectOf, stringOf } from './json.ts'
import { cappedVersion } from './version.ts'

/** What the gateway must know of the engine for the head of every answer. */
export interface EngineFacts {
  version: string
  /** As clients are told: never newer than what the rewrites know. */
  apiVersion: string
  minApiVersion: string
}

// An engine that is updated under a running gateway comes back with another version.
const freshMs = 30_000
/** A living engine answers `/version` in milliseconds; beyond this it counts as gone. */
export const QUICK_MS = 5_000

/**
 * Gives the engine's facts. Only the first request waits for them; when they have grown old they are asked for anew while
 * the old ones serve. Rejects when the engine cannot be reached and nothing is known yet.
 */
export function engineFacts(engine: Engine, now: () => number = Date.now): () => Promise<EngineFacts> {
  let known: { at: number; facts: EngineFacts } | undefined
  let asking: Promise<EngineFacts> | undefined
  const renew = (): Promise<EngineFacts> => {
    asking ??= ask(engine)
      .then(facts => {
        known = { at: now(), facts }
        return facts
      })
      .finally(() => {
        asking = undefined
      })
    return asking
  }
  return async () => {
    if (known === undefined) return await renew()
    // An engine that is gone says so to the request itself.
    if (now() - known.at >= freshMs) renew().catch(() => {})
    return known.facts
  }
}

async function ask(engine: Engine): Promise<EngineFacts> {
  const version = objectOf(await engine.json('GET', '/version', undefined, { timeoutMs: QUICK_MS }))
  return {
    version: stringOf(version.Version),
    apiVersion: cappedVersion(stringOf(version.ApiVersion)),
    minApiVersion: stringOf(version.MinAPIVersion)
  }
}
