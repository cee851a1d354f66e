import { createServer, type IncomingMessage, request, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'

/** What goes wrong: blobs that end early, or have wrong bytes; manifests that come later, or are a web page. */
export type RegistryFaultKind = 'cut' | 'lie' | 'later' | 'html'

export interface FaultyRegistry {
  host: string
  fault: RegistryFaultKind | undefined
  /** The Range headers of the requests for blobs. */
  ranges: string[]
  stop: () => Promise<void>
}

/** A registry that hands on what another one says, and has faults. Layers only suffer that are longer than this. */
const LONG = 100_000

export async function startFaultyRegistry(behind: string): Promise<FaultyRegistry> {
  const server = createServer((incoming, response) => answer(faulty, behind, incoming, response))
  await new Promise<void>(resolve => {
    server.listen(0, '127.0.0.1', resolve)
  })
  const faulty: FaultyRegistry = {
    host: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    fault: undefined,
    ranges: [],
    stop: () =>
      new Promise(resolve => {
        server.close(() => resolve())
        server.closeAllConnections()
      })
  }
  return faulty
}

function answer(faulty: FaultyRegistry, behind: string, incoming: IncomingMessage, response: ServerResponse): void {
  const { method = 'GET', url = '/', headers } = incoming
  if (/\/blobs\/sha256:/.test(url) && headers.range !== undefined) faulty.ranges.push(headers.range)
  // A client goes on by itself after a cut, until nothing more comes.
  if (headers.range !== undefined && faulty.fault === 'cut') {
    response.destroy()
    return
  }
  if (url.includes('/manifests/') && faulty.fault === 'html') {
    response.writeHead(200, { 'Content-Type': 'text/html' }).end('<html><body>Please log in to the hotel</body></html>')
    return
  }
  if (url.includes('/manifests/') && faulty.fault === 'later') {
    const errors = [{ code: 'TOOMANYREQUESTS', message: 'You have reached your pull rate limit' }]
    response
      .writeHead(429, { 'Content-Type': 'application/json', 'Retry-After': '3600' })
      .end(JSON.stringify({ errors }))
    return
  }
  const outgoing = request(`http://${behind}${url}`, { method, headers: { ...headers, host: behind } }, from => {
    response.writeHead(from.statusCode ?? 500, from.headers)
    const long = url.includes('/blobs/') && Number(from.headers['content-length']) > LONG
    let sent = 0
    from.on('data', (chunk: Buffer) => {
      sent += chunk.length
      if (long && faulty.fault === 'lie') chunk.fill(0)
      if (long && faulty.fault === 'cut' && sent > LONG) {
        from.destroy()
        response.destroy()
      } else response.write(chunk)
    })
    from.on('end', () => response.end())
    from.on('error', () => response.destroy())
  })
  outgoing.on('error', () => response.destroy())
  incoming.pipe(outgoing)
}
