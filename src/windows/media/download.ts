import { createHash } from 'node:crypto'
import { makeFolder } from '#lib/atomic-file.ts'
import { explainWriteError } from '#lib/disk-room.ts'
import { Fault } from '#lib/fault.ts'
import { hashFile, sizeOf } from '#lib/hashed-file.ts'
import { withLock } from '#lib/lock.ts'
import type { Report } from '#lib/progress.ts'
import { formatBytes } from '#lib/size.ts'
import { checkAborted, interrupted } from '#lib/wait.ts'
import { type CachePaths, type CacheRecord, cachePaths, readRecord, writeRecord } from './cache.ts'
import type { FileKind } from './file-kind.ts'
import { makeMeter } from './meter.ts'
import { openPart, type Part } from './part.ts'
import { receive } from './receive.ts'
import { isUrl, makeClient, recordedSource, SourceError, shownSource } from './source.ts'

/** What is to be fetched. */
export interface Download {
  /** The name that it gets in the cache. */
  file: string
  /** URLs (http, https, file) or paths of files, the best first. All of them are the same file. */
  sources: readonly string[]
  /** Bytes. */
  size?: number
  /** In hex. */
  sha256?: string
  kind: FileKind
}

export interface Fetched {
  path: string
  /** Bytes. */
  size: number
  sha256: string
  /** `cache`, or the source without what is secret in it. */
  from: string
}

export interface DownloadWork {
  /** Names the stage of `step` events. */
  stage: string
  /** For HTTP_PROXY, HTTPS_PROXY and NO_PROXY. */
  env: NodeJS.ProcessEnv
  signal: AbortSignal
  report: Report
}

/** Somebody else may be fetching gigabytes over a slow line. */
const WAIT_MS = 24 * 60 * 60_000

/**
 * Fetches a file into the cache folder, or finds it there. Goes on with a download that was cut; tries the sources one
 * after another; keeps the file only when size, kind and SHA-256 are right. Fault when no source gives it.
 */
export async function fetchFile(download: Download, folder: string, work: DownloadWork): Promise<Fetched> {
  const paths = cachePaths(folder, download.file)
  await makeFolder(folder)
  const { signal, report } = work
  for (;;) {
    let held = signal
    const options = {
      doing: `the download of ${download.file}`,
      limitMs: WAIT_MS,
      signal,
      onWait: (holder: { pid: number } | undefined) => {
        const who = holder === undefined ? 'another command' : `process ${holder.pid}`
        report({ type: 'notice', text: `Waiting for ${who}, which fetches ${download.file} as well.` })
      }
    }
    try {
      return await withLock(paths.lock, options, inner => {
        held = inner
        return fetchAlone(download, folder, paths, { ...work, signal: inner })
      })
    } catch (error) {
      // The lock is lost when the computer sleeps. What came is kept, so it goes on as soon as it has the lock again.
      if (!held.aborted || signal.aborted) throw error
    }
  }
}

async function fetchAlone(download: Download, folder: string, paths: CachePaths, work: DownloadWork): Promise<Fetched> {
  const cached = await findCached(download, paths, work)
  if (cached !== undefined) return cached
  const part = await checked(work, 'checking what is there,', onBytes =>
    openPart(paths, download.size, work.signal, onBytes)
  )
  try {
    const source = await receiveFromAny(download, folder, part, work)
    await part.keep(recordedSource(source))
    return { path: paths.final, size: part.size, sha256: part.sha256(), from: shownSource(source) }
  } catch (error) {
    throw explainWriteError(error, paths.part)
  } finally {
    await part.close()
  }
}

/** Fills the part from the first source that can. Gives the source. */
async function receiveFromAny(download: Download, folder: string, part: Part, work: DownloadWork): Promise<string> {
  // It was killed between the last byte and the new name.
  if (part.origin !== undefined && part.sha256() === download.sha256?.toLowerCase()) return part.origin.source
  const client = makeClient(work.env)
  const problems: string[] = []
  try {
    for (const source of download.sources) {
      try {
        await receive({ download, source, folder, client, part, work })
        return source
      } catch (error) {
        checkAborted(work.signal)
        if (!(error instanceof SourceError)) throw error
        problems.push(`${shownSource(source)}: ${error.message}`)
      }
    }
  } finally {
    await client.close()
  }
  throw failed(download, problems, part.size)
}

function failed({ file, kind, sources }: Download, problems: readonly string[], kept: number): Fault {
  const microsoft = sources.some(source => isUrl(source) && /(^|\.)microsoft\.com$/.test(new URL(source).hostname))
  const told = problems.length === 1 ? ` ${problems[0]}` : problems.map(problem => `\n  ${problem}`).join('')
  const hints = [
    ...(kept > 0 ? [`${formatBytes(kept)} are kept, and the next try goes on from there.`] : []),
    ...(microsoft ? ['Microsoft refuses some networks.'] : []),
    `You can download it with a browser, and give it with ${kind === 'disc' ? '--iso FILE' : '--engine-archive FILE'}.`
  ]
  return new Fault(`${file} could not be fetched:${told}`, { hint: hints.join(' ') })
}

/** The file that is in the cache already; when it is another than the wanted one, says so and gives undefined. */
async function findCached(download: Download, paths: CachePaths, work: DownloadWork): Promise<Fetched | undefined> {
  const size = await sizeOf(paths.final)
  if (size === undefined) return undefined
  const { sha256, source } = (await readRecord(paths)) ?? (await proven(paths, size, work))
  if (isWanted(download, size, sha256, source === paths.final ? undefined : source)) {
    return { path: paths.final, size, sha256, from: 'cache' }
  }
  work.report({ type: 'notice', text: `The ${download.file} in the cache is another file; it will be replaced.` })
  return undefined
}

function isWanted(download: Download, size: number, sha256: string, source: string | undefined): boolean {
  if (download.sha256 !== undefined) return download.sha256.toLowerCase() === sha256
  if (download.size !== undefined && download.size !== size) return false
  // Names such as SERVER_EVAL_x64FRE_en-us.iso are not unique, so without a checksum the source has to be the same.
  return source === undefined || download.sources.some(other => recordedSource(other) === source)
}

/** Reads a file of which nothing is known: it was put there by hand, or changed since. */
async function proven(
  paths: CachePaths,
  size: number,
  work: DownloadWork
): Promise<Pick<CacheRecord, 'sha256' | 'source'>> {
  const hash = createHash('sha256')
  await checked(work, 'checking', onBytes => hashFile(paths.final, hash, work.signal, bytes => onBytes(bytes, size)))
  const known = { sha256: hash.digest('hex'), source: paths.final }
  await writeRecord(paths, paths.final, known)
  return known
}

/** Tells of a long read. */
async function checked<T>(
  work: DownloadWork,
  verb: string,
  read: (onBytes: (bytes: number, of: number) => void) => Promise<T>
): Promise<T> {
  let meter: ReturnType<typeof makeMeter> | undefined
  try {
    return await read((bytes, of) => {
      meter ??= makeMeter(work.report, work.stage, of, verb)
      meter.at(bytes)
    })
  } catch (error) {
    throw work.signal.aborted ? interrupted() : error
  }
}
