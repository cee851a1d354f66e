import type { Handling } from '#gateway/proxy/handling.ts'
import { readJson, sendJson } from '#gateway/proxy/respond.ts'
import { joinTarget, type Route, type RouteMatch } from '#gateway/routes.ts'
import { CONTAINER_LABEL, MACHINE_LABEL } from '#image/windows-config.ts'
import type { WineContext } from './context.ts'
import { translateHostConfig } from './create-host.ts'
import { readFilters, withFilters } from './filters.ts'
import { type Json, numberOf, objectOf, without } from './json.ts'
import { findContainer, inWindowsWords } from './record.ts'
import { Refusal } from './refusal.ts'

/** Calls whose bytes go through as they are, once it is sure that the container is this machine's. */
const PLAIN: readonly [method: Route['method'], verb: string][] = [
  ['POST', '/pause'],
  ['POST', '/unpause'],
  ['POST', '/rename'],
  ['POST', '/resize'],
  ['POST', '/attach'],
  ['GET', '/attach/ws'],
  ['GET', '/logs'],
  ['DELETE', '']
]

export function lifecycleRoutes(context: WineContext): Route[] {
  return [
    { method: 'POST', template: '/containers/prune', action: match => prune(context, match) },
    ...(['stop', 'kill'] as const).map(
      (verb): Route => ({
        method: 'POST',
        template: `/containers/{id}/${verb}`,
        action: match => {
          const signal = match.query.get('signal')
          if (signal !== null && signal !== '') match.query.set('signal', initSignal(signal))
          return passOn(context, match, `/${verb}`)
        }
      })
    ),
    { method: 'POST', template: '/containers/{id}/update', action: match => update(context, match) },
    ...['/containers/{id}/checkpoints', '/containers/{id}/checkpoints/{name}'].map(
      (template): Route => ({
        method: '*',
        template,
        action: () => {
          throw new Refusal('checkpoint is not supported by Windows containers', 501)
        }
      })
    ),
    ...PLAIN.map(
      ([method, verb]): Route => ({
        method,
        template: `/containers/{id}${verb}`,
        action: match => passOn(context, match, verb)
      })
    )
  ]
}

/** Sends a request on under the container's id, its bytes untouched. */
async function passOn(
  context: WineContext,
  { head, params, query, version }: RouteMatch,
  verb: string
): Promise<Handling> {
  const { id } = await findContainer(context, params.id ?? '')
  return {
    kind: 'splice',
    request: { ...head, target: joinTarget(version, `/containers/${id}${verb}`, query) },
    onError: (status, message) => ({ status, message: inWindowsWords(message) })
  }
}

const INIT_SIGNALS: Record<string, string> = {
  KILL: 'SIGKILL',
  9: 'SIGKILL',
  INT: 'SIGINT',
  2: 'SIGINT',
  QUIT: 'SIGQUIT',
  3: 'SIGQUIT',
  HUP: 'SIGHUP',
  1: 'SIGHUP'
}

const OTHER_SIGNALS =
  /^(TERM|ABRT|ALRM|BUS|CHLD|CLD|CONT|FPE|ILL|IO|IOT|PIPE|POLL|PROF|PWR|SEGV|STKFLT|STOP|SYS|TRAP|TSTP|TTIN|TTOU|URG|USR1|USR2|VTALRM|WINCH|XCPU|XFSZ|RTM(IN|AX)([+-]\d+)?|[1-5]?\d|6[0-4])$/

/**
 * The signal for init that stands for a client's. Windows knows two ways to end a program, at once and by asking, and init has
 * the console events besides. What is no signal stays as it is: the engine says so.
 */
export function initSignal(signal: string): string {
  const name = signal.toUpperCase().replace(/^SIG/, '')
  return INIT_SIGNALS[name] ?? (OTHER_SIGNALS.test(name) && name !== '0' ? 'SIGTERM' : signal)
}

function prune(context: WineContext, { head, query, version }: RouteMatch): Handling {
  const filters = readFilters(query)
  filters.set('label', [...(filters.get('label') ?? []), `${MACHINE_LABEL}=${context.machine}`, CONTAINER_LABEL])
  return {
    kind: 'splice',
    request: { ...head, target: joinTarget(version, '/containers/prune', withFilters(query, filters)) }
  }
}

function update(context: WineContext, { params, query, version }: RouteMatch): Handling {
  return {
    kind: 'handle',
    handler: async (request, response) => {
      const { id } = await findContainer(context, params.id ?? '')
      const asked = objectOf(await readJson(request))
      const needsCount = numberOf(asked.CpuPercent) > 0
      const processors = needsCount ? numberOf(objectOf(await context.engine.json('GET', '/info')).NCPU) : 1
      const { hostConfig, warnings } = translateHostConfig(asked, Math.max(1, processors))
      // These belong to the creation alone.
      const body: Json = without(hostConfig, ['NetworkMode', 'AutoRemove'])
      const target = joinTarget(version, `/containers/${id}/update`, query)
      const answer = objectOf(await context.engine.json('POST', target, body))
      sendJson(response, 200, { ...answer, Warnings: warnings.length > 0 ? warnings : null })
    }
  }
}
