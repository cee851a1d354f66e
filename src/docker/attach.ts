import type { Duplex, Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { Fault } from '#lib/fault.ts'
import { dial, type Endpoint } from './endpoint.ts'
import { EngineError } from './engine.ts'

/** What a program says beside its work is short; of more the end is kept. */
const MOST_SAID = 64 * 1024
const MOST_HEAD = 64 * 1024

/** A stream to and from the standard streams of a container without a terminal. */
export interface Attachment {
  /** Sends all of a stream to standard input, and ends it. A container that ends before that is no error. */
  feed(input: Readable, signal: AbortSignal): Promise<void>
  /** What it wrote on both of its outputs, when it has ended. */
  said: Promise<string>
  close(): void
}

/**
 * Attaches to a container that has not been started yet. Node's HTTP client has no half-close, by which a program learns of
 * the end of its input, so the request is written by hand. EngineError when the engine refuses.
 */
export async function attach(endpoint: Endpoint, container: string): Promise<Attachment> {
  const socket = await dial(endpoint)
  socket.write(
    `POST /containers/${container}/attach?stream=1&stdin=1&stdout=1&stderr=1 HTTP/1.1\r\n` +
      'Host: docker\r\nConnection: Upgrade\r\nUpgrade: tcp\r\nContent-Length: 0\r\n\r\n'
  )
  let rest: Buffer
  try {
    rest = await readHead(socket)
  } catch (error) {
    socket.destroy()
    throw error
  }
  const said = readFrames(socket, rest)
  // Whoever wants to know waits for it; nobody has to.
  said.catch(() => undefined)
  return {
    async feed(input, signal) {
      let failure: Error | undefined
      input.once('error', error => {
        failure = error
      })
      try {
        await pipeline(input, socket, { signal })
      } catch (error) {
        // Of a container that has ended its exit code tells.
        if (failure !== undefined) throw failure
        if (signal.aborted) throw error
      }
    },
    said,
    close: () => socket.destroy()
  }
}

/** Reads up to the end of the answer's head; gives what came behind it. */
async function readHead(socket: Duplex): Promise<Buffer> {
  let gathered = Buffer.alloc(0)
  for (;;) {
    const chunk = await nextChunk(socket)
    if (chunk === undefined || gathered.length > MOST_HEAD) throw new Fault('the Docker engine ended an attach')
    gathered = Buffer.concat([gathered, chunk])
    const end = gathered.indexOf('\r\n\r\n')
    if (end < 0) continue
    const status = Number(/^HTTP\/1\.1 (\d{3})/.exec(gathered.toString('latin1', 0, 64))?.[1])
    const rest = gathered.subarray(end + 4)
    if (status === 101 || status === 200) return rest
    throw new EngineError(status, `the Docker engine refused an attach: ${rest.toString('utf8').slice(0, 1000)}`)
  }
}

function nextChunk(socket: Duplex): Promise<Buffer | undefined> {
  if (socket.readableEnded || socket.destroyed) return Promise.resolve(undefined)
  return new Promise((resolve, reject) => {
    const settle = (act: () => void): void => {
      socket.off('readable', onReadable).off('end', onEnd).off('error', onError).off('close', onEnd)
      act()
    }
    const onReadable = (): void => {
      const chunk = socket.read() as Buffer | null
      if (chunk !== null) settle(() => resolve(chunk))
    }
    const onEnd = (): void => settle(() => resolve(undefined))
    const onError = (error: Error): void => settle(() => reject(error))
    socket.on('readable', onReadable).once('end', onEnd).once('error', onError).once('close', onEnd)
    onReadable()
  })
}

/** Frames as the engine sends them without a terminal: a head of eight bytes, the last four of which are the length. */
async function readFrames(socket: Duplex, first: Buffer): Promise<string> {
  let pending = first
  let text = ''
  const take = (): void => {
    while (pending.length >= 8) {
      const end = 8 + pending.readUInt32BE(4)
      if (pending.length < end) return
      text = (text + pending.toString('utf8', 8, end)).slice(-MOST_SAID)
      pending = pending.subarray(end)
    }
  }
  take()
  for (;;) {
    const chunk = await nextChunk(socket)
    if (chunk === undefined) return text
    pending = pending.length === 0 ? chunk : Buffer.concat([pending, chunk])
    take()
  }
}
