import { readdir, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { readJsonFile, writeFileAtomic } from '#lib/atomic-file.ts'
import { Fault } from '#lib/fault.ts'
import { sizeOf } from '#lib/hashed-file.ts'
import { lockHolder } from '#lib/lock-holder.ts'
import { shownSource } from './source.ts'

// A folder of files that are large and come from elsewhere: FILE is whole and checked, FILE.json says when and against
// what, FILE.part is a download that was cut, FILE.part.json what is needed to go on with it.

/** What is known of a cached file. It holds for as long as size and mtime stay. */
export interface CacheRecord {
  sha256: string
  size: number
  source: string
  /** ISO 8601. */
  verifiedAt: string
  /** Milliseconds since 1970. */
  mtime: number
}

export interface CachedMedia {
  file: string
  path: string
  /** Bytes on disk. */
  size: number
  /** False for a download that was cut. */
  complete: boolean
  /** Of a complete file that is as it was when it was checked. */
  sha256?: string
  source?: string
  verifiedAt?: string
}

/** Where the discs and archives are that machines share. `home` is ORIEL_HOME. */
export function mediaFolder(home: string): string {
  return join(home, 'media')
}

export interface CachePaths {
  final: string
  record: string
  part: string
  partRecord: string
  lock: string
}

/** The paths of a file in the folder; usage Fault when it cannot be called so. */
export function cachePaths(folder: string, file: string): CachePaths {
  if (!/^[^./\\][^/\\]{0,200}$/.test(file) || isOurs(file)) {
    throw new Fault(`"${file}" is not a name for a file in the cache.`, {
      exitCode: 2,
      hint: 'A name begins with no "." and ends with neither ".part" nor ".json".'
    })
  }
  return {
    final: join(folder, file),
    record: join(folder, `${file}.json`),
    part: join(folder, `${file}.part`),
    partRecord: join(folder, `${file}.part.json`),
    lock: join(folder, '.locks', file)
  }
}

/** What is in the folder, by name. An absent folder is empty. */
export async function listMedia(folder: string): Promise<CachedMedia[]> {
  const names = await readdir(folder).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return []
    throw error
  })
  const files = new Set(names.map(name => (name.endsWith('.part') ? name.slice(0, -5) : name)))
  const listed = await Promise.all(
    [...files].filter(name => !name.startsWith('.') && !isOurs(name)).map(file => mediaOf(folder, file))
  )
  return listed.filter(media => media !== undefined).sort((one, other) => one.file.localeCompare(other.file))
}

async function mediaOf(folder: string, file: string): Promise<CachedMedia | undefined> {
  const paths = cachePaths(folder, file)
  const whole = await sizeOf(paths.final)
  if (whole !== undefined) {
    const record = await readRecord(paths)
    const facts =
      record === undefined
        ? {}
        : { sha256: record.sha256, source: shownSource(record.source), verifiedAt: record.verifiedAt }
    return { file, path: paths.final, size: whole, complete: true, ...facts }
  }
  const part = await sizeOf(paths.part)
  return part === undefined ? undefined : { file, path: paths.part, size: part, complete: false }
}

/** Removes a file, or what there is of it. Gives the bytes that it had. Fault 2 when there is none, 3 while it is fetched. */
export async function removeMedia(folder: string, file: string): Promise<number> {
  const paths = cachePaths(folder, file)
  const media = await mediaOf(folder, file)
  if (media === undefined) {
    throw new Fault(`there is no ${file} in ${folder}.`, { exitCode: 2, hint: 'See what there is: oriel media ls' })
  }
  const holder = await lockHolder(paths.lock)
  if (holder !== undefined) {
    throw new Fault(`${file} is in use by ${holder.doing} (process ${holder.pid}).`, {
      exitCode: 3,
      hint: 'Wait until it is done, or end it.'
    })
  }
  for (const path of [paths.final, paths.record, paths.part, paths.partRecord]) await rm(path, { force: true })
  return media.size
}

/** What is known of a file in the cache; undefined when it is not there, or not as it was. */
export async function readRecord(paths: CachePaths): Promise<CacheRecord | undefined> {
  const status = await stat(paths.final).catch(() => undefined)
  const record = await readJsonFile(paths.record).catch(() => undefined)
  if (status === undefined || !isRecord(record)) return undefined
  return record.size === status.size && record.mtime === status.mtimeMs ? record : undefined
}

/** Writes down what is known of `path`, which is or will be the file of the cache. */
export async function writeRecord(
  paths: CachePaths,
  path: string,
  { sha256, source }: { sha256: string; source: string }
): Promise<void> {
  const { size, mtimeMs } = await stat(path)
  const record: CacheRecord = { sha256, size, source, verifiedAt: new Date().toISOString(), mtime: mtimeMs }
  await writeFileAtomic(paths.record, `${JSON.stringify(record, null, 2)}\n`)
}

function isOurs(name: string): boolean {
  return /\.(part|json)$/i.test(name)
}

function isRecord(value: unknown): value is CacheRecord {
  if (typeof value !== 'object' || value === null) return false
  const { sha256, size, source, verifiedAt, mtime } = value as Record<string, unknown>
  const strings = [sha256, source, verifiedAt].every(text => typeof text === 'string')
  return strings && typeof size === 'number' && typeof mtime === 'number'
}
