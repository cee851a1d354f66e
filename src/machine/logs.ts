import { open, readFile, stat } from 'node:fs/promises'
import { pause } from '#lib/wait.ts'
import { existingMachine } from './store.ts'

const POLL_MS = 250

/**
 * Lines of the host agent's log: the last `lines` ones (of this log and, if it is short, the one before it), and with
 * `follow` those to come until the signal fires.
 */
export async function* agentLog(request: {
  name: string
  lines: number
  follow: boolean
  env: NodeJS.ProcessEnv
  signal: AbortSignal
}): AsyncGenerator<string> {
  const { paths } = await existingMachine(request.name, request.env)
  const path = paths.agentLog
  const now = await readFile(path, 'utf8').catch(() => '')
  const former = await readFile(`${path}.1`, 'utf8').catch(() => '')
  const all = `${former}${now}`.split('\n').filter(line => line !== '')
  yield* request.lines === 0 ? [] : all.slice(-request.lines)
  if (request.follow) yield* newLines(path, Buffer.byteLength(now), request.signal)
}

// Polled: watching tells nothing on some file systems, and four looks a second cost nothing.
async function* newLines(path: string, from: number, signal: AbortSignal): AsyncGenerator<string> {
  let at = from
  let rest = ''
  while (!signal.aborted) {
    const size = (await stat(path).catch(() => undefined))?.size ?? 0
    // Cut by a rotation: what is there now is all new.
    if (size < at) at = 0
    if (size > at) {
      const text = await readFrom(path, at, size - at)
      at = size
      const lines = (rest + text).split('\n')
      rest = lines.pop() ?? ''
      yield* lines
    }
    await pause(POLL_MS, signal).catch(() => undefined)
  }
}

async function readFrom(path: string, at: number, length: number): Promise<string> {
  const file = await open(path, 'r')
  try {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(length), 0, length, at)
    return buffer.toString('utf8', 0, bytesRead)
  } finally {
    await file.close()
  }
}
