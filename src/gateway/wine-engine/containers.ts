import type { Route } from '#gateway/routes.ts'
import { archiveRoutes } from './archive.ts'
import type { WineContext } from './context.ts'
import { createRoutes } from './create.ts'
import { execRoutes } from './exec.ts'
import { inspectRoutes } from './inspect.ts'
import { lifecycleRoutes } from './lifecycle.ts'
import { listRoutes } from './list.ts'
import { startRoutes } from './start.ts'
import { waitRoutes } from './wait.ts'

/** All routes below `/containers` and `/exec`; the first that fits counts, so the general ones come last. */
export function containerRoutes(context: WineContext): Route[] {
  return [
    ...createRoutes(context),
    ...listRoutes(context),
    ...inspectRoutes(context),
    ...startRoutes(context),
    ...waitRoutes(context),
    ...execRoutes(context),
    ...archiveRoutes(context),
    ...lifecycleRoutes(context)
  ]
}
