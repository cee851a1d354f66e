import { dial } from '#docker/endpoint.ts'
import type { Engine } from '#docker/engine.ts'
import { messageOf } from '#lib/fault.ts'
import type { Log } from '#lib/log.ts'
import type { Health } from './control.ts'

interface Version {
  Version?: string
  ApiVersion?: string
  Os?: string
  Arch?: string
}

const PROBE_MS = 2000
/** An answer of the engine counts for so long, as long as it takes connections: an answer takes it some milliseconds. */
const FRESH_MS = 8000

/** Watches whether docker clients would get an answer, and says so in the log when that changes. */
export class EngineMonitor {
  readonly #gateway: Engine
  readonly #engine: Engine
  readonly #log: Log
  #health: Health = { ok: false, why: 'not asked yet' }
  #at = 0
  #looking: Promise<Health> | undefined

  /** `gateway` is the machine's own socket as a client sees it, `engine` what is behind it. */
  constructor(gateway: Engine, engine: Engine, log: Log) {
    this.#gateway = gateway
    this.#engine = engine
    this.#log = log
  }

  /** The health now. Never rejects; takes at most some 6 s. */
  async health(): Promise<Health> {
    const known = this.#health
    if (!known.ok || Date.now() - this.#at > FRESH_MS) return this.look()
    // Tells a dead engine at once, in less time than it takes one to answer.
    return this.#connect().then(
      () => known,
      () => this.look()
    )
  }

  /** Asks the engine and the gateway. Never rejects; takes at most some 4 s. */
  look(): Promise<Health> {
    this.#looking ??= this.#look().finally(() => {
      this.#looking = undefined
    })
    return this.#looking
  }

  async #look(): Promise<Health> {
    const before = this.#health
    this.#health = await this.#ask()
    this.#at = Date.now()
    if (this.#health.ok && !before.ok) this.#log.info('the engine answers', this.#health.engine)
    if (!this.#health.ok && (before.ok || before.why !== this.#health.why)) {
      this.#log.warn('the engine does not answer', { why: this.#health.why })
    }
    return this.#health
  }

  /** Rejects when the engine takes no new connection, as every request of a client needs one. */
  async #connect(): Promise<void> {
    const { endpoint } = this.#engine
    // By ssh it takes longer than asking on a connection that is there.
    if (endpoint.kind !== 'ssh') (await dial(endpoint, PROBE_MS)).destroy()
  }

  async #ask(): Promise<Health> {
    try {
      await this.#connect()
      // The engine first: its failure says why, where the gateway's could only say that.
      await this.#engine.json('GET', '/version', undefined, limit())
      const seen = await this.#gateway.json<Version>('GET', '/version', undefined, limit())
      const { Version: version = '', ApiVersion: apiVersion = '', Os: os = '', Arch: arch = '' } = seen
      return { ok: true, engine: { version, apiVersion, os, arch } }
    } catch (error) {
      const timedOut = error instanceof Error && (error.name === 'TimeoutError' || error.name === 'AbortError')
      return { ok: false, why: timedOut ? `no answer within ${PROBE_MS / 1000} s` : messageOf(error) }
    }
  }
}

// The signal also bounds the body, the head's limit does not.
function limit() {
  return { timeoutMs: PROBE_MS, signal: AbortSignal.timeout(PROBE_MS) }
}
