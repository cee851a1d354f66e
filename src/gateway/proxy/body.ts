import { once } from 'node:events'
import type { Readable, Transform, Writable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { setImmediate } from 'node:timers/promises'
import { BodyReader, chunkEncoder, type Framing } from './framing.ts'
import { pump } from './pump.ts'
import { StatusError } from './status-error.ts'

/**
 * Sends the body of a request through a transform, in chunks, and leaves the client paused behind the body's end. Resolves
 * when the body is through, or when the receiver is gone: its answer, or the want of one, tells why. Rejects for broken
 * framing, for a client that ended too early, and with the transform's own error.
 */
export async function sendBodyThrough(
  client: Readable,
  engine: Writable,
  framing: Framing,
  transform: Transform
): Promise<void> {
  const encoder = chunkEncoder()
  const stop = (): void => {
    transform.destroy()
  }
  engine.once('close', stop)
  const feeding = feed(client, framing, transform)
  pump(encoder, engine, { end: false })
  try {
    await Promise.all([pipeline(transform, encoder), feeding, once(encoder, 'end')])
  } catch (error) {
    transform.destroy()
    if (!engine.destroyed) throw error
  } finally {
    engine.off('close', stop)
  }
  // The pump writes the last chunk at the end of this turn; what follows the body must come behind it.
  await setImmediate()
}

/**
 * Reads a body of known length and leaves the client paused behind its end. Rejects with a StatusError 400 when the client
 * ends before.
 */
export function readBody(client: Readable, length: number): Promise<Buffer> {
  const chunks: Buffer[] = []
  let got = 0
  return new Promise((resolve, reject) => {
    const settle = (act: () => void): void => {
      client.off('data', onData).off('end', onEnd).off('close', onEnd)
      client.pause()
      act()
    }
    const onEnd = (): void => settle(() => reject(new StatusError(400, 'the body of the request was cut off')))
    const onData = (chunk: Buffer): void => {
      chunks.push(chunk)
      got += chunk.length
      if (got < length) return
      settle(() => {
        const all = Buffer.concat(chunks)
        if (all.length > length) client.unshift(all.subarray(length))
        resolve(all.subarray(0, length))
      })
    }
    client.on('data', onData).on('end', onEnd).on('close', onEnd)
    if (client.readableEnded || client.destroyed) onEnd()
    else client.resume()
  })
}

function feed(client: Readable, framing: Framing, transform: Transform): Promise<void> {
  const body = new BodyReader(framing)
  return new Promise((resolve, reject) => {
    const settle = (act: () => void): void => {
      client.off('data', onData).off('end', onEnd).off('close', onEnd)
      transform.off('drain', onDrain).off('close', onTransformClose)
      client.pause()
      act()
    }
    const fail = (error: Error): void => {
      settle(() => {
        transform.destroy(error)
        reject(error)
      })
    }
    const onDrain = (): void => {
      client.resume()
    }
    const onTransformClose = (): void => settle(resolve)
    const onEnd = (): void => fail(new StatusError(400, 'the body of the request was cut off'))
    const onData = (chunk: Buffer): void => {
      let cut: ReturnType<BodyReader['feed']>
      try {
        cut = body.feed(chunk)
      } catch (error) {
        fail(error instanceof Error ? error : new Error(String(error)))
        return
      }
      for (const piece of cut.data) {
        if (!transform.write(piece)) client.pause()
      }
      if (!body.done) return
      settle(() => {
        if (cut.rest.length > 0) client.unshift(cut.rest)
        transform.end()
        resolve()
      })
    }
    client.on('data', onData).on('end', onEnd).on('close', onEnd)
    transform.on('drain', onDrain).on('close', onTransformClose)
    if (client.readableEnded || client.destroyed) onEnd()
    else client.resume()
  })
}
