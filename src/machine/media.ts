import { stat } from 'node:fs/promises'
import { join } from 'node:path'
import { Fault } from '#lib/fault.ts'
import type { Report } from '#lib/progress.ts'
import { formatBytes } from '#lib/size.ts'
import { type CachedMedia, listMedia, mediaFolder, removeMedia } from '#windows/media/cache.ts'
import { type Download, type Fetched, fetchFile } from '#windows/media/download.ts'
import { inspectMedia, type MediaFacts } from '#windows/media/inspect.ts'
import { isUrl, shownSource } from '#windows/media/source.ts'
import { type Medium, SERVER_RELEASES, type ServerRelease, serverRelease } from '#windows/server-releases.ts'
import { orielHome } from './paths.ts'

// The catalogue of Windows discs and the cache of them. No machine is needed for it.

export type { CachedMedia, MediaFacts }

/** A release as `oriel releases` shows it. */
export interface ListedRelease extends Omit<ServerRelease, 'media' | 'engine'> {
  /** Version of the Docker Engine that is installed; null where there is none. */
  engine: string | null
  media: (Medium & { cached: boolean })[]
}

/** All releases, with what is cached of them. */
export async function listReleases(env: NodeJS.ProcessEnv): Promise<ListedRelease[]> {
  const cached = await cachedMedia(env)
  return SERVER_RELEASES.map(({ media, engine, ...release }) => ({
    ...release,
    engine: engine?.version ?? null,
    media: media.map(medium => ({ ...medium, cached: isCached(medium, cached) }))
  }))
}

/** What is in the cache: discs and archives. */
export function cachedMedia(env: NodeJS.ProcessEnv): Promise<CachedMedia[]> {
  return listMedia(folderOf(env))
}

export interface FetchRequest {
  /** A release, or the URL of a disc or of an archive (`.zip`). */
  what: string
  /** For a URL; that of a release's disc is known. */
  sha256?: string
  env: NodeJS.ProcessEnv
  signal: AbortSignal
  report: Report
}

const STAGE = 'media'

/** Fetches the newest disc of a release, or a URL, into the cache. */
export async function fetchMedia({ what, sha256, env, signal, report }: FetchRequest): Promise<Fetched> {
  const download = isUrl(what) ? downloadOfUrl(what, sha256) : downloadOfRelease(serverRelease(what), sha256)
  report({ type: 'stage', stage: STAGE, state: 'started' })
  try {
    const fetched = await fetchFile(download, folderOf(env), { stage: STAGE, env, signal, report })
    const where = fetched.from === 'cache' ? 'is here already' : formatBytes(fetched.size)
    report({ type: 'stage', stage: STAGE, state: 'done', detail: `${download.file}, ${where}` })
    if (download.sha256 === undefined) report({ type: 'notice', text: `Its SHA-256 is ${fetched.sha256}.` })
    return fetched
  } catch (error) {
    report({ type: 'stage', stage: STAGE, state: 'failed' })
    throw error
  }
}

/** Reads what a disc is: a file, the name of one in the cache, or a release of which there is one in the cache. */
export async function inspectDisc(what: string, env: NodeJS.ProcessEnv): Promise<{ path: string; facts: MediaFacts }> {
  const path = await discPath(what, env)
  return { path, facts: await inspectMedia(path) }
}

/** Removes a file from the cache. Gives the bytes that it had. */
export function removeCachedMedia(file: string, env: NodeJS.ProcessEnv): Promise<number> {
  return removeMedia(folderOf(env), file)
}

function folderOf(env: NodeJS.ProcessEnv): string {
  return mediaFolder(orielHome(env))
}

function isCached(medium: Medium, cached: readonly CachedMedia[]): boolean {
  // Without a checksum of its own it is as good as its size until it is used.
  return cached.some(
    ({ file, complete, size, sha256 = medium.sha256 }) =>
      file === medium.file && complete && size === medium.size && sha256 === medium.sha256
  )
}

function downloadOfRelease(release: ServerRelease, sha256: string | undefined): Download {
  const [medium] = release.media
  if (medium === undefined) throw new Fault(`no disc of ${release.product} is known.`, { exitCode: 2 })
  if (sha256 !== undefined) {
    throw new Fault(`the SHA-256 of ${release.product} is known; --sha256 is for a URL.`, { exitCode: 2 })
  }
  const { file, sources, size } = medium
  return { file, sources, size, sha256: medium.sha256, kind: 'disc' }
}

function downloadOfUrl(url: string, sha256: string | undefined): Download {
  if (sha256 !== undefined && !/^[0-9a-f]{64}$/i.test(sha256)) {
    throw new Fault(`"${sha256}" is not a SHA-256.`, { exitCode: 2, hint: 'It has 64 digits, 0 to 9 and a to f.' })
  }
  if (!URL.canParse(url)) throw new Fault('this is not a URL.', { exitCode: 2 })
  const file = lastName(new URL(url))
  if (file === undefined) {
    throw new Fault(`${shownSource(url)} has no file's name at its end.`, { exitCode: 2 })
  }
  return {
    file,
    sources: [url],
    kind: file.toLowerCase().endsWith('.zip') ? 'zip' : 'disc',
    ...(sha256 === undefined ? {} : { sha256 })
  }
}

/** What a browser would call the file; undefined when there is nothing to call it by. */
function lastName(url: URL): string | undefined {
  try {
    return decodeURIComponent(url.pathname.split('/').at(-1) ?? '') || undefined
  } catch {
    return undefined
  }
}

async function discPath(what: string, env: NodeJS.ProcessEnv): Promise<string> {
  if ((await stat(what).catch(() => undefined)) !== undefined || /[/\\]/.test(what)) return what
  const cached = (await cachedMedia(env)).filter(({ complete }) => complete)
  const named = cached.find(({ file }) => file === what)
  if (named !== undefined) return named.path
  if (/\.iso$/i.test(what)) throw new Fault(`there is no file ${what}, here or in the cache.`, { exitCode: 2 })
  const release = serverRelease(what)
  const medium = release.media.find(disc => isCached(disc, cached))
  if (medium !== undefined) return join(folderOf(env), medium.file)
  throw new Fault(`no disc of ${release.product} is in the cache.`, {
    exitCode: 4,
    hint: `Fetch it: oriel media fetch ${release.name}`
  })
}
