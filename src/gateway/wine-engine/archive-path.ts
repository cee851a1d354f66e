import { posix } from 'node:path'
import { extract } from 'tar-stream'
import type { EngineAnswer } from '#docker/engine.ts'
import { INIT } from '#image/launch.ts'
import { normalizeWindowsPath } from '#image/windows-path.ts'
import { messageOf } from '#lib/fault.ts'
import type { WineContext } from './context.ts'
import { type Json, objectOf, stringOf } from './json.ts'
import { type Container, containerPath } from './record.ts'

/** A place in a container as docker's `path` names it. */
export interface ArchivePath {
  /** As the client typed it. */
  typed: string
  /** Absolute, without a slash at the end. */
  windows: string
  linux: string
  /** `/` or `/.` when the client's path ended so: the engine tells a folder from its contents by it. */
  suffix: string
}

const STAT_HEADER = 'x-docker-container-path-stat'
/** Go's os.ModeSymlink. */
const SYMLINK = 0x8000000
const LINK_LIMIT = 16
const RESOLVE_MS = 20_000
// A listing of a stopped container's folder comes as a tar of all that is in it; beyond this the name counts as missing.
const LISTING_LIMIT_BYTES = 512 * 1024 * 1024

/** Reads a `path` in any form: either slash, any case, with or without drive; what is relative lies below `C:\`. */
export function archivePath(container: Container, typed: string): ArchivePath {
  const windows = normalizeWindowsPath(typed)
  const suffix = /[\\/]\.$/.test(typed) ? '/.' : /[\\/]$/.test(typed) ? '/' : ''
  return { typed, windows, linux: containerPath(container.record, windows), suffix }
}

/** The last component of a path as its client wrote it; for a drive the separator, as Windows has it. */
export function baseName(windows: string): string {
  return windows.slice(windows.lastIndexOf('\\') + 1) || '\\'
}

/** Asks the engine for an archive path: HEAD for its stat, GET for its tar. */
export function askArchive(
  context: WineContext,
  container: string,
  method: 'GET' | 'HEAD',
  linux: string
): Promise<EngineAnswer> {
  return context.engine.request(method, `/containers/${container}/archive?path=${encodeURIComponent(linux)}`)
}

/** The stat that the engine sends with an archive path; empty when there is none. */
export function statOf(answer: EngineAnswer): Json {
  const header = answer.headers[STAT_HEADER]
  if (typeof header !== 'string') return {}
  try {
    return objectOf(JSON.parse(Buffer.from(header, 'base64').toString('utf8')))
  } catch {
    return {}
  }
}

/** The header with a stat. */
export function statHeader(stat: Json): Record<string, string> {
  return { 'X-Docker-Container-Path-Stat': Buffer.from(JSON.stringify(stat)).toString('base64') }
}

/**
 * Finds what a path means and asks the engine for it. One request when the case is right; a wrong case is looked up and a
 * link followed: the Wine base has links to Linux where Windows has files, and nobody is to see them.
 */
export async function openArchive(
  context: WineContext,
  container: Container,
  method: 'GET' | 'HEAD',
  path: ArchivePath
): Promise<{ answer: EngineAnswer; linux: string }> {
  let linux = path.linux
  let answer = await askArchive(context, container.id, method, linux + path.suffix)
  if (answer.status === 404) {
    const resolved = await resolveCase(context, container, path)
    if (resolved === linux) return { answer, linux }
    answer.body.resume()
    linux = resolved
    answer = await askArchive(context, container.id, method, linux + path.suffix)
  }
  for (let hops = 0; hops < LINK_LIMIT && answer.status === 200; hops++) {
    const stat = statOf(answer)
    if ((Number(stat.mode) & SYMLINK) === 0 || stringOf(stat.linkTarget) === '') break
    answer.body.destroy()
    linux = posix.resolve(posix.dirname(linux), stringOf(stat.linkTarget))
    answer = await askArchive(context, container.id, method, linux + path.suffix)
  }
  return { answer, linux }
}

/** The Linux path with every existing component in its real case, the missing rest as given. */
export async function resolveCase(context: WineContext, container: Container, path: ArchivePath): Promise<string> {
  if (container.state.Running === true && container.state.Paused !== true) {
    try {
      return await resolveByInit(context, container.id, path.windows)
    } catch (error) {
      context.log.warn('a path was not resolved in its container', { id: container.id, why: messageOf(error) })
    }
  }
  return await resolveByListing(context, container.id, path.linux)
}

async function resolveByInit(context: WineContext, container: string, windows: string): Promise<string> {
  const exec = objectOf(
    await context.engine.json('POST', `/containers/${container}/exec`, {
      Cmd: [INIT, 'resolve', windows],
      AttachStdout: true
    })
  )
  const answer = await context.engine.request('POST', `/exec/${stringOf(exec.Id)}/start`, {
    body: JSON.stringify({ Detach: false, Tty: false }),
    headers: { 'Content-Type': 'application/json' },
    signal: AbortSignal.timeout(RESOLVE_MS)
  })
  const chunks: Buffer[] = []
  for await (const chunk of answer.body) chunks.push(chunk)
  const linux = standardOutput(Buffer.concat(chunks)).replace(/\r?\n$/, '')
  if (answer.status !== 200 || !linux.startsWith('/c/')) throw new Error(`init answered "${linux.slice(0, 200)}"`)
  return linux
}

/** The first stream's text in docker's multiplexed frames. */
export function standardOutput(frames: Buffer): string {
  const parts: Buffer[] = []
  for (let at = 0; at + 8 <= frames.length; ) {
    const length = frames.readUInt32BE(at + 4)
    if (frames[at] === 1) parts.push(frames.subarray(at + 8, at + 8 + length))
    at += 8 + length
  }
  return Buffer.concat(parts).toString('utf8')
}

/** In a stopped container nothing can run: the engine's own listings have to tell. */
async function resolveByListing(context: WineContext, container: string, linux: string): Promise<string> {
  const [root = '', drive = '', ...parts] = linux.slice(1).split('/')
  let real = `/${root}/${drive}`
  for (const [at, part] of parts.entries()) {
    const exact = await askArchive(context, container, 'HEAD', `${real}/${part}`)
    exact.body.resume()
    const name = exact.status === 200 ? part : await findInListing(context, container, real, part)
    if (name === undefined) return `${real}/${parts.slice(at).join('/')}`
    real = `${real}/${name}`
  }
  return real
}

async function findInListing(
  context: WineContext,
  container: string,
  folder: string,
  name: string
): Promise<string | undefined> {
  const answer = await askArchive(context, container, 'GET', `${folder}/`)
  if (answer.status !== 200) {
    answer.body.resume()
    return undefined
  }
  const wanted = name.toLowerCase()
  const entries = extract()
  let length = 0
  answer.body.on('data', (chunk: Buffer) => {
    length += chunk.length
    if (length > LISTING_LIMIT_BYTES) entries.destroy(new Error('the listing is too long'))
  })
  answer.body.on('error', error => entries.destroy(error))
  answer.body.pipe(entries)
  try {
    for await (const entry of entries) {
      const [, child = ''] = entry.header.name.split('/')
      if (child.toLowerCase() === wanted) return child
      entry.resume()
    }
  } catch (error) {
    context.log.warn('a folder could not be listed', { container, folder, why: messageOf(error) })
  } finally {
    answer.body.destroy()
  }
  return undefined
}
