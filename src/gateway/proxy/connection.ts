import { STATUS_CODES } from 'node:http'
import type { Duplex } from 'node:stream'
import type { ResponseHead } from './handling.ts'
import { formatResponseHead } from './head.ts'

/** How long a client that has its answer may go on sending before its connection is cut, in ms. */
const lingerMs = 30_000
/** How often a client that has ended its half is asked whether it is still there, in ms. */
const probeMs = 1000

/** An answer of the proxy itself, as the engine would put it. */
export function messageAnswer(status: number, message: string, headers: ResponseHead['headers'] = []): Buffer {
  const body = Buffer.from(`${JSON.stringify({ message })}\n`)
  const head: ResponseHead = {
    status,
    reason: STATUS_CODES[status] ?? 'Unknown',
    headers: [
      ...headers,
      ['Content-Type', 'application/json'],
      ['Content-Length', String(body.length)],
      ['Connection', 'close']
    ]
  }
  return Buffer.concat([formatResponseHead(head), body])
}

/**
 * Ends a connection after a last word. What the client still sends is read and thrown away for a while: closing on unread
 * bytes would reset the connection, and the client could lose the answer.
 */
export function endGently(client: Duplex, lastWord?: Buffer): void {
  if (client.destroyed) return
  if (!client.writableEnded) client.end(lastWord)
  client.on('data', () => {}).resume()
  lingerThenCut(client)
}

/** Cuts the connection if the client has not ended it in time. */
export function lingerThenCut(client: Duplex): void {
  const timer = setTimeout(() => client.destroy(), lingerMs)
  client.once('close', () => clearTimeout(timer))
}

/**
 * Tells a client that only ended its half (an attach whose input is done) from one that is gone: to the reader both are the
 * same end of file, but a write of no bytes fails on a closed Unix socket. Destroys the connection then.
 */
export function watchForDeparture(client: Duplex): void {
  const nothing = Buffer.alloc(0)
  const timer = setInterval(() => {
    if (client.writableEnded || client.destroyed) clearInterval(timer)
    // With bytes waiting the socket itself finds out.
    else if (client.writableLength === 0) client.write(nothing)
  }, probeMs)
  timer.unref()
  client.once('close', () => clearInterval(timer))
}
