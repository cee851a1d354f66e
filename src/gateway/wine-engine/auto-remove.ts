import { setTimeout as sleep } from 'node:timers/promises'
import { EngineError } from '#docker/engine.ts'
import { CONTAINER_LABEL, MACHINE_LABEL } from '#image/windows-config.ts'
import { messageOf } from '#lib/fault.ts'
import type { WineContext } from './context.ts'
import { exitCodeOf } from './exit-code.ts'
import { type Json, numberOf, objectOf, objectsOf, stringOf, stringsOf } from './json.ts'
import { recordOf } from './record.ts'
import { untilStartIsKnown } from './start.ts'

const RETRY_MIN_MS = 200
const RETRY_MAX_MS = 10_000

/**
 * Removes the containers of `docker run --rm` when they have ended: the engine would do so before the 32-bit exit code could
 * be read. Follows the engine's events until `signal` aborts, and picks up what ended while nobody looked. Never rejects.
 */
export async function autoRemove(context: WineContext, signal: AbortSignal): Promise<void> {
  let retryMs = RETRY_MIN_MS
  while (!signal.aborted) {
    try {
      await follow(context, signal, () => {
        retryMs = RETRY_MIN_MS
      })
    } catch (error) {
      if (!signal.aborted) context.log.warn('the engine sends no events', { why: messageOf(error), retryMs })
    }
    await sleep(retryMs, undefined, { signal }).catch(() => {})
    retryMs = Math.min(retryMs * 2, RETRY_MAX_MS)
  }
}

async function follow(context: WineContext, signal: AbortSignal, onOpen: () => void): Promise<void> {
  const filters = {
    type: ['container'],
    event: ['die'],
    label: [`${MACHINE_LABEL}=${context.machine}`, CONTAINER_LABEL]
  }
  const answer = await context.engine.request('GET', `/events?filters=${encodeURIComponent(JSON.stringify(filters))}`, {
    signal,
    // An engine may hold back the head until the first event.
    timeoutMs: 0
  })
  if (answer.status !== 200) {
    answer.body.resume()
    throw new EngineError(answer.status, `events: the engine answered ${answer.status}`)
  }
  onOpen()
  // After the events are open, so that none falls in between.
  sweep(context).catch(error => context.log.warn('ended containers are not swept', { why: messageOf(error) }))
  let rest = ''
  for await (const chunk of answer.body.setEncoding('utf8')) {
    const lines = (rest + chunk).split('\n')
    rest = lines.pop() ?? ''
    for (const line of lines) {
      if (line.trim() !== '') onDie(context, objectOf(JSON.parse(line)))
    }
  }
}

function onDie(context: WineContext, event: Json): void {
  const actor = objectOf(event.Actor)
  const attributes = stringsOf(actor.Attributes)
  if (recordOf(context.machine, attributes)?.autoRemove !== true) return
  const id = stringOf(actor.ID)
  removeEnded(context, id, Number(attributes.exitCode ?? 0)).catch(error =>
    context.log.warn('an ended container is not removed', { id, why: messageOf(error) })
  )
}

async function removeEnded(context: WineContext, id: string, linuxCode: number): Promise<void> {
  await untilStartIsKnown(context, id)
  // Read before it is gone: whoever waits for the removal is told the code from memory.
  await exitCodeOf(context, id, linuxCode)
  const answer = await context.engine.request('DELETE', `/containers/${id}?v=1`)
  answer.body.resume()
  if (answer.status >= 400 && answer.status !== 404 && answer.status !== 409) {
    throw new EngineError(answer.status, `the engine answered ${answer.status}`)
  }
}

/** Removes what ended while no gateway ran. */
async function sweep(context: WineContext): Promise<void> {
  const filters = { status: ['exited', 'dead'], label: [`${MACHINE_LABEL}=${context.machine}`, CONTAINER_LABEL] }
  const rows = objectsOf(
    await context.engine.json('GET', `/containers/json?all=1&filters=${encodeURIComponent(JSON.stringify(filters))}`)
  )
  for (const row of rows) {
    const id = stringOf(row.Id)
    if (recordOf(context.machine, stringsOf(row.Labels))?.autoRemove !== true) continue
    const inspect = objectOf(await context.engine.json('GET', `/containers/${id}/json`))
    const state = objectOf(inspect.State)
    if (state.Running !== true) await removeEnded(context, id, numberOf(state.ExitCode))
  }
}
