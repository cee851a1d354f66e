import type { Engine } from '#docker/engine.ts'
import { BUILD_STATE } from '#image/dockerfile/run.ts'
import { messageOf } from '#lib/fault.ts'
import type { RunEnd } from './build-progress.ts'
import type { WineContext } from './context.ts'

/** Reads how the program of a build's container ended from its state file; undefined when it cannot be read. */
export async function readRunEnd(engine: Engine, container: string): Promise<RunEnd | undefined> {
  const path = `/containers/${container}/archive?path=${encodeURIComponent(BUILD_STATE)}`
  try {
    const { status, body } = await engine.request('GET', path, { timeoutMs: 10_000 })
    const chunks: Buffer[] = []
    let length = 0
    for await (const chunk of body) {
      if (length < 4096) chunks.push(chunk)
      length += chunk.length
    }
    if (status !== 200) return undefined
    // A tar with one small file: its content begins in the second block.
    return parseState(Buffer.concat(chunks).subarray(512, 1536).toString('utf8'))
  } catch {
    return undefined
  }
}

/** Reads the line of a state file (guest/wine/CONTRACT.md). */
export function parseState(text: string): RunEnd | undefined {
  const [line = ''] = text.replace(/\0.*$/s, '').split('\n')
  const code = /^exited (\d+)$/.exec(line)?.[1]
  if (code !== undefined) return { code: Number(code) }
  const [, error, words = ''] = /^failed (\d+) ?(.*)$/.exec(line) ?? []
  return error === undefined ? undefined : { error: Number(error), text: words }
}

/** Removes what a failed step left behind. */
export async function removeContainer(context: WineContext, container: string): Promise<void> {
  try {
    await context.engine.json('DELETE', `/containers/${container}?force=1&v=1`, undefined, { timeoutMs: 30_000 })
  } catch (error) {
    context.log.warn('a container of a failed build could not be removed', { container, error: messageOf(error) })
  }
}
