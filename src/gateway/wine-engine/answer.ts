import type { IncomingMessage } from 'node:http'
import type { Handling } from '#gateway/proxy/handling.ts'
import { readJson, sendJson } from '#gateway/proxy/respond.ts'
import type { Json } from './json.ts'
import { Refusal } from './refusal.ts'

/** A Handling whose answer is one JSON value, or none for undefined. What `make` throws becomes the answer of the proxy. */
export function answerJson(make: (request: IncomingMessage) => Promise<unknown>, status = 200): Handling {
  return {
    kind: 'handle',
    async handler(request, response) {
      const value = await make(request)
      if (value === undefined) response.writeHead(status, { 'Content-Length': 0 }).end()
      else sendJson(response, status, value)
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

/** The JSON object in a request's body; an empty body is `{}`. A Refusal when it is another value. */
export async function readBody(request: IncomingMessage): Promise<Json> {
  const value = (await readJson(request)) ?? {}
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new Refusal('the body of the request must be a JSON object')
  }
  return value as Json
}
