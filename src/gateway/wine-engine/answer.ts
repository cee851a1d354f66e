import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Handling } from '#gateway/proxy/handling.ts'
import { Refusal } from './refusal.ts'

// The largest body that a client sends to one of these endpoints is a network's options: a few KiB.
const bodyLimitBytes = 1024 * 1024

/**
 * A Handling whose answer is one JSON value, or a status without a body for `undefined` (204 unless told otherwise).
 * What `make` throws becomes the answer of the proxy.
 */
export function answerJson(make: (request: IncomingMessage) => Promise<unknown>, status?: number): Handling {
  return {
    kind: 'handle',
    async handler(request, response) {
      const value = await make(request)
      sendValue(response, status ?? (value === undefined ? 204 : 200), value)
    }
  }
}

/** A Handling that refuses without a look at the body. */
export function refuse(refusal: Refusal): Handling {
  return {
    kind: 'handle',
    async handler() {
      throw refusal
    }
  }
}

function sendValue(response: ServerResponse, status: number, value: unknown): void {
  if (value === undefined) {
    response.writeHead(status).end()
    return
  }
  // The engine ends its JSON with a newline, and scripts that read lines rely on it.
  const text = `${JSON.stringify(value)}\n`
  response
    .writeHead(status, { 'Content-Type': 'application/json', 'Content-Length': Buffer.byteLength(text) })
    .end(text)
}

/** The JSON object in a request's body; an empty body is `{}`. A Refusal when it is too large or no JSON object. */
export async function readBody(request: IncomingMessage): Promise<Record<string, unknown>> {
  const chunks: Buffer[] = []
  let length = 0
  for await (const chunk of request as AsyncIterable<Buffer>) {
    length += chunk.length
    if (length > bodyLimitBytes) throw new Refusal('request body is too large', 413)
    chunks.push(chunk)
  }
  const text = Buffer.concat(chunks).toString('utf8').trim()
  if (text === '') return {}
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    throw new Refusal('invalid JSON: the body of the request cannot be read')
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new Refusal('invalid JSON: the body of the request must be an object')
  }
  return value as Record<string, unknown>
}
