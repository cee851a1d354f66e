import { dial } from '#docker/endpoint.ts'
import type { Engine } from '#docker/engine.ts'
import { serve } from '#gateway/proxy/serve.ts'
import { Fault, messageOf } from '#lib/fault.ts'
import type { Log } from '#lib/log.ts'

export interface WindowsGatewayOptions {
  machine: string
  /** Where clients find the machine. */
  socketPath: string
  /** The Windows engine behind it. */
  engine: Engine
  log: Pick<Log, 'error'>
}

/**
 * Serves a real Windows engine on a Unix socket: every request is joined to a connection of its own, and nothing in it is
 * changed. Rejects with a Fault when the socket cannot be had; an engine that is gone is told to each client, as a 503.
 */
export async function startWindowsGateway(options: WindowsGatewayOptions): Promise<{ close(): Promise<void> }> {
  const { machine, socketPath, engine, log } = options
  return serve({
    listen: { path: socketPath },
    dial: () =>
      dial(engine.endpoint).catch((error: unknown) => {
        const why = `the engine of machine "${machine}" does not answer: ${messageOf(error)}`
        throw new Fault(`${why} (see: oriel status ${machine})`, { cause: error })
      }),
    decide: () => ({ kind: 'splice' }),
    onError: error => log.error(messageOf(error))
  })
}
