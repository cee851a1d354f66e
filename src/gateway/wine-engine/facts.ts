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

/** Gives the engine's facts, asked for at most every half minute. Rejects when the engine cannot be reached. */
export function engineFacts(engine: Engine, now: () => number = Date.now): () => Promise<EngineFacts> {
  let known: { at: number; facts: Promise<EngineFacts> } | undefined
  return () => {
    if (known !== undefined && now() - known.at < freshMs) return known.facts
    const asked = { at: now(), facts: ask(engine) }
    known = asked
    asked.facts.catch(() => {
      // The next request asks again: the engine may be back.
      if (known === asked) known = undefined
    })
    return asked.facts
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
