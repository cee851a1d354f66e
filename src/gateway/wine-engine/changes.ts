import { sendJson } from '#gateway/proxy/respond.ts'
import { joinTarget, type Route } from '#gateway/routes.ts'
import { toWindowsPath } from '#image/windows-path.ts'
import type { WineContext } from './context.ts'
import { type Json, objectsOf, stringOf } from './json.ts'
import { type ContainerRecord, findContainer } from './record.ts'

export function changesRoutes(context: WineContext): Route[] {
  return [
    {
      method: 'GET',
      template: '/containers/{id}/changes',
      action: ({ params, query, version }) => ({
        kind: 'handle',
        handler: async (_request, response) => {
          const { id, record } = await findContainer(context, params.id ?? '')
          const changes = await context.engine.json('GET', joinTarget(version, `/containers/${id}/changes`, query))
          sendJson(response, 200, windowsChanges(objectsOf(changes), record))
        }
      })
    }
  ]
}

/** What of the engine's changes lies on a Windows drive, by its Windows path; what Oriel made itself is left out. */
export function windowsChanges(changes: readonly Json[], record: Pick<ContainerRecord, 'mounts'>): Json[] {
  const made = new Set(record.mounts.map(mount => mount.target))
  return changes.flatMap(change => {
    const path = stringOf(change.Path)
    const windows = toWindowsPath(path)
    // A drive itself says nothing, and the place of a mount is no change of its user's.
    if (windows === undefined || windows.length <= 'C:\\'.length || made.has(path)) return []
    return [{ ...change, Path: windows }]
  })
}
