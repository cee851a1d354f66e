import { mkdtemp, rm } from 'node:fs/promises'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Engine, EngineError } from '#docker/engine.ts'
import { startWineGateway } from '#gateway/wine-engine/gateway.ts'

export interface FakeRequest {
  method: string
  path: string
  query: URLSearchParams
  body: string
}

/** What the fake answers: a value is sent as JSON with 200; a function sees the request and may answer by itself. */
export type FakeAnswer =
  | object
  | string
  | null
  | ((request: FakeRequest, response: ServerResponse, incoming: IncomingMessage) => unknown)

export interface Stage {
  /** A client of the gateway. */
  client: Engine
  /** Every request that reached the fake engine, oldest first, but for the gateway's own standing ones. */
  seen: FakeRequest[]
  socket: string
  close(): Promise<void>
}

const standing: Record<string, FakeAnswer> = {
  'GET /version': { Version: '20.10.24', ApiVersion: '1.41', MinAPIVersion: '1.12', Os: 'linux', Arch: 'arm64' },
  'GET /containers/json': [],
  'GET /networks': [],
  'GET /volumes': { Volumes: [], Warnings: null },
  'GET /images/json': [],
  'GET /info': { ID: 'fake' },
  'GET /system/df': { LayersSize: 0 }
}

/** A gateway of the machine `m1` in front of a Linux engine that answers what the test says. Keys: `GET /images/json`, and `*` for all else. */
export async function stage(answers: Record<string, FakeAnswer>): Promise<Stage> {
  const folder = await mkdtemp(join(tmpdir(), 'oriel-fake-'))
  const seen: FakeRequest[] = []
  const server = createServer((incoming, response) => {
    handle({ ...standing, ...answers }, seen, incoming, response).catch(error => response.destroy(error))
  })
  const enginePath = join(folder, 'engine.sock')
  await new Promise<void>(resolve => {
    server.listen(enginePath, resolve)
  })
  const socket = join(folder, 'gateway.sock')
  const quiet = () => {}
  const gateway = await startWineGateway({
    machine: 'm1',
    socketPath: socket,
    engine: new Engine({ kind: 'unix', path: enginePath }),
    imagesFolder: join(folder, 'images'),
    env: {},
    log: { info: quiet, warn: quiet, error: quiet }
  })
  return {
    client: new Engine({ kind: 'unix', path: socket }),
    seen,
    socket,
    async close() {
      await gateway.close()
      server.closeAllConnections()
      server.close()
      await rm(folder, { recursive: true, force: true })
    }
  }
}

async function handle(
  answers: Record<string, FakeAnswer>,
  seen: FakeRequest[],
  incoming: IncomingMessage,
  response: ServerResponse
): Promise<void> {
  const url = new URL(incoming.url ?? '/', 'http://engine')
  const chunks: Buffer[] = []
  for await (const chunk of incoming) chunks.push(chunk)
  const request = {
    method: incoming.method ?? '',
    path: decodeURIComponent(url.pathname.replace(/^\/v1\.\d+/, '')),
    query: url.searchParams,
    body: Buffer.concat(chunks).toString('latin1')
  }
  seen.push(request)
  response.setHeader('Ostype', 'linux')
  response.setHeader('Api-Version', '1.41')
  response.setHeader('Server', 'Docker/20.10.24 (linux)')
  const answer = answers[`${request.method} ${request.path}`] ?? answers['*']
  if (answer === undefined) {
    send(response, 404, { message: `nothing at ${request.path}` })
    return
  }
  const value: unknown = typeof answer === 'function' ? await answer(request, response, incoming) : answer
  if (!response.headersSent && value !== undefined) send(response, 200, value)
}

/** Answers with JSON and this status. */
export function send(response: ServerResponse, status: number, value: unknown): void {
  response.writeHead(status, { 'Content-Type': 'application/json' }).end(JSON.stringify(value))
}

/** The status and the message with which the gateway refuses. */
export async function refusalOf(answer: Promise<unknown>): Promise<{ status: number; message: string }> {
  try {
    await answer
  } catch (error) {
    if (error instanceof EngineError) return { status: error.status, message: error.message }
    throw error
  }
  throw new Error('the request was not refused')
}
