import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { pipeline, type Readable } from 'node:stream'
import { createGunzip } from 'node:zlib'
import { Refusal } from './refusal.ts'

/** Programs of the host for what Node cannot unpack; Docker's own daemon uses xz so too. */
const TOOLS: { magic: string; tool: string }[] = [
  { magic: '425a68', tool: 'bzip2' },
  { magic: 'fd377a585a00', tool: 'xz' },
  { magic: '28b52ffd', tool: 'zstd' }
]

/** The bytes of an archive, unpacked when they begin like gzip, bzip2, xz or zstd. */
export async function decompressed(source: Readable): Promise<Readable> {
  const first = await peek(source, 6)
  const hex = first.toString('hex')
  if (hex.startsWith('1f8b')) return joined(source, createGunzip())
  const tool = TOOLS.find(({ magic }) => hex.startsWith(magic))?.tool
  return tool === undefined ? source : await throughTool(source, tool)
}

/** Both ends fail together. */
function joined(source: Readable, through: Readable & NodeJS.WritableStream): Readable {
  pipeline(source, through, error => {
    if (error) through.destroy(error)
  })
  return through
}

async function throughTool(source: Readable, tool: string): Promise<Readable> {
  const child = spawn(tool, ['-d', '-c', '-q'], { stdio: ['pipe', 'pipe', 'ignore'] })
  try {
    await once(child, 'spawn')
  } catch {
    throw new Refusal(`the build context is compressed with ${tool}, which is not installed on this host`, 400)
  }
  pipeline(source, child.stdin, error => {
    if (error) child.stdout.destroy(error)
  })
  child.once('exit', code => {
    if (code !== 0) child.stdout.destroy(new Refusal(`the build context is damaged: ${tool} ended with ${code}`, 400))
  })
  child.stdout.once('close', () => child.kill())
  return child.stdout
}

/** The first bytes of a stream, which stay in it; fewer when it is shorter. */
async function peek(source: Readable, count: number): Promise<Buffer> {
  for (;;) {
    const bytes: Buffer | null = source.read(count)
    if (bytes !== null) {
      source.unshift(bytes)
      return bytes
    }
    if (source.readableEnded) return Buffer.alloc(0)
    await Promise.race([once(source, 'readable'), once(source, 'end')])
  }
}
