import { createServer, request } from 'node:http'
import { dial } from '#docker/endpoint.ts'
import { type Engine, EngineError } from '#docker/engine.ts'
import type { Log } from '#lib/log.ts'

export interface WineGatewayOptions {
  machine: string
  socketPath: string
  engine: Engine
  log: Log
}

/** INTERIM pass-through, replaced by the gateway's own branch. */
export async function startWineGateway(options: WineGatewayOptions): Promise<{ close(): Promise<void> }> {
  const server = createServer(async (incoming, outgoing) => {
    try {
      if (/\/version$/.test(incoming.url ?? '')) {
        const version = await options.engine.json<Record<string, unknown>>('GET', '/version')
        outgoing.setHeader('Content-Type', 'application/json')
        outgoing.end(JSON.stringify({ ...version, Os: 'windows' }))
        return
      }
      const socket = await dial(options.engine.endpoint)
      const onward = request(
        {
          createConnection: () => socket as never,
          method: incoming.method,
          path: incoming.url,
          headers: incoming.headers
        },
        answer => {
          outgoing.writeHead(answer.statusCode ?? 500, answer.headers)
          answer.pipe(outgoing)
        }
      )
      onward.on('error', () => outgoing.destroy())
      incoming.pipe(onward)
    } catch (error) {
      outgoing.statusCode = error instanceof EngineError ? error.status : 503
      outgoing.setHeader('Content-Type', 'application/json')
      outgoing.end(JSON.stringify({ message: String(error) }))
    }
  })
  await new Promise<void>((resolve, reject) => server.once('error', reject).listen(options.socketPath, resolve))
  return {
    close: () =>
      new Promise(resolve => {
        server.closeAllConnections()
        server.close(() => resolve())
      })
  }
}
