import { createHash } from 'node:crypto'
import { open, rename, rm } from 'node:fs/promises'
import { readJsonFile, writeFileAtomic } from '#lib/atomic-file.ts'
import { type CachePaths, hashFile, sizeOf, writeRecord } from './cache.ts'
import type { Validator } from './source.ts'

/** Where the bytes of a cut download come from. */
export interface PartOrigin {
  source: string
  validator: Validator
}

/** The bytes of a download that are there, in `FILE.part`. */
export interface Part {
  readonly size: number
  /** Of all bytes that are there, in hex. */
  sha256(): string
  readonly origin: PartOrigin | undefined
  /** True when some were there before this run. */
  readonly resumed: boolean
  append(chunks: readonly Buffer[]): Promise<void>
  /** Forgets what is there, and begins again from `origin`. */
  restart(origin: PartOrigin): Promise<void>
  /** Makes it the file of the cache, with its record. */
  keep(source: string): Promise<void>
  close(): Promise<void>
}

/** Opens what there is of a download, and reads it for its checksum. `onBytes` is told how many of how many. */
export async function openPart(
  paths: CachePaths,
  limit: number | undefined,
  signal: AbortSignal,
  onBytes: (bytes: number, of: number) => void
): Promise<Part> {
  let hash = createHash('sha256')
  let origin = parseOrigin(await readJsonFile(paths.partRecord).catch(() => undefined))
  let size = origin === undefined ? 0 : ((await sizeOf(paths.part)) ?? 0)
  if (limit !== undefined && size > limit) size = 0
  if (size > 0) await hashFile(paths.part, hash, signal, bytes => onBytes(bytes, size))
  let resumed = size > 0
  const file = await open(paths.part, resumed ? 'r+' : 'w', 0o600)
  return {
    get size() {
      return size
    },
    get origin() {
      return origin
    },
    get resumed() {
      return resumed
    },
    sha256: () => hash.copy().digest('hex'),
    async append(chunks) {
      const wanted = chunks.reduce((sum, chunk) => sum + chunk.length, 0)
      if (wanted === 0) return
      // The disk and the processor work at the same time.
      const writing = file.writev([...chunks], size)
      for (const chunk of chunks) hash.update(chunk)
      const { bytesWritten } = await writing
      // A disk that is nearly full takes what fits, and says so only at the next write.
      if (bytesWritten !== wanted) throw Object.assign(new Error('the disk took only a part'), { code: 'ENOSPC' })
      size += wanted
    },
    async restart(next) {
      await file.truncate(0)
      hash = createHash('sha256')
      size = 0
      resumed = false
      origin = next
      await writeFileAtomic(paths.partRecord, JSON.stringify(next))
    },
    async keep(source) {
      // On disk before it has its name, so that a power cut leaves no file that is whole by name only.
      await file.sync()
      await writeRecord(paths, paths.part, { sha256: hash.copy().digest('hex'), source })
      await rename(paths.part, paths.final)
      await rm(paths.partRecord, { force: true })
    },
    close: () => file.close()
  }
}

function parseOrigin(value: unknown): PartOrigin | undefined {
  if (typeof value !== 'object' || value === null) return undefined
  const { source, validator } = value as { source?: unknown; validator?: unknown }
  if (typeof source !== 'string' || typeof validator !== 'object' || validator === null) return undefined
  return { source, validator }
}
