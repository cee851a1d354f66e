import { engineErrorOf } from '#docker/engine.ts'
import { joinTarget, type Route } from '#gateway/routes.ts'
import { messageOf } from '#lib/fault.ts'
import type { WineContext } from './context.ts'
import { exitCodeOf } from './exit-code.ts'
import { numberOf, objectOf } from './json.ts'
import { findContainer } from './record.ts'

export function waitRoutes(context: WineContext): Route[] {
  return [
    {
      method: 'POST',
      template: '/containers/{id}/wait',
      action: ({ params, query, version }) => ({
        kind: 'handle',
        handler: async (_request, response) => {
          const { id } = await findContainer(context, params.id ?? '')
          const abort = new AbortController()
          response.once('close', () => abort.abort())
          const answer = await context.engine.request('POST', joinTarget(version, `/containers/${id}/wait`, query), {
            signal: abort.signal,
            timeoutMs: 0
          })
          if (answer.status >= 400) throw await engineErrorOf(answer)
          const chunks: Buffer[] = []
          // The client starts the container only when it has the head: it must not wait for the end.
          response.writeHead(200, { 'Content-Type': 'application/json' })
          response.flushHeaders()
          try {
            for await (const chunk of answer.body) chunks.push(chunk)
          } catch (error) {
            if (!abort.signal.aborted) {
              context.log.warn('the engine broke off a wait', { id, why: messageOf(error) })
              response.destroy()
            }
            return
          }
          const result = objectOf(JSON.parse(Buffer.concat(chunks).toString('utf8')))
          const StatusCode = await exitCodeOf(context, id, numberOf(result.StatusCode))
          response.end(`${JSON.stringify({ ...result, StatusCode })}\n`)
        }
      })
    }
  ]
}
