import type { IncomingMessage, ServerResponse } from 'node:http'
import { posix } from 'node:path'
import { EngineError, engineErrorOf } from '#docker/engine.ts'
import type { Handling } from '#gateway/proxy/handling.ts'
import { pipeAnswer, sendError } from '#gateway/proxy/respond.ts'
import { joinTarget, type Route, type RouteMatch } from '#gateway/routes.ts'
import {
  type ArchivePath,
  archivePath,
  askArchive,
  baseName,
  openArchive,
  resolveCase,
  statHeader,
  statOf
} from './archive-path.ts'
import type { WineContext } from './context.ts'
import { numberOf, stringOf } from './json.ts'
import { type Container, findContainer, inWindowsWords } from './record.ts'
import { Refusal } from './refusal.ts'
import { peekTarName, rebase, renameEntries } from './tar-rename.ts'

/** Go's os.ModeDir. */
const DIRECTORY = 0x80000000

export function archiveRoutes(context: WineContext): Route[] {
  const template = '/containers/{id}/archive'
  return [
    {
      method: 'HEAD',
      template,
      action: match => ({ kind: 'handle', handler: (_request, response) => stat(context, match, response) })
    },
    { method: 'GET', template, action: match => read(context, match) },
    {
      method: 'PUT',
      template,
      action: match => ({ kind: 'handle', handler: (request, response) => write(context, match, request, response) })
    }
  ]
}

/** What a path means: where it is, and the stat that its client is shown. */
async function find(context: WineContext, match: RouteMatch) {
  const container = await findContainer(context, match.params.id ?? '')
  const typed = match.query.get('path') ?? ''
  if (typed === '') throw new Refusal('bad parameter: path cannot be empty')
  const path = archivePath(container, typed)
  const { answer, linux } = await openArchive(context, container, 'HEAD', path)
  answer.body.resume()
  if (answer.status === 404) throw notFound(container, path)
  if (answer.status >= 400) throw new EngineError(answer.status, `cannot read ${typed}`)
  const { name: engineName, ...stat } = statOf(answer)
  const name = baseName(path.windows)
  const real = stringOf(engineName) || posix.basename(linux)
  return { container, path, linux, name, real, header: statHeader({ name, ...stat, linkTarget: '' }) }
}

async function stat(context: WineContext, match: RouteMatch, response: ServerResponse): Promise<void> {
  const { header } = await find(context, match)
  response.writeHead(200, { 'Content-Type': 'application/x-tar', ...header }).end()
}

async function read(context: WineContext, match: RouteMatch): Promise<Handling> {
  const { container, path, linux, name, real, header } = await find(context, match)
  // The engine names entries by the real name, its client expects the one that it asked for.
  if (path.suffix === '' && name !== '\\' && real !== name) {
    return {
      kind: 'handle',
      handler: async (_request, response) => {
        const answer = await askArchive(context, container.id, 'GET', linux)
        if (answer.status >= 400) throw notFound(container, path)
        const body = renameEntries(answer.body, rebase(real, name))
        await pipeAnswer({ ...answer, body }, response, {
          headers: { ...lowerCase(header), 'content-length': undefined }
        })
      }
    }
  }
  match.query.set('path', linux + path.suffix)
  const target = joinTarget(match.version, `/containers/${container.id}/archive`, match.query)
  return {
    kind: 'splice',
    request: { ...match.head, target },
    response: head => ({ ...head, headers: [...withoutStat(head.headers), ...Object.entries(header)] }),
    onError: (status, message) => ({ status, message: inClientWords(message, linux, path.typed) })
  }
}

function withoutStat(headers: readonly [string, string][]): [string, string][] {
  return headers.filter(([name]) => name.toLowerCase() !== 'x-docker-container-path-stat')
}

function lowerCase(headers: Record<string, string>): Record<string, string> {
  return Object.fromEntries(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]))
}

function notFound(container: Container, path: ArchivePath): Refusal {
  return new Refusal(`Could not find the file ${path.typed} in container ${container.id}`, 404)
}

async function write(
  context: WineContext,
  { params, query, version }: RouteMatch,
  request: IncomingMessage,
  response: ServerResponse
): Promise<void> {
  const container = await findContainer(context, params.id ?? '')
  const typed = query.get('path') ?? ''
  if (typed === '') throw new Refusal('bad parameter: path cannot be empty')
  const first = (await peekTarName(request))?.replace(/\/+$/, '')
  const target = await findTarget(context, container, typed, first)
  const body = target.rename === undefined ? request : renameEntries(request, target.rename)
  query.set('path', target.linux)
  const answer = await context.engine.request(
    'PUT',
    joinTarget(version, `/containers/${container.id}/archive`, query),
    {
      body,
      headers: { 'Content-Type': 'application/x-tar' }
    }
  )
  if (answer.status < 400) {
    await pipeAnswer(answer, response)
    return
  }
  const { status, message } = await engineErrorOf(answer)
  sendError(response, status, inClientWords(message, target.linux, target.typed))
}

/** Where an upload goes, and how its entries are to be called there. */
async function findTarget(
  context: WineContext,
  container: Container,
  typed: string,
  first: string | undefined
): Promise<{ linux: string; typed: string; rename?: (name: string) => string }> {
  // Docker's client on a Mac takes all of `C:\x\f` for a file name in the folder `.`, and calls the entries so.
  const misread = first !== undefined && (typed === '.' || typed === './') && /^[a-z]:|\\/i.test(first)
  if (misread) {
    const whole = archivePath(container, first)
    const parent = archivePath(container, `${whole.windows.slice(0, whole.windows.lastIndexOf('\\'))}\\`)
    const folder = await findFolder(context, container, parent)
    const name = await existingName(context, container, folder, whole)
    return { linux: folder, typed: parent.windows, rename: rebase(first, name) }
  }
  const path = archivePath(container, typed)
  const folder = await findFolder(context, container, path)
  if (first === undefined || first === '' || first === '.' || first.includes('/')) return { linux: folder, typed }
  const inside = archivePath(container, `${path.windows.replace(/\\$/, '')}\\${first}`)
  const name = await existingName(context, container, folder, inside)
  return { linux: folder, typed, ...(name === first ? {} : { rename: rebase(first, name) }) }
}

async function findFolder(context: WineContext, container: Container, path: ArchivePath): Promise<string> {
  const { answer, linux } = await openArchive(context, container, 'HEAD', { ...path, suffix: '' })
  answer.body.resume()
  if (answer.status === 404) throw notFound(container, path)
  if (answer.status >= 400) throw new EngineError(answer.status, `cannot write to ${path.typed}`)
  if (numberOf(statOf(answer).mode) < DIRECTORY) throw new Refusal(`extraction point is not a directory: ${path.typed}`)
  return linux
}

/** The name under which a path's last component is already in a folder, whatever its case; the given one when it is not. */
async function existingName(
  context: WineContext,
  container: Container,
  folder: string,
  path: ArchivePath
): Promise<string> {
  const name = baseName(path.windows)
  const linux = `${folder}/${name}`
  const exact = await askArchive(context, container.id, 'HEAD', linux)
  exact.body.resume()
  return exact.status === 200 ? name : posix.basename(await resolveCase(context, container, { ...path, linux }))
}

/** An engine's error with the path that the client typed. */
function inClientWords(message: string, linux: string, typed: string): string {
  return inWindowsWords(message.replaceAll(linux, typed))
}
