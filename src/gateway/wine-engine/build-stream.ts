import type { Readable } from 'node:stream'
import { StringDecoder } from 'node:string_decoder'
import { Fault } from '#lib/fault.ts'
import type { BuildMessage } from './build-progress.ts'

/** The engine cuts the output of a RUN into some 32 KiB a message. */
const LINE_BYTES = 8 * 1024 * 1024

/** The messages of a build stream: JSON objects, one a line. Throws a Fault for anything else. */
export async function* jsonLines(body: Readable): AsyncGenerator<BuildMessage> {
  const decoder = new StringDecoder('utf8')
  let rest = ''
  for await (const chunk of body) {
    const lines = (rest + decoder.write(chunk)).split('\n')
    rest = lines.pop() ?? ''
    if (rest.length > LINE_BYTES) throw new Fault('A line of the build output of the engine is too long.')
    for (const line of lines) if (line.trim() !== '') yield parse(line)
  }
  if (rest.trim() !== '') yield parse(rest)
}

function parse(line: string): BuildMessage {
  let value: unknown
  try {
    value = JSON.parse(line)
  } catch {
    value = undefined
  }
  if (typeof value === 'object' && value !== null) return { ...value }
  throw new Fault(`The build output of the engine is not JSON: ${line.slice(0, 200)}`)
}
