import { spawn } from 'node:child_process'
import { once } from 'node:events'
import type { Readable, Writable } from 'node:stream'
import { createGunzip } from 'node:zlib'
import { Refusal } from './refusal.ts'

/** Programs of the host for what Node cannot unpack; Docker's own daemon uses xz so too. */
const TOOLS: { magic: string; tool: string }[] = [
  { magic: '425a68', tool: 'bzip2' },
  { magic: 'fd377a585a00', tool: 'xz' },
  { magic: '28b52ffd', tool: 'zstd' }
]

/** The bytes of an archive, unpacked when they begin like gzip, bzip2, xz or zstd. */
export async function decompressed(source: Readable, what = 'build context'): Promise<Readable> {
  const first = await peek(source, 6)
  const hex = first.toString('hex')
  if (hex.startsWith('1f8b')) return flow(source, createGunzip(), what)
  const tool = TOOLS.find(({ magic }) => hex.startsWith(magic))?.tool
  return tool === undefined ? source : await throughTool(source, tool, what)
}

/**
 * Moves a stream into another, which fails with it. The source is only let go when the target fails: a request that is
 * destroyed takes the connection for its answer along.
 */
export function flow<Target extends Writable>(source: Readable, target: Target, what = 'build context'): Target {
  source.once('error', error => target.destroy(error))
  source.once('close', () => {
    if (!source.readableEnded) target.destroy(new Error(`the client went away before the ${what} was complete`))
  })
  target.once('close', () => source.unpipe(target))
  return source.pipe(target)
}

async function throughTool(source: Readable, tool: string, what: string): Promise<Readable> {
  const child = spawn(tool, ['-d', '-c', '-q'], { stdio: ['pipe', 'pipe', 'ignore'] })
  try {
    await once(child, 'spawn')
  } catch {
    throw new Refusal(`the ${what} is compressed with ${tool}, which is not installed on this host`, 400)
  }
  // A damaged archive ends the program before it has read everything; its exit status tells.
  child.stdin.on('error', () => {})
  child.once('exit', code => {
    if (code !== 0) child.stdout.destroy(new Refusal(`the ${what} is damaged: ${tool} ended with ${code}`, 400))
  })
  child.stdout.once('close', () => child.kill())
  source.once('close', () => {
    if (!source.readableEnded) child.kill()
  })
  source.pipe(child.stdin)
  return child.stdout
}

/** The first bytes of a stream, which stay in it; fewer when it is shorter. */
export async function peek(source: Readable, count: number): Promise<Buffer> {
  for (;;) {
    const bytes: Buffer | null = source.read(count)
    if (bytes !== null) {
      source.unshift(bytes)
      return bytes
    }
    if (source.readableEnded) return Buffer.alloc(0)
    // Its events have been and will not come again.
    if (source.errored !== null) throw source.errored
    if (source.destroyed) throw new Error('the client went away')
    await Promise.race([once(source, 'readable'), once(source, 'end')])
  }
}
