import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Transform } from 'node:stream'

/** The first lines of an HTTP/1.1 message; header order and spelling are kept. */
export interface RequestHead {
  method: string
  /** As sent: path and query. */
  target: string
  headers: [name: string, value: string][]
}

export interface ResponseHead {
  status: number
  reason: string
  headers: [name: string, value: string][]
}

/**
 * What the proxy does with one request. A connection carries one request: `splice` joins it to a connection of its own to
 * the engine and moves bytes both ways, half-close included; `handle` gives it to Node's HTTP parser.
 */
export type Handling =
  | {
      kind: 'splice'
      /** The head to send on instead. The body follows untouched, or through `requestBody` (framing is the proxy's care). */
      request?: RequestHead
      requestBody?: () => Transform
      /** May change the head of the answer, never its framing. Not called for 1xx but 101. */
      response?: (head: ResponseHead) => ResponseHead
      /** Answers in place of the engine's answer when it is an error (status 400 and up). */
      onError?: (status: number, message: string) => { status: number; message: string }
    }
  | { kind: 'handle'; handler: (request: IncomingMessage, response: ServerResponse) => Promise<void> }
