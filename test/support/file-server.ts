import { createServer, type IncomingMessage, type RequestListener, type ServerResponse } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import type { AddressInfo } from 'node:net'

export interface Asked {
  url: string
  headers: IncomingMessage['headers']
}

export interface TestServer {
  /** Without a slash at its end. */
  url: string
  port: number
  /** Every request so far. */
  asked: Asked[]
  close: () => Promise<void>
}

/** A web server on loopback that answers with `answer`. */
export async function serve(answer: RequestListener, tls?: { key: string; cert: string }): Promise<TestServer> {
  const asked: Asked[] = []
  const listener: RequestListener = (request, response) => {
    asked.push({ url: request.url ?? '', headers: request.headers })
    response.on('error', () => undefined)
    answer(request, response)
  }
  const server = tls === undefined ? createServer(listener) : createTlsServer(tls, listener)
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  return {
    url: `${tls === undefined ? 'http' : 'https'}://127.0.0.1:${port}`,
    port,
    asked,
    close: () =>
      new Promise(resolve => {
        server.closeAllConnections()
        server.close(() => resolve())
      })
  }
}

export interface FileAnswer {
  etag?: string
  lastModified?: string
  /** Takes no notice of Range. */
  ignoreRange?: boolean
  /** Says no length (chunked). */
  noLength?: boolean
  /** Cuts the connection after so many bytes of an answer. */
  cutAfter?: number
}

/** Answers as a server of files does: Range, If-Range, 416. */
export function sendFile(
  content: Buffer,
  request: IncomingMessage,
  response: ServerResponse,
  options: FileAnswer = {}
): void {
  const { etag = '"one"', lastModified, ignoreRange = false, noLength = false, cutAfter } = options
  if (etag !== '') response.setHeader('etag', etag)
  if (lastModified !== undefined) response.setHeader('last-modified', lastModified)
  const condition = request.headers['if-range']
  const holds = condition === undefined || condition === etag || condition === lastModified
  const start = ignoreRange || !holds ? 0 : Number(/^bytes=(\d+)-$/.exec(request.headers.range ?? '')?.[1] ?? 0)
  if (start >= content.length) {
    response.writeHead(416, { 'content-range': `bytes */${content.length}` }).end()
    return
  }
  const body = content.subarray(start)
  if (!noLength) response.setHeader('content-length', body.length)
  if (start > 0) {
    response.setHeader('content-range', `bytes ${start}-${content.length - 1}/${content.length}`)
    response.statusCode = 206
  }
  // A body that is given to end() gets its length from Node.
  if (cutAfter === undefined || cutAfter >= body.length) response.write(body, () => response.end())
  else response.write(body.subarray(0, cutAfter), () => setTimeout(() => response.destroy(), 30))
}
