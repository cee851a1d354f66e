import { rename, rm } from 'node:fs/promises'
import { readJsonFile, writeFileAtomic } from '#lib/atomic-file.ts'
import { openHashedFile, sizeOf } from '#lib/hashed-file.ts'
import { type CachePaths, writeRecord } from './cache.ts'
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
  let origin = parseOrigin(await readJsonFile(paths.partRecord).catch(() => undefined))
  let keep = origin === undefined ? 0 : ((await sizeOf(paths.part)) ?? 0)
  if (limit !== undefined && keep > limit) keep = 0
  const file = await openHashedFile(paths.part, { keep, signal, onBytes: bytes => onBytes(bytes, keep) })
  let resumed = keep > 0
  return {
    get size() {
      return file.size
    },
    get origin() {
      return origin
    },
    get resumed() {
      return resumed
    },
    sha256: () => file.digest(),
    append: chunks => file.append(chunks),
    async restart(next) {
      await file.empty()
      resumed = false
      origin = next
      await writeFileAtomic(paths.partRecord, JSON.stringify(next))
    },
    async keep(source) {
      // On disk before it has its name, so that a power cut leaves no file that is whole by name only.
      await file.sync()
      await writeRecord(paths, paths.part, { sha256: file.digest(), source })
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
