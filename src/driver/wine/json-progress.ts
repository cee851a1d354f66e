import type { Readable } from 'node:stream'

/** One object of the stream that an engine sends while it builds, pulls or imports. */
export interface ProgressMessage {
  stream?: string
  status?: string
  id?: string
  error?: string
  errorDetail?: { message?: string; code?: number }
  aux?: { ID?: string }
  progressDetail?: { current?: number; total?: number }
}

const LINE_BYTES = 8 * 1024 * 1024

/** Reads such a stream object by object. What is not JSON (a proxy's error page) comes as an error message. */
export async function* progressMessages(body: Readable): AsyncGenerator<ProgressMessage> {
  let rest = ''
  body.setEncoding('utf8')
  for await (const chunk of body) {
    rest += chunk as string
    const lines = rest.split('\n')
    rest = lines.pop() ?? ''
    for (const line of lines) yield* parseLine(line)
    if (rest.length > LINE_BYTES) return
  }
  yield* parseLine(rest)
}

function* parseLine(line: string): Generator<ProgressMessage> {
  if (line.trim() === '') return
  let value: unknown
  try {
    value = JSON.parse(line)
  } catch {
    yield { error: line.trim().slice(0, 500) }
    return
  }
  if (typeof value !== 'object' || value === null) return
  const message = value as ProgressMessage & { message?: string }
  // An answer with an error status has the error in `message`.
  yield message.message === undefined ? message : { ...message, error: message.message }
}
