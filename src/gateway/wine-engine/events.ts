import type { Handling } from '#gateway/proxy/handling.ts'
import { lineTransform, pipeAnswer } from '#gateway/proxy/respond.ts'
import { joinTarget, type Route, type RouteMatch } from '#gateway/routes.ts'
import type { WineContext } from './context.ts'
import { EventView } from './event-view.ts'
import { type Filters, readFilters, withFilters } from './filters.ts'
import { objectOf } from './json.ts'
import { engineNetworkName } from './network-names.ts'

/** `docker events`: what happens on this machine, in the words of Windows, as a stream that ends only with its client. */
export function eventRoutes(context: WineContext): Route[] {
  return [{ method: 'GET', template: '/events', action: match => stream(context, match) }]
}

function stream(context: WineContext, { head, query, version }: RouteMatch): Handling {
  return {
    kind: 'handle',
    async handler(_request, response) {
      const { engine, images } = translateFilters(readFilters(query))
      const view = new EventView(context, images)
      await view.learn()
      const gone = new AbortController()
      response.once('close', () => gone.abort())
      // Accept chooses between newline JSON and a JSON text sequence.
      const accept = head.headers.find(([name]) => name.toLowerCase() === 'accept')?.[1]
      const answer = await context.engine.request('GET', joinTarget(version, '/events', withFilters(query, engine)), {
        signal: gone.signal,
        // Some engines hold back the head until there is an event; the client says when it has waited enough.
        timeoutMs: 0,
        ...(accept === undefined ? {} : { headers: { Accept: accept } })
      })
      const plain = answer.status !== 200
      await pipeAnswer(answer, response, plain ? {} : { through: lineTransform(line => mapLine(view, line)) })
    }
  }
}

/** The engine knows containers by their image's id and `nat` as `bridge`; the image filter is left for the view. */
export function translateFilters(filters: Filters): { engine: Filters; images: string[] } {
  const engine: Filters = new Map(filters)
  const networks = filters.get('network')
  if (networks !== undefined) engine.set('network', networks.map(engineNetworkName))
  engine.delete('image')
  return { engine, images: filters.get('image') ?? [] }
}

/** A record separator before a line is that of a JSON text sequence (RFC 7464). */
const separator = '\x1e'

async function mapLine(view: EventView, line: string): Promise<string | undefined> {
  const text = line.startsWith(separator) ? line.slice(1) : line
  if (text.trim() === '') return line
  const event = await view.show(objectOf(JSON.parse(text)))
  if (event === undefined) return undefined
  return line.slice(0, line.length - text.length) + withNanoseconds(JSON.stringify(event), text)
}

/** The time in nanoseconds does not fit JavaScript's numbers: its digits go over as they came. */
function withNanoseconds(json: string, original: string): string {
  const pattern = /"timeNano":\d+/
  const digits = pattern.exec(original)?.[0]
  return digits === undefined ? json : json.replace(pattern, digits)
}
