import { mkdtempSync, rmSync } from 'node:fs'
import { connect, createServer, type Server, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Handling, RequestHead } from '#gateway/proxy/handling.ts'
import { serve } from '#gateway/proxy/serve.ts'

const folder = mkdtempSync(join(tmpdir(), 'oriel-proxy-'))
process.once('exit', () => rmSync(folder, { recursive: true, force: true }))
let count = 0

export interface Rig {
  path: string
  /** Heads that `decide` saw. */
  heads: RequestHead[]
  errors: unknown[]
  /** The proxy's open connections to the engine. */
  engineSockets: Set<Socket>
  /** A client's connection, half-open. */
  open(): Socket
  /** Sends bytes and reads until the proxy ends. */
  talk(...bytes: (string | Buffer)[]): Promise<string>
  stop(): Promise<void>
}

/** A proxy in front of a fake engine that is given each connection raw. */
export async function rig(
  onEngine: ((socket: Socket) => void) | undefined,
  decide: (head: RequestHead) => Handling | Promise<Handling> = () => ({ kind: 'splice' }),
  options: { headTimeoutMs?: number } = {}
): Promise<Rig> {
  const enginePath = join(folder, `engine${count}`)
  const path = join(folder, `sub${count}`, `proxy${count++}`)
  const engineSockets = new Set<Socket>()
  const accepted = new Set<Socket>()
  let engine: Server | undefined
  if (onEngine !== undefined) {
    engine = createServer({ allowHalfOpen: true }, socket => {
      accepted.add(socket)
      socket.on('error', () => {}).on('close', () => accepted.delete(socket))
      onEngine(socket)
    })
    await new Promise<void>(resolve => engine?.listen(enginePath, resolve))
  }
  const heads: RequestHead[] = []
  const errors: unknown[] = []
  const proxy = await serve({
    listen: { path },
    dial: () =>
      new Promise((resolve, reject) => {
        const socket = connect({ path: enginePath, allowHalfOpen: true })
        engineSockets.add(socket)
        socket.once('close', () => engineSockets.delete(socket))
        socket.once('connect', () => resolve(socket)).once('error', reject)
      }),
    decide: head => {
      heads.push(head)
      return decide(head)
    },
    onError: error => errors.push(error),
    ...options
  })
  const open = (): Socket => connect({ path, allowHalfOpen: true })
  return {
    path,
    heads,
    errors,
    engineSockets,
    open,
    talk: async (...bytes) => {
      const socket = open()
      for (const piece of bytes) {
        socket.write(piece)
        if (bytes.length > 1) await pause(5)
      }
      const answer = await readAll(socket)
      socket.end()
      return answer
    },
    stop: async () => {
      await proxy.close()
      for (const socket of accepted) socket.destroy()
      await new Promise<void>(resolve => (engine === undefined ? resolve() : engine.close(() => resolve())))
    }
  }
}

export function pause(ms: number): Promise<void> {
  return new Promise(resolve => setTimeout(resolve, ms))
}

export async function readAll(socket: Socket): Promise<string> {
  let text = ''
  for await (const chunk of socket.iterator({ destroyOnReturn: false })) text += chunk.toString('latin1')
  return text
}

/** Waits until a text has come in; gives all that came until then, and leaves the socket readable. */
export function readUntil(socket: Socket, wanted: string): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = ''
    const settle = (act: () => void): void => {
      socket.off('data', onData).off('end', onEnd).off('error', onEnd)
      act()
    }
    const onEnd = (): void => settle(() => reject(new Error(`ended before "${wanted}": ${text}`)))
    const onData = (chunk: Buffer): void => {
      text += chunk.toString('latin1')
      if (text.includes(wanted)) settle(() => resolve(text))
    }
    socket.on('data', onData).on('end', onEnd).on('error', onEnd)
  })
}

/** Waits for a condition, 20 s at most. */
export async function until(condition: () => boolean): Promise<void> {
  for (let n = 0; n < 2000; n++) {
    if (condition()) return
    await pause(10)
  }
  throw new Error('it did not come to be')
}
