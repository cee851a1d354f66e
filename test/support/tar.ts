import { Readable } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import { extract, type Header, pack } from 'tar-stream'

/** An entry of a tar as the tests write and read it, by a library that is not the one under test. */
export interface TestEntry {
  name: string
  type?: 'file' | 'directory' | 'symlink' | 'link'
  linkname?: string
  data?: Buffer
  /** Seconds since 1970. */
  mtime?: string
  mode?: number
  pax?: Record<string, string>
}

/** The bytes of such a tar. */
export function makeTar(entries: readonly TestEntry[]): Promise<Buffer> {
  const tar = pack()
  for (const { name, type = 'file', linkname, data, mtime, mode, pax } of entries) {
    const records = { ...pax, ...(mtime === undefined ? {} : { mtime }) }
    const header = {
      name,
      type,
      mtime: new Date(0),
      mode: mode ?? 0o644,
      ...(linkname === undefined ? {} : { linkname })
    }
    const all = Object.keys(records).length > 0 ? { ...header, pax: records } : header
    if (type === 'file') tar.entry({ ...all, size: data?.length ?? 0 } as Header, data ?? Buffer.alloc(0))
    else tar.entry(all as Header)
  }
  tar.finalize()
  return buffer(tar)
}

/** What a tar has; PAX records without those that the header's own fields stand for. */
export async function readTar(input: Readable | Buffer): Promise<(Required<TestEntry> & { size: number })[]> {
  const entries: (Required<TestEntry> & { size: number })[] = []
  const reader = extract()
  const source = Buffer.isBuffer(input) ? Readable.from([input]) : input
  source.on('error', error => reader.destroy(error))
  source.pipe(reader)
  for await (const entry of reader) {
    const { name, type, linkname, mode, size, mtime } = entry.header
    const { path: _path, linkpath: _linkpath, size: _size, ...pax } = (entry.header.pax ?? {}) as Record<string, string>
    entries.push({
      name,
      type: type as 'file',
      linkname: linkname ?? '',
      data: await buffer(entry),
      mtime: pax.mtime ?? String((mtime?.getTime() ?? 0) / 1000),
      mode: mode ?? 0,
      size: size ?? 0,
      pax
    })
  }
  return entries
}

/** A stream of these bytes in pieces of this many. */
export function inPieces(bytes: Buffer, length: number): Readable {
  function* pieces(): Generator<Buffer> {
    for (let at = 0; at < bytes.length; at += length) yield bytes.subarray(at, at + length)
  }
  return Readable.from(pieces(), { objectMode: false })
}

/** Makes the checksums of all headers right again. */
export function sealTar(tar: Buffer): void {
  for (let at = 0; at + 512 <= tar.length; at += 512) {
    if (tar.toString('latin1', at + 257, at + 262) !== 'ustar') continue
    tar.fill(' ', at + 148, at + 156)
    const sum = tar.subarray(at, at + 512).reduce((total, byte) => total + byte, 0)
    tar.write(`${sum.toString(8).padStart(6, '0')}\0 `, at + 148, 'latin1')
  }
}
