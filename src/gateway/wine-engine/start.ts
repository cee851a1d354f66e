import { setTimeout as sleep } from 'node:timers/promises'
import { EngineError, engineErrorOf } from '#docker/engine.ts'
import { joinTarget, type Route } from '#gateway/routes.ts'
import { MAIN_STATE } from '#image/launch.ts'
import type { WineContext } from './context.ts'
import { objectOf, stringOf } from './json.ts'
import { type Container, findContainer, inWindowsWords } from './record.ts'
import { Refusal } from './refusal.ts'
import { type ProgramState, readState, stampState } from './state-file.ts'

// init writes within some milliseconds; a machine under heavy load may take longer.
const STATE_LIMIT_MS = 10_000
const POLL_MS = 8
// Past this the program is slow to come, and asking so often only slows it further.
const EAGER_MS = 300
const SLOW_POLL_MS = 50

/** Runs that a start still watches: whoever removes ended containers waits for these. */
const starting = new WeakMap<WineContext, Map<string, Promise<unknown>>>()

/** Resolves when no start of this container is being watched any more. */
export async function untilStartIsKnown(context: WineContext, id: string): Promise<void> {
  await starting
    .get(context)
    ?.get(id)
    ?.catch(() => {})
}

export function startRoutes(context: WineContext): Route[] {
  return (['start', 'restart'] as const).map(verb => ({
    method: 'POST',
    template: `/containers/{id}/${verb}`,
    action: ({ params, query, version }) => ({
      kind: 'handle',
      handler: async (_request, response) => {
        const id = params.id ?? ''
        const container = await findContainer(context, id)
        const target = joinTarget(version, `/containers/${container.id}/${verb}`, query)
        const status = await watched(context, container.id, () => startAndWatch(context, container, target, id))
        response.writeHead(status).end()
      }
    })
  }))
}

async function watched<T>(context: WineContext, id: string, start: () => Promise<T>): Promise<T> {
  const running = starting.get(context) ?? new Map<string, Promise<unknown>>()
  starting.set(context, running)
  const started = start()
  running.set(id, started)
  try {
    return await started
  } finally {
    if (running.get(id) === started) running.delete(id)
  }
}

/** Starts a container and waits until init knows whether its program can run. A Refusal when it cannot. */
async function startAndWatch(
  context: WineContext,
  container: Container,
  target: string,
  name: string
): Promise<number> {
  const ranBefore = !stringOf(container.state.StartedAt).startsWith('0001-')
  const before = ranBefore ? (await stampState(context, container.id, MAIN_STATE))?.stamp : undefined
  const answer = await context.engine.request('POST', target)
  if (answer.status === 304) {
    answer.body.resume()
    return 304
  }
  if (answer.status >= 400) {
    const error = await engineErrorOf(answer)
    // It never ran, so no event tells of its end, and the client of `run --rm` waits until it is gone.
    if (container.record.autoRemove && container.state.Running !== true) await discard(context, container.id)
    throw new EngineError(error.status, inWindowsWords(error.message))
  }
  answer.body.resume()
  const state = await untilState(context, container.id, before)
  if (state?.kind === 'failed') throw startFailure(`container ${name}`, state)
  return answer.status
}

async function discard(context: WineContext, id: string): Promise<void> {
  const answer = await context.engine.request('DELETE', `/containers/${id}?v=1`)
  answer.body.resume()
  if (answer.status >= 400)
    context.log.warn('a container that did not start is not removed', { id, status: answer.status })
}

/** Waits for a state that is not the one of the run before (`before`). Undefined when none comes, or the container is gone. */
async function untilState(
  context: WineContext,
  id: string,
  before: string | undefined
): Promise<ProgramState | undefined> {
  const begin = Date.now()
  for (;;) {
    const seen = await stampState(context, id, MAIN_STATE)
    if (seen !== undefined && seen.stamp !== before) {
      if (seen.started) return { kind: 'started' }
      return (await readState(context, id, MAIN_STATE))?.state
    }
    const waited = Date.now() - begin
    if (waited > STATE_LIMIT_MS) {
      context.log.warn('a container said nothing of its start', { id, waitedMs: waited })
      return undefined
    }
    if (waited >= EAGER_MS && !(await isRunning(context, id))) return undefined
    await sleep(waited < EAGER_MS ? POLL_MS : SLOW_POLL_MS)
  }
}

async function isRunning(context: WineContext, id: string): Promise<boolean> {
  try {
    const inspect = objectOf(await context.engine.json('GET', `/containers/${id}/json`))
    return objectOf(inspect.State).Running === true
  } catch (error) {
    if (error instanceof EngineError && error.status === 404) return false
    throw error
  }
}

/** The words of a Windows daemon whose program could not be started: its clients look for them, to exit with 126 or 127. */
export function startFailure(what: string, state: Extract<ProgramState, { kind: 'failed' }>): Refusal {
  return new Refusal(failureMessage(what, state), 400)
}

/** As above, for `inspect`. */
export function failureMessage(what: string, { error, text }: Extract<ProgramState, { kind: 'failed' }>): string {
  const words = WORDS[error] ?? (text === '' ? 'The program could not be started.' : text)
  // Docker's client exits with 126 or 127 where it reads these words; it knows "cannot find the file specified" by itself.
  const hint = error === 5 ? ': permission denied' : error === 3 ? ': no such file or directory' : ''
  return `${what} encountered an error during hcs::System::CreateProcess: failure in a Windows system call: ${words} (0x${error.toString(16)})${hint}`
}

const WORDS: Record<number, string> = {
  2: 'The system cannot find the file specified.',
  3: 'The system cannot find the path specified.',
  5: 'Access is denied.',
  193: '%1 is not a valid Win32 application.',
  267: 'The directory name is invalid.'
}

/** The exit code that docker gives a container whose program could not be started. */
export function failureExitCode(error: number): number {
  return error === 2 || error === 3 ? 127 : 126
}
