import { PassThrough, pipeline, type Readable } from 'node:stream'
import { extract, pack } from 'tar-stream'

const BLOCK = 512

/** The name in the first header of a tar, read without taking it off the stream; undefined when it is no plain tar. */
export async function peekTarName(stream: Readable): Promise<string | undefined> {
  const head = await peek(stream, 4 * BLOCK)
  return firstName(head)
}

/** As above, of bytes. A name that is too long for its field stands in a PAX header before. */
export function firstName(head: Buffer): string | undefined {
  if (head.length < BLOCK || head.toString('latin1', 257, 262) !== 'ustar') return undefined
  const type = head.toString('latin1', 156, 157)
  if (type === 'x') {
    const size = Number.parseInt(head.toString('latin1', 124, 135), 8)
    const records = head.toString('utf8', BLOCK, BLOCK + size)
    const path = /(?:^|\n)\d+ path=([^\n]*)\n/.exec(records)?.[1]
    const after = BLOCK + Math.ceil(size / BLOCK) * BLOCK
    return path ?? (after + BLOCK <= head.length ? plainName(head.subarray(after)) : undefined)
  }
  return type === 'g' || type === 'L' ? undefined : plainName(head)
}

function plainName(header: Buffer): string {
  const field = (from: number, to: number): string => header.toString('utf8', from, to).replace(/\0.*$/s, '')
  const prefix = header.toString('latin1', 257, 263) === 'ustar\0' ? field(345, 500) : ''
  return prefix === '' ? field(0, 100) : `${prefix}/${field(0, 100)}`
}

/** Waits for so many bytes, or the end, and puts them back. */
async function peek(stream: Readable, bytes: number): Promise<Buffer> {
  const chunks: Buffer[] = []
  let length = 0
  while (length < bytes) {
    const chunk = stream.read() as Buffer | null
    if (chunk !== null) {
      chunks.push(chunk)
      length += chunk.length
    } else if (stream.readableEnded || stream.destroyed) break
    else if (!(await readable(stream))) break
  }
  const head = Buffer.concat(chunks)
  // After its end a stream takes nothing back; a tar that short is none.
  if (head.length > 0 && !stream.readableEnded) stream.unshift(head)
  return head
}

function readable(stream: Readable): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const settle = (act: () => void): void => {
      stream.off('readable', onReadable).off('end', onEnd).off('close', onEnd).off('error', onError)
      act()
    }
    const onReadable = (): void => settle(() => resolve(true))
    const onEnd = (): void => settle(() => resolve(false))
    const onError = (error: Error): void => settle(() => reject(error))
    stream.on('readable', onReadable).on('end', onEnd).on('close', onEnd).on('error', onError)
  })
}

/** A tar with other names; all else of its entries, contents and PAX records stay. Streams, and breaks off as its source does. */
export function renameEntries(source: Readable, rename: (name: string) => string): Readable {
  const from = extract()
  const to = pack()
  from.on('entry', (header, stream, next) => {
    // The names stand in the PAX records too where they are long; those are made anew.
    const records: [string, string][] = Object.entries(header.pax ?? {})
    const pax = Object.fromEntries(records.filter(([key]) => key !== 'path' && key !== 'linkpath'))
    const isHardLink = header.type === 'link' && typeof header.linkname === 'string'
    const linkname = isHardLink ? rename(header.linkname ?? '') : header.linkname
    const renamed = {
      ...header,
      name: rename(header.name),
      linkname,
      pax: Object.keys(pax).length > 0 ? pax : undefined
    }
    const entry = to.entry(renamed as Parameters<typeof to.entry>[0], next)
    stream.on('error', (error: Error) => to.destroy(error))
    // It fails with the whole, which says so.
    entry.on('error', () => {})
    stream.pipe(entry)
  })
  from.on('finish', () => to.finalize())
  from.on('error', (error: Error) => to.destroy(error))
  source.on('error', error => from.destroy(error))
  source.on('close', () => {
    if (!source.readableEnded) from.destroy(new Error('the tar was cut off'))
  })
  source.pipe(from)
  const renamed = new PassThrough({ highWaterMark: 256 * 1024 })
  // An error reaches the reader through the stream itself.
  pipeline(to as unknown as NodeJS.ReadableStream, renamed, error => {
    if (error) source.destroy()
  })
  return renamed
}

/** Renames what is or lies below `from`. */
export function rebase(from: string, to: string): (name: string) => string {
  return name => (name === from || name.startsWith(`${from}/`) ? to + name.slice(from.length) : name)
}
