import type { ServerResponse } from 'node:http'
import { pipeline } from 'node:stream/promises'
import { engineErrorOf } from '#docker/engine.ts'
import type { Route } from '#gateway/routes.ts'
import { exportedDrive } from '#image/layer/exported-drive.ts'
import type { WineContext } from './context.ts'
import { findContainer } from './record.ts'

/** `docker export`: the C: drive of a container as a tar. A Windows daemon refuses it; here it is a way to move files. */
export function exportRoutes(context: WineContext): Route[] {
  return [
    {
      method: 'GET',
      template: '/containers/{id}/export',
      action: ({ params }) => ({
        kind: 'handle',
        handler: (_request, response) => exportDrive(context, params.id ?? '', response)
      })
    }
  ]
}

async function exportDrive(context: WineContext, name: string, response: ServerResponse): Promise<void> {
  const { id } = await findContainer(context, name)
  const answer = await context.engine.request('GET', `/containers/${id}/export`, { timeoutMs: 0 })
  if (answer.status >= 400) throw await engineErrorOf(answer)
  response.writeHead(200, { 'Content-Type': 'application/octet-stream' })
  // A client that goes away takes the engine's work along; an engine that breaks off must not look like an end.
  await pipeline(exportedDrive(answer.body), response).catch(error => {
    answer.body.destroy()
    if (!response.destroyed) throw error
  })
}
