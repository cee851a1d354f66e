import type { Readable, Writable } from 'node:stream'

/** What may wait in memory for a slow receiver, in bytes. Large enough for one write call to carry several reads. */
const waitingLimit = 1024 * 1024

export interface Pump {
  /** Moves nothing more; what comes is read and thrown away, so that the sender can finish. */
  discard(): void
}

/**
 * Moves bytes from one stream to the other until the first ends, then ends the second (unless `end` is false). Unlike `pipe` it gathers what one
 * turn of the event loop brought and writes it at the end of the turn. That is faster (one call for many chunks), and it
 * reads an answer that a peer sent before closing, ere a write to that closed peer fails and takes the connection down.
 */
export function pump(from: Readable, to: Writable, options: { end?: boolean; onEnd?: () => void } = {}): Pump {
  const { end = true, onEnd } = options
  let gathered: Buffer[] = []
  let gatheredBytes = 0
  let scheduled = false
  let discarding = false
  let ended = false

  const flush = (): void => {
    scheduled = false
    if (discarding) return
    // The receiver is gone. The sender is read on, so that it gets as far as the answer, if there is one for it.
    if (to.destroyed || to.writableEnded) {
      discard()
      return
    }
    to.cork()
    for (const chunk of gathered) to.write(chunk)
    to.uncork()
    gathered = []
    gatheredBytes = 0
    if (ended) {
      if (end) to.end()
    } else if (to.writableNeedDrain && to.writableLength >= waitingLimit) {
      from.pause()
      to.once('drain', () => from.resume())
    } else from.resume()
  }
  const discard = (): void => {
    discarding = true
    gathered = []
    from.resume()
  }
  const schedule = (): void => {
    if (scheduled) return
    scheduled = true
    setImmediate(flush)
  }
  from.on('data', (chunk: Buffer) => {
    if (discarding) return
    gathered.push(chunk)
    gatheredBytes += chunk.length
    if (gatheredBytes >= waitingLimit) from.pause()
    schedule()
  })
  const finish = (): void => {
    ended = true
    onEnd?.()
    schedule()
  }
  // A stream that ended while something else was waited for does not say so twice.
  if (from.readableEnded) finish()
  else {
    from.once('end', finish)
    from.resume()
  }
  return { discard }
}
