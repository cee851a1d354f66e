import type { WineContext } from './context.ts'
import { objectOf, stringOf } from './json.ts'

/** What init last wrote in its state file; see guest/wine/CONTRACT.md. */
export type ProgramState =
  | { kind: 'started' }
  /** `code` is the program's 32-bit code, unsigned. */
  | { kind: 'exited'; code: number }
  /** `error` is the Win32 code. */
  | { kind: 'failed'; error: number; text: string }

const BLOCK = 512
// A state file is one line; more than this is something else.
const LIMIT_BYTES = 64 * 1024
const READ_MS = 10_000

/** Reads one line of a state file; undefined for anything that init does not write. */
export function parseState(line: string): ProgramState | undefined {
  const [, word, number = '', text = ''] = /^(started|exited|failed)(?: (\d{1,10}))?(?: (.*))?$/.exec(line.trim()) ?? []
  if (word === 'started') return { kind: 'started' }
  if (word === undefined || number === '') return undefined
  return word === 'exited' ? { kind: 'exited', code: Number(number) } : { kind: 'failed', error: Number(number), text }
}

/** The content of the first regular file of a small tar; undefined when there is none. */
export function firstFile(tar: Buffer): Buffer | undefined {
  for (let at = 0; at + BLOCK <= tar.length; ) {
    const size = Number.parseInt(
      tar
        .toString('latin1', at + 124, at + 136)
        .replace(/\0.*$/s, '')
        .trim(),
      8
    )
    const type = tar.toString('latin1', at + 156, at + 157)
    if (Number.isNaN(size)) return undefined
    const body = tar.subarray(at + BLOCK, at + BLOCK + size)
    if (type === '0' || type === '\0') return body.length === size ? body : undefined
    at += BLOCK + Math.ceil(size / BLOCK) * BLOCK
  }
  return undefined
}

/**
 * Reads the state file of a container, running or not. `stamp` tells one writing from the next. Undefined when there is none
 * (yet), or the container is gone.
 */
export async function readState(
  context: WineContext,
  id: string,
  path: string
): Promise<{ state: ProgramState; stamp: string } | undefined> {
  const answer = await context.engine.request('GET', `/containers/${id}/archive?path=${encodeURIComponent(path)}`, {
    timeoutMs: READ_MS
  })
  if (answer.status !== 200) {
    answer.body.resume()
    return undefined
  }
  const chunks: Buffer[] = []
  let length = 0
  for await (const chunk of answer.body) {
    length += chunk.length
    if (length > LIMIT_BYTES) break
    chunks.push(chunk)
  }
  const file = firstFile(Buffer.concat(chunks))
  const state = file === undefined ? undefined : parseState(file.toString('utf8'))
  return state === undefined ? undefined : { state, stamp: stampOf(answer.headers['x-docker-container-path-stat']) }
}

/** The time of the last writing, to the nanosecond, with the size: of the stat header that the engine sends. */
export function stampOf(header: string | string[] | undefined): string {
  if (typeof header !== 'string') return ''
  try {
    const stat = objectOf(JSON.parse(Buffer.from(header, 'base64').toString('utf8')))
    return `${stringOf(stat.mtime)}/${String(stat.size)}`
  } catch {
    return ''
  }
}

/** The stamp and size of a container's state file without reading it; undefined when there is none. */
export async function stampState(
  context: WineContext,
  id: string,
  path: string
): Promise<{ stamp: string; started: boolean } | undefined> {
  const answer = await context.engine.request('HEAD', `/containers/${id}/archive?path=${encodeURIComponent(path)}`, {
    timeoutMs: READ_MS
  })
  answer.body.resume()
  if (answer.status !== 200) return undefined
  const stamp = stampOf(answer.headers['x-docker-container-path-stat'])
  // Only `started` is that short, with a line break or without: the others carry a number.
  return { stamp, started: Number(stamp.slice(stamp.lastIndexOf('/') + 1)) <= 'started\n'.length }
}
