import type { ServerResponse } from 'node:http'
import { dial } from '#docker/endpoint.ts'
import type { Engine } from '#docker/engine.ts'
import type { Handling, RequestHead, ResponseHead } from '#gateway/proxy/handling.ts'
import { serve } from '#gateway/proxy/serve.ts'
import { matchRoute, type Route, splitTarget } from '#gateway/routes.ts'
import { messageOf } from '#lib/fault.ts'
import { autoRemove } from './auto-remove.ts'
import { buildRoutes } from './build.ts'
import { containerRoutes } from './containers.ts'
import type { GatewayLog, WineContext } from './context.ts'
import { dfRoutes } from './df.ts'
import { eventRoutes } from './events.ts'
import { exportRoutes } from './export.ts'
import { type EngineFacts, engineFacts } from './facts.ts'
import { ImageStore } from './image-store.ts'
import { imageRoutes } from './images.ts'
import { loadRoutes } from './load.ts'
import { networkRoutes } from './networks.ts'
import { pullRoutes } from './pull.ts'
import { pushRoutes } from './push.ts'
import { refusedRoutes } from './refused.ts'
import { saveRoutes } from './save.ts'
import { systemRoutes } from './system.ts'
import { checkVersion } from './version.ts'
import { volumeRoutes } from './volumes.ts'

export interface WineGatewayOptions {
  machine: string
  /** Where clients find the machine. */
  socketPath: string
  /** The Linux engine behind it. */
  engine: Engine
  /** For what images bring from a registry. */
  imagesFolder: string
  /** For HTTP_PROXY and the like; the process's own by default. */
  env?: NodeJS.ProcessEnv
  log: GatewayLog
}

/**
 * Serves a Windows daemon on a Unix socket, played by a Linux engine and Wine. Rejects with a Fault when the socket cannot
 * be had; an engine that is gone is told to each client.
 */
export async function startWineGateway(options: WineGatewayOptions): Promise<{ close(): Promise<void> }> {
  const { machine, socketPath, engine, imagesFolder, env = process.env, log } = options
  const context: WineContext = { machine, engine, images: new ImageStore(imagesFolder, engine, env), log }
  const proxy = await serve({
    listen: { path: socketPath },
    dial: () => dial(engine.endpoint),
    decide: decider(wineRoutes(context), engineFacts(engine)),
    onError: error => log.error(messageOf(error), error instanceof Error ? { stack: error.stack } : {})
  })
  const closing = new AbortController()
  const removal = autoRemove(context, closing.signal)
  return {
    async close() {
      closing.abort()
      await Promise.all([proxy.close(), removal])
    }
  }
}

/** The whole table; where two lines fit a request, the first one counts. */
export function wineRoutes(context: WineContext): Route[] {
  return [
    ...systemRoutes(context),
    ...refusedRoutes(),
    ...exportRoutes(context),
    ...pullRoutes(context),
    ...pushRoutes(context),
    ...saveRoutes(context),
    ...loadRoutes(context),
    ...imageRoutes(context),
    ...buildRoutes(context),
    ...containerRoutes(context),
    ...volumeRoutes(context),
    ...networkRoutes(context),
    ...eventRoutes(context),
    ...dfRoutes(context)
  ]
}

/** What to do with a request: its route's rewrite, or else the engine's own answer; each under a Windows daemon's head. */
export function decider(
  routes: readonly Route[],
  facts: () => Promise<EngineFacts>
): (head: RequestHead) => Promise<Handling> {
  return async head => {
    // Without an engine the request itself tells the client so, and better than this would.
    const known = await facts().catch(() => undefined)
    if (known !== undefined) checkVersion(splitTarget(head.target).version, known.minApiVersion, known.apiVersion)
    const found = matchRoute(routes, head)
    const handling: Handling = found === undefined ? { kind: 'splice' } : await found.route.action(found.match)
    return underWindowsHead(handling, known)
  }
}

function underWindowsHead(handling: Handling, facts: EngineFacts | undefined): Handling {
  const own = daemonHeaders(facts)
  if (handling.kind === 'splice') {
    const inner = handling.response ?? ((head: ResponseHead) => head)
    return { ...handling, response: head => withHeaders(inner(head), own) }
  }
  return {
    kind: 'handle',
    handler(request, response) {
      setOnSend(response, own)
      return handling.handler(request, response)
    }
  }
}

function daemonHeaders(facts: EngineFacts | undefined): [name: string, value: string][] {
  return [
    ['Ostype', 'windows'],
    ...(facts === undefined
      ? []
      : ([
          ['Api-Version', facts.apiVersion],
          ['Server', `Docker/${facts.version} (windows)`]
        ] as [string, string][]))
  ]
}

/** Replaces the headers where they are; those that are missing come last. */
function withHeaders(head: ResponseHead, own: readonly [name: string, value: string][]): ResponseHead {
  const missing = new Map(own.map(entry => [entry[0].toLowerCase(), entry]))
  const headers = head.headers.map(([name, value]): [string, string] => {
    const mine = own.find(([each]) => each.toLowerCase() === name.toLowerCase())
    missing.delete(name.toLowerCase())
    return [name, mine?.[1] ?? value]
  })
  return { ...head, headers: [...headers, ...missing.values()] }
}

/** Sets headers at the last moment, since a handler that hands on an engine's answer sets the engine's. */
function setOnSend(response: ServerResponse, own: readonly [name: string, value: string][]): void {
  const writeHead = response.writeHead.bind(response) as (...args: unknown[]) => ServerResponse
  response.writeHead = (...args: unknown[]): ServerResponse => {
    for (const [name, value] of own) response.setHeader(name, value)
    return writeHead(...args)
  }
}
