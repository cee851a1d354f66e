import type { Handling, RequestHead } from './proxy/handling.ts'

/** What a route knows of its request before any body byte is read. */
export interface RouteMatch {
  head: RequestHead
  /** Decoded values of the template's `{name}`s. */
  params: Record<string, string>
  query: URLSearchParams
  /** API version in the path, e.g. `1.41`; empty when the client named none. */
  version: string
}

/** One line of the table: the rewrite of one endpoint. */
export interface Route {
  method: 'GET' | 'HEAD' | 'POST' | 'PUT' | 'DELETE' | 'OPTIONS' | '*'
  /** As in the Engine API: `/containers/{id}/json`. A `{name}` also takes slashes, as moby's router does. */
  template: string
  action: (match: RouteMatch) => Handling | Promise<Handling>
}

/** Finds the first route of the table for a request; undefined means: pass it through. */
export function matchRoute(
  routes: readonly Route[],
  head: RequestHead
): { route: Route; match: RouteMatch } | undefined {
  const { path, query, version } = splitTarget(head.target)
  for (const route of routes) {
    if (route.method !== '*' && route.method !== head.method) continue
    const params = matchTemplate(route.template, path)
    if (params !== undefined) return { route, match: { head, params, query, version } }
  }
  return undefined
}

/** `/v1.41/containers/json?all=1` as its parts. A target in absolute form is cut to its path. */
export function splitTarget(target: string): { path: string; query: URLSearchParams; version: string } {
  const relative = target.replace(/^https?:\/\/[^/]*/i, '')
  const at = relative.indexOf('?')
  const full = at < 0 ? relative : relative.slice(0, at)
  const version = /^\/v(\d+\.\d+)(?=\/)/.exec(full)?.[1] ?? ''
  return {
    path: version === '' ? full : full.slice(version.length + 2),
    query: new URLSearchParams(at < 0 ? '' : relative.slice(at + 1)),
    version
  }
}

/** The target for a path without version and a query, under the version that the client used. */
export function joinTarget(version: string, path: string, query: URLSearchParams | string = ''): string {
  const search = query.toString()
  return `${version === '' ? '' : `/v${version}`}${path}${search === '' ? '' : `?${search}`}`
}

const patterns = new Map<string, RegExp>()

function matchTemplate(template: string, path: string): Record<string, string> | undefined {
  let pattern = patterns.get(template)
  if (pattern === undefined) {
    const source = template.replace(/[.*+?^$()|[\]\\]/g, '\\$&').replace(/\{(\w+)\}/g, '(?<$1>.+)')
    pattern = new RegExp(`^${source}/?$`)
    patterns.set(template, pattern)
  }
  const groups = pattern.exec(path)
  if (groups === null) return undefined
  try {
    return Object.fromEntries(
      Object.entries(groups.groups ?? {}).map(([name, value]) => [name, decodeURIComponent(value)])
    )
  } catch {
    return undefined
  }
}
