import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { messageOf } from '#lib/fault.ts'
import { endGently } from './connection.ts'
import type { Handling, RequestHead } from './handling.ts'
import { formatRequestHead } from './head.ts'
import { sendError } from './respond.ts'
import { statusOf } from './status-error.ts'

type Handler = Extract<Handling, { kind: 'handle' }>['handler']

/** Node's head limit; above the proxy's own, which has been passed by then. */
const maxHeaderSize = 128 * 1024

/** Gives connections whose head has been read to Node's HTTP parser, each for one request. */
export class HandlerServer {
  readonly #handlers = new WeakMap<object, Handler>()
  readonly #onError: (error: unknown) => void
  readonly #server = createServer(
    { maxHeaderSize, noDelay: true, requestTimeout: 0, highWaterMark: 512 * 1024 },
    (request, response) => {
      const handler = this.#handlers.get(request.socket)
      // A second request on the connection: nobody decided on it. The end of the first answer closes the connection.
      if (handler === undefined) return
      this.#handlers.delete(request.socket)
      this.#answer(handler, request, response)
    }
  )

  constructor(onError: (error: unknown) => void) {
    this.#onError = onError
    // Node cuts the list of headers silently otherwise; the size of the head bounds it.
    this.#server.maxHeadersCount = 0
  }

  /** The socket is paused, its head taken out and everything behind it still in it. */
  take(socket: Socket, head: RequestHead, handler: Handler): void {
    this.#handlers.set(socket, handler)
    // The parser must see the message from its first byte on.
    socket.unshift(formatRequestHead(head))
    // How Node ends a connection behind its last answer. On an unread upload that would be a reset, answer lost.
    socket.destroySoon = () => endGently(socket)
    this.#server.emit('connection', socket)
    socket.resume()
  }

  #answer(handler: Handler, request: IncomingMessage, response: ServerResponse): void {
    response.shouldKeepAlive = false
    response.setHeader('Connection', 'close')
    const fail = (error: unknown): void => {
      const status = statusOf(error)
      if (status === undefined) this.#onError(error)
      if (response.headersSent) response.destroy()
      else sendError(response, status ?? 500, messageOf(error))
    }
    // A handler may throw before its first await.
    Promise.resolve()
      .then(() => handler(request, response))
      .catch(fail)
  }
}
