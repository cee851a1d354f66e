import { EngineError } from '#docker/engine.ts'
import { MAIN_STATE } from '#image/launch.ts'
import type { WineContext } from './context.ts'
import { objectOf, stringOf } from './json.ts'
import { type ProgramState, readState } from './state-file.ts'

/** init's own codes, behind which the state file has more to say. */
const AMBIGUOUS = new Set([126, 127, 240])
const REMEMBERED = 512

/** What is known of ended runs: by `id@FinishedAt`, and by id for containers that are gone. */
class Endings {
  readonly #known = new Map<string, ProgramState | undefined>()

  get(key: string): { state: ProgramState | undefined } | undefined {
    return this.#known.has(key) ? { state: this.#known.get(key) } : undefined
  }

  set(key: string, state: ProgramState | undefined): void {
    this.#known.delete(key)
    this.#known.set(key, state)
    for (const oldest of this.#known.keys()) {
      if (this.#known.size <= REMEMBERED) break
      this.#known.delete(oldest)
    }
  }
}

const endings = new WeakMap<WineContext, Endings>()

function endingsOf(context: WineContext): Endings {
  let known = endings.get(context)
  if (known === undefined) {
    known = new Endings()
    endings.set(context, known)
  }
  return known
}

/**
 * How the last run of a container ended, read from its state file when Linux's 8 bits do not tell; undefined when they tell
 * all. `finishedAt` is `State.FinishedAt`; without it the engine is asked.
 */
export async function endingOf(
  context: WineContext,
  id: string,
  linuxCode: number,
  finishedAt?: string
): Promise<ProgramState | undefined> {
  if (!AMBIGUOUS.has(linuxCode)) return undefined
  const known = endingsOf(context)
  const finished = finishedAt ?? (await finishedAtOf(context, id))
  if (finished === undefined) return known.get(id)?.state
  const key = `${id}@${finished}`
  const ready = known.get(key)
  if (ready !== undefined) return ready.state
  const state = (await readState(context, id, MAIN_STATE))?.state
  // A run that ended by itself has said so; anything else is a file that a crash left behind.
  const ending = state?.kind === 'started' ? undefined : state
  known.set(key, ending)
  known.set(id, ending)
  return ending
}

/** The exit code of a container's last run as Windows counts it (unsigned, 32 bits), from what the engine says of it. */
export async function exitCodeOf(
  context: WineContext,
  id: string,
  linuxCode: number,
  finishedAt?: string
): Promise<number> {
  const ending = await endingOf(context, id, linuxCode, finishedAt)
  return ending?.kind === 'exited' ? ending.code : linuxCode
}

/** The exit code of an exec, whose state file is at `path`. */
export async function execExitCodeOf(
  context: WineContext,
  container: string,
  path: string,
  linuxCode: number
): Promise<number> {
  if (!AMBIGUOUS.has(linuxCode)) return linuxCode
  const ending = (await readState(context, container, path))?.state
  return ending?.kind === 'exited' ? ending.code : linuxCode
}

async function finishedAtOf(context: WineContext, id: string): Promise<string | undefined> {
  try {
    const inspect = objectOf(await context.engine.json('GET', `/containers/${encodeURIComponent(id)}/json`))
    return stringOf(objectOf(inspect.State).FinishedAt)
  } catch (error) {
    if (error instanceof EngineError && error.status === 404) return undefined
    throw error
  }
}
