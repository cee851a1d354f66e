import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Readable } from 'node:stream'
import type { Handling } from '#gateway/proxy/handling.ts'
import { joinTarget, type Route, type RouteMatch } from '#gateway/routes.ts'
import { BeyondWine, DockerfileFault } from '#image/dockerfile/fault.ts'
import { type Translation, translate } from '#image/dockerfile/translate.ts'
import { lookupBase } from './build-base.ts'
import { flow } from './build-compression.ts'
import { readRunEnd, removeContainer } from './build-container.ts'
import { ContextFilter, GENERATED } from './build-context.ts'
import { BuildProgress, withoutLinuxPaths } from './build-progress.ts'
import { type BuildRequest, readBuildQuery } from './build-query.ts'
import { withBuildSource } from './build-remote.ts'
import { jsonLines } from './build-stream.ts'
import type { WineContext } from './context.ts'
import { cannot, Refusal } from './refusal.ts'
import { buildAuths } from './registry-access.ts'

/** `docker build` with the classic builder, on the Linux engine's own one. */
export function buildRoutes(context: WineContext): Route[] {
  return [
    {
      method: 'POST',
      template: '/build',
      action: (match): Handling => ({
        kind: 'handle',
        handler: (request, response) => build(context, match, request, response)
      })
    },
    { method: 'POST', template: '/build/prune', action: () => answer({ CachesDeleted: null, SpaceReclaimed: 0 }) },
    { method: 'POST', template: '/build/cancel', action: () => answer(undefined) }
  ]
}

/** The classic builder's cache is its images, so that there is nothing to prune; nor has a build an id to cancel by. */
function answer(body: unknown): Handling {
  return {
    kind: 'handle',
    handler: async (request, response) => {
      request.resume()
      const text = body === undefined ? '' : `${JSON.stringify(body)}\n`
      response.writeHead(200, { 'Content-Type': 'application/json', 'Content-Length': Buffer.byteLength(text) })
      response.end(text)
    }
  }
}

async function build(
  context: WineContext,
  match: RouteMatch,
  request: IncomingMessage,
  response: ServerResponse
): Promise<void> {
  const gone = new AbortController()
  // A client that leaves ends the build: the engine stops when its own client, which is the gateway, does.
  response.once('close', () => gone.abort())
  try {
    const wanted = readBuildQuery(match.query)
    const auths = buildAuths(match.head)
    await withBuildSource(context, wanted, request, gone.signal, async ({ tar, dockerfile }) => {
      const state: { translation?: Translation; failure?: Error } = {}
      const filter = new ContextFilter(dockerfile, async text => {
        const translation = await translate(text, {
          lookup: reference => lookupBase(context, reference, { pull: wanted.pull, auths, signal: gone.signal }),
          buildArgs: wanted.buildArgs,
          labels: wanted.labels,
          target: wanted.target,
          name: dockerfile
        })
        state.translation = translation
        return translation.dockerfile
      })
      filter.once('error', error => {
        state.failure = error
      })
      const upload = flow(tar, filter)
      const engine = await ask(context, match, wanted, upload, gone.signal).catch((error: Error) => {
        throw state.failure ?? error
      })
      await stream(context, wanted, () => state.translation, engine.body, response)
    })
  } catch (error) {
    await drained(request)
    if (gone.signal.aborted) return
    if (response.headersSent) throw error
    throw asRefusal(error)
  }
}

const DRAIN_MS = 30_000

/** Reads what a client is still sending: some read no answer before they have sent everything. */
async function drained(request: IncomingMessage): Promise<void> {
  if (request.readableEnded || request.destroyed) return
  request.unpipe()
  request.resume()
  await new Promise<void>(resolve => {
    const timer = setTimeout(resolve, DRAIN_MS)
    request.once('close', resolve).once('end', resolve)
    request.once('close', () => clearTimeout(timer)).once('end', () => clearTimeout(timer))
  })
}

/** Starts the engine's build. Throws a Refusal with the engine's own words when it does not want to. */
async function ask(
  context: WineContext,
  match: RouteMatch,
  wanted: BuildRequest,
  upload: Readable,
  signal: AbortSignal
): Promise<{ body: Readable }> {
  const query = new URLSearchParams(wanted.engineQuery)
  query.set('dockerfile', GENERATED)
  const registries = match.head.headers.find(([name]) => name.toLowerCase() === 'x-registry-config')?.[1]
  const engine = await context.engine.request('POST', joinTarget(match.version, '/build', query), {
    body: upload,
    headers: {
      'Content-Type': 'application/x-tar',
      ...(registries === undefined ? {} : { 'X-Registry-Config': registries })
    },
    signal,
    // The head comes with the first output, after the whole upload.
    timeoutMs: 0
  })
  if (engine.status < 400) return engine
  let text = ''
  for await (const chunk of engine.body) {
    text += String(chunk)
    if (text.length > 1_000_000) break
  }
  throw new Refusal(withoutLinuxPaths(messageIn(text)), engine.status)
}

function messageIn(text: string): string {
  try {
    const { message } = JSON.parse(text) as { message?: unknown }
    if (typeof message === 'string') return message
  } catch {
    // Not JSON: then it is the message itself.
  }
  return text.trim()
}

/** Sends the engine's progress to the client, as the person's own Dockerfile would have made it. */
async function stream(
  context: WineContext,
  wanted: BuildRequest,
  translation: () => Translation | undefined,
  body: Readable,
  response: ServerResponse
): Promise<void> {
  response.writeHead(200, { 'Content-Type': 'application/json' })
  response.flushHeaders()
  let progress: BuildProgress | undefined
  for await (const message of jsonLines(body)) {
    const known = translation()
    if (progress === undefined && known !== undefined) {
      progress = new BuildProgress({
        translation: known,
        rm: wanted.rm,
        runEnd: container => readRunEnd(context.engine, container)
      })
    }
    const messages = (await progress?.next(message)) ?? [message]
    const left = progress?.container
    if (typeof message.error === 'string' && left !== undefined) {
      // Nobody could see it or clean it up: the gateway lists only containers that carry its own label.
      await removeContainer(context, left)
      if (wanted.forceRm) messages.splice(-1, 0, { stream: `Removing intermediate container ${left}\n` })
    }
    for (const out of messages) await write(response, out)
  }
  response.end()
}

/** Writes one message and waits while the client is slow. */
async function write(response: ServerResponse, message: object): Promise<void> {
  if (response.destroyed || response.write(`${JSON.stringify(message)}\r\n`)) return
  await new Promise<void>(resolve => {
    const done = (): void => {
      response.off('drain', done)
      response.off('close', done)
      resolve()
    }
    response.on('drain', done)
    response.on('close', done)
  })
}

function asRefusal(error: unknown): unknown {
  if (error instanceof BeyondWine) {
    const { message, status } = cannot(error.what)
    return new Refusal(`Dockerfile line ${error.line}: ${error.instruction}: ${message}`, status)
  }
  if (error instanceof DockerfileFault) return new Refusal(error.message, 400)
  return error
}
