import { chmod, lstat, mkdir, rm } from 'node:fs/promises'
import { connect, createServer, type Server, type Socket } from 'node:net'
import { dirname } from 'node:path'
import type { Duplex } from 'node:stream'
import { Fault, messageOf } from '#lib/fault.ts'
import { endGently, messageAnswer } from './connection.ts'
import { requestFraming } from './framing.ts'
import { HandlerServer } from './handle.ts'
import type { Handling, RequestHead } from './handling.ts'
import { parseRequestHead, readHead } from './head.ts'
import { splice } from './splice.ts'
import { statusOf } from './status-error.ts'

export interface ProxyOptions {
  /** Path of the Unix socket. Its folder is made if need be. */
  listen: { path: string }
  /** Opens a connection to the engine; one a spliced request. Must give up in time by itself. */
  dial: () => Promise<Duplex>
  /** Says what to do with a request, before any byte of its body is read. A rejection with a `status` is its answer. */
  decide: (head: RequestHead) => Handling | Promise<Handling>
  /** Told of what went wrong and was no client's or handler's answer; for the log. */
  onError?: (error: unknown) => void
  /** Limit for a request's head to arrive, in ms. */
  headTimeoutMs?: number
}

const headLimitBytes = 64 * 1024
const headTimeoutDefaultMs = 30_000
/** The kernel's limit for the path of a Unix socket: 104 bytes on macOS, 108 on Linux, one of them the final NUL. */
const pathLimitBytes = 103
const bufferBytes = 256 * 1024

/**
 * Serves a Unix socket that only its owner can use. One request a connection: `decide` says whether it is spliced to the engine
 * or handled here. Rejects with a Fault when the socket cannot be had. `close` ends all connections and removes the socket.
 */
export async function serve(options: ProxyOptions): Promise<{ close(): Promise<void> }> {
  const { path } = options.listen
  const onError = options.onError ?? (() => {})
  const handlers = new HandlerServer(onError)
  const clients = new Set<Socket>()
  const server = createServer({ allowHalfOpen: true, pauseOnConnect: true, highWaterMark: bufferBytes }, client => {
    clients.add(client)
    client.once('close', () => clients.delete(client))
    // A client may break off at any moment; what that means is decided where its bytes go.
    client.on('error', () => {})
    serveClient(client, options, handlers).catch(onError)
  })
  await claim(path)
  await listen(server, path)
  server.on('error', onError)
  return {
    close: () =>
      new Promise(resolve => {
        server.close(() => resolve())
        for (const client of clients) client.destroy()
      })
  }
}

async function serveClient(client: Socket, options: ProxyOptions, handlers: HandlerServer): Promise<void> {
  let handling: Handling
  let head: RequestHead
  try {
    const bytes = await readHead(client, {
      limitBytes: headLimitBytes,
      timeoutMs: options.headTimeoutMs ?? headTimeoutDefaultMs,
      strict: true
    })
    if (bytes === undefined) {
      // Silence is not answered: a client that keeps a spare connection would take a word on it for an answer to its next request.
      client.destroy()
      return
    }
    head = parseRequestHead(bytes)
    requestFraming(head.headers)
    handling = await options.decide(head)
  } catch (error) {
    const status = statusOf(error)
    endGently(client, messageAnswer(status ?? 500, messageOf(error)))
    if (status === undefined) throw error
    return
  }
  if (client.destroyed) return
  if (handling.kind === 'handle' && client.readableEnded) {
    // Node's HTTP server takes an ended client for one that went away.
    endGently(client, messageAnswer(400, 'the client ended the connection before its answer'))
  } else if (handling.kind === 'handle') handlers.take(client, head, handling.handler)
  else await splice(client, head, handling, options.dial)
}

/** Makes the way free for the socket: its folder, and away with what a dead process left. */
async function claim(path: string): Promise<void> {
  if (Buffer.byteLength(path) > pathLimitBytes) {
    throw new Fault(`The path of the socket is too long for this system: ${path}`, {
      hint: `Use a folder with a shorter path (at most ${pathLimitBytes} bytes in all).`
    })
  }
  await mkdir(dirname(path), { recursive: true, mode: 0o700 })
  const found = await lstat(path).catch(() => undefined)
  if (found === undefined) return
  if (!found.isSocket()) throw new Fault(`${path} is in the way: it is no socket.`, { hint: 'Move it away.' })
  if (await answers(path)) throw new Fault(`Another process already serves ${path}.`, { exitCode: 3 })
  await rm(path, { force: true })
}

function answers(path: string): Promise<boolean> {
  return new Promise(resolve => {
    const socket = connect(path)
    const settle = (is: boolean): void => {
      socket.destroy()
      resolve(is)
    }
    socket.once('connect', () => settle(true)).once('error', () => settle(false))
  })
}

async function listen(server: Server, path: string): Promise<void> {
  const ready = new Promise<void>((resolve, reject) => {
    server.once('listening', resolve).once('error', error => {
      reject(new Fault(`Cannot listen on ${path}: ${error.message}`, { cause: error }))
    })
  })
  // Node makes the socket within this call: with the mask it is never, not for a moment, open to others.
  const before = process.umask(0o177)
  try {
    server.listen(path)
  } finally {
    process.umask(before)
  }
  await ready
  await chmod(path, 0o600)
}
