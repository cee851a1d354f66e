import { createServer } from 'node:http'
import { type AddressInfo, connect } from 'node:net'
import type { Duplex } from 'node:stream'

/** A proxy whose tunnels all end at one port here, so that a server has any name one likes. */
export async function tunnelTo(port: number): Promise<{ url: string; close: () => Promise<void> }> {
  const proxy = createServer()
  const ends = new Set<Duplex>()
  proxy.on('connect', (_request, socket: Duplex) => {
    const target = connect(port, '127.0.0.1', () => {
      socket.write('HTTP/1.1 200 OK\r\n\r\n')
      socket.pipe(target).pipe(socket)
    })
    for (const end of [socket, target]) {
      ends.add(end)
      end.on('error', () => undefined)
    }
    socket.on('close', () => target.destroy())
    // A pipe does not tell its other end of a reset.
    target.on('error', () => socket.destroy())
  })
  await new Promise<void>(resolve => proxy.listen(0, '127.0.0.1', resolve))
  const close = () =>
    new Promise<void>(resolve => {
      for (const end of ends) end.destroy()
      proxy.close(() => resolve())
    })
  return { url: `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`, close }
}
