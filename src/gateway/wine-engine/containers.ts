import type { Route } from '#gateway/routes.ts'
import { archiveRoutes } from './archive.ts'
import { changesRoutes } from './changes.ts'
import { commitRoutes } from './commit.ts'
import type { WineContext } from './context.ts'
import { createRoutes } from './create.ts'
import { execRoutes } from './exec.ts'
import { inspectRoutes } from './inspect.ts'
import { lifecycleRoutes } from './lifecycle.ts'
import { listRoutes } from './list.ts'
import { startRoutes } from './start.ts'
import { statsRoutes } from './stats.ts'
import { topRoutes } from './top.ts'
import { waitRoutes } from './wait.ts'

/** All routes below `/containers` and `/exec`, and `/commit`; the first that fits counts, so the general ones come last. */
export function containerRoutes(context: WineContext): Route[] {
  return [
    ...createRoutes(context),
    ...listRoutes(context),
    ...inspectRoutes(context),
    ...startRoutes(context),
    ...waitRoutes(context),
    ...execRoutes(context),
    ...archiveRoutes(context),
    ...topRoutes(context),
    ...statsRoutes(context),
    ...changesRoutes(context),
    ...commitRoutes(context),
    ...lifecycleRoutes(context)
  ]
}
