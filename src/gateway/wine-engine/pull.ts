import { createInterface } from 'node:readline'
import { EngineError } from '#docker/engine.ts'
import type { Handling } from '#gateway/proxy/handling.ts'
import { joinTarget, type Route, type RouteMatch } from '#gateway/routes.ts'
import { baseImage, type KnownBase, knownBase, splitReference, wineBaseTag } from '#image/bases.ts'
import type { RegistryAuth } from '#image/registry/auth.ts'
import { familiarName, familiarString, type ImageReference, parseReference } from '#image/registry/reference.ts'
import { UnfitImage } from '#image/registry/registry-fault.ts'
import { IMAGE_LABEL } from '#image/windows-config.ts'
import type { WineContext } from './context.ts'
import { dockerfileTar } from './dockerfile-tar.ts'
import { isOwnPlatform, WINE_VERSION } from './identity.ts'
import { importImage } from './import.ts'
import { objectOf, stringOf } from './json.ts'
import { ProgressLines } from './progress-lines.ts'
import { cannot, Refusal } from './refusal.ts'
import { authOf, withRegistry } from './registry-access.ts'
import { type PullOptions, pullImage } from './registry-pull.ts'
import { lookUpImage } from './windows-images.ts'

/** `docker pull`: the Wine base takes the name of Microsoft's base images, all others come from their registries. */
export function pullRoutes(context: WineContext): Route[] {
  return [{ method: 'POST', template: '/images/create', action: match => create(context, match) }]
}

function create(context: WineContext, { head, query }: RouteMatch): Handling {
  return {
    kind: 'handle',
    async handler(request, response) {
      if ((query.get('fromImage') ?? '') === '' && query.get('fromSrc')) {
        return await importImage(context, query, request, response)
      }
      request.resume()
      const reference = referenceOf(query)
      checkPlatform(query.get('platform') ?? '')
      const base = baseOf(reference)
      if (base === undefined) return await fromRegistry(context, reference, authOf(head), new ProgressLines(response))
      const { name, fresh } = await materialise(context, reference, base)
      response.writeHead(200, { 'Content-Type': 'application/json' })
      response.end(
        progress(reference, name, base, fresh)
          .map(line => `${JSON.stringify(line)}\r\n`)
          .join('')
      )
    }
  }
}

async function fromRegistry(
  context: WineContext,
  name: string,
  auth: RegistryAuth | undefined,
  lines: ProgressLines
): Promise<void> {
  try {
    const reference = parseReference(name)
    const options = { auth, progress: lines.event, signal: lines.signal }
    const all = reference.tag === undefined && reference.digest === undefined
    const fresh = all
      ? await pullAll(context, reference, options, lines)
      : await pullOne(context, reference, options, lines)
    const done = fresh ? 'Downloaded newer image' : 'Image is up to date'
    lines.send({ status: `Status: ${done} for ${all ? familiarName(reference) : familiarString(reference)}` })
    lines.end()
  } catch (error) {
    lines.fail(error)
  }
}

/** Gives whether the name means another image than before. */
async function pullOne(
  context: WineContext,
  reference: ImageReference,
  options: PullOptions,
  lines: ProgressLines
): Promise<boolean> {
  const { digest, fresh } = await pullImage(context, reference, options)
  lines.send({ status: `Digest: ${digest}` })
  return fresh
}

/**
 * Without a tag a client means all of them. In many repositories some are for Linux, or no images: those are told of and left
 * out, and only when nothing is left it is an error. Gives whether anything is new.
 */
async function pullAll(
  context: WineContext,
  reference: ImageReference,
  options: PullOptions,
  lines: ProgressLines
): Promise<boolean> {
  const { auth, signal } = options
  const tags = await withRegistry(context, reference, auth, signal, client => client.tags(reference))
  const skipped: string[] = []
  let fresh = false
  for (const tag of tags) {
    const one = { ...reference, tag }
    try {
      if (await pullOne(context, one, options, lines)) fresh = true
    } catch (error) {
      const unfit = error instanceof UnfitImage || (error instanceof Refusal && error.status === 409)
      if (!unfit) throw error
      skipped.push(`${familiarString(one)}: ${error.message}`)
      lines.send({ status: `Skipped ${skipped.at(-1)}` })
    }
  }
  if (skipped.length < tags.length) return fresh
  const why =
    skipped.length === 0 ? 'it has no tags' : `none of its ${tags.length} tags is for Windows, as ${skipped[0]}`
  throw new Refusal(`nothing to pull from ${familiarName(reference)}: ${why}`, 404)
}

/** `fromImage` and `tag`, which may be a digest, as one reference. */
function referenceOf(query: URLSearchParams): string {
  // `pull -a` of an old client ends so.
  const image = (query.get('fromImage') ?? '').replace(/:$/, '')
  const tag = query.get('tag') ?? ''
  if (image === '') throw new Refusal('invalid reference format')
  if (tag === '') return image
  const { repository } = splitReference(image)
  return tag.includes(':') ? `${repository}@${tag}` : `${repository}:${tag}`
}

/** A Refusal in a registry's words when the platform is one that the base images do not have. */
function checkPlatform(platform: string): void {
  if (!isOwnPlatform(platform))
    throw new Refusal(`no matching manifest for ${platform} in the manifest list entries`, 404)
}

const needsWindows: readonly [pattern: RegExp, what: string][] = [
  [/\/iis$|^microsoft\/iis$/, 'run IIS images: Wine has no http.sys'],
  [/\/powershell$/, "run PowerShell images: Wine's powershell.exe is an empty shell"],
  [/\/dotnet\/framework\/|^microsoft\/(dotnet-framework|aspnet|wcf)/, 'run images of the .NET Framework'],
  [/\/mssql\/|^microsoft\/mssql/, 'run SQL Server'],
  [
    /^mcr\.microsoft\.com\/windows(\/(insider|ml))?$/,
    'play the full Windows image: it stands in for nanoserver, servercore and server'
  ]
]

/**
 * The base that a reference names; undefined for an image that a registry has. A Refusal for what no registry has, and for
 * what Wine cannot run, which says which driver can.
 */
export function baseOf(reference: string): KnownBase | undefined {
  const base = knownBase(reference)
  if (base === 'unknownTag') {
    throw new Refusal(`manifest for ${reference} not found: manifest unknown: manifest unknown`, 404)
  }
  if (base !== undefined) return base
  const repository = splitReference(reference).repository.toLowerCase()
  const found = needsWindows.find(([pattern]) => pattern.test(repository))
  if (found !== undefined) throw cannot(found[1])
  return undefined
}

/**
 * Makes the image of a base on the engine, under the name that the client used, so that all else finds it by that name.
 * `fresh` tells whether it was not there before. A Refusal when the Wine base is missing or the name is another image's.
 */
export async function materialise(
  context: WineContext,
  reference: string,
  base: KnownBase
): Promise<{ name: string; fresh: boolean }> {
  const { repository, tag } = splitReference(reference)
  const name = `${repository}:${tag ?? (reference.includes('@') ? base.release.tag : 'latest')}`
  const before = await lookUpImage(context, name)
  if (before === 'linux') {
    throw new Refusal(`the Docker engine has a Linux image named ${name}; remove or rename it there first`, 409)
  }
  await buildBase(context, name, base)
  const after = await lookUpImage(context, name)
  if (after === undefined || after === 'linux') throw new Refusal(`the Docker engine has not kept ${name}`, 500)
  return { name, fresh: before === undefined || before.inspect.Id !== after.inspect.Id }
}

/** One step on the Wine base with the Windows side as its label; the engine's build cache makes equal bases one image. */
async function buildBase(context: WineContext, name: string, base: KnownBase): Promise<void> {
  const parent = wineBaseTag(base.release.tag)
  const query = new URLSearchParams({
    t: name,
    // Not in the Dockerfile, where dollars, quotes and backslashes would be read once more.
    labels: JSON.stringify({ [IMAGE_LABEL]: JSON.stringify(baseImage(base)) }),
    platform: await platformOf(context, parent),
    version: '1',
    rm: '1',
    forcerm: '1'
  })
  const answer = await context.engine.request('POST', joinTarget('', '/build', query), {
    body: await dockerfileTar(`FROM ${parent}\n`),
    headers: { 'Content-Type': 'application/x-tar' }
  })
  // Old engines answer 200 and tell of a failure in the stream.
  let failure = ''
  let last = ''
  for await (const line of createInterface({ input: answer.body, crlfDelay: Number.POSITIVE_INFINITY })) {
    last = line
    failure ||= errorIn(line)
  }
  if (answer.status >= 400) throw new EngineError(answer.status, stringOf(parse(last).message) || last)
  if (failure !== '') throw new Refusal(`the Docker engine cannot make ${name}: ${failure}`, 500)
}

async function platformOf(context: WineContext, parent: string): Promise<string> {
  try {
    const { Os, Architecture } = objectOf(await context.engine.json('GET', `/images/${parent}/json`))
    return `${stringOf(Os)}/${stringOf(Architecture)}`
  } catch (error) {
    if (!(error instanceof EngineError) || error.status !== 404) throw error
    throw new Refusal(
      `the Docker engine has no ${parent}, which stands in for this image: run oriel up to build it`,
      500
    )
  }
}

function errorIn(line: string): string {
  return stringOf(parse(line).error)
}

function parse(line: string): Record<string, unknown> {
  try {
    return objectOf(JSON.parse(line))
  } catch {
    return {}
  }
}

const products = { nanoserver: 'Nano Server', servercore: 'Server Core', server: 'Server' }

/** The lines of a pull: docker's own, and one that says plainly what was not done. */
function progress(reference: string, name: string, base: KnownBase, fresh: boolean): object[] {
  const { repository, tag, digest } = splitReference(reference)
  const path = repository.includes('/') ? repository.replace(/^[^/]*[.:][^/]*\//, '') : `library/${repository}`
  return [
    { status: `Pulling from ${path}`, id: tag ?? digest ?? 'latest' },
    {
      status: `Nothing is downloaded from Microsoft: Wine ${WINE_VERSION} stands in for Windows ${products[base.family]} ${base.release.tag}`
    },
    ...(digest === undefined ? [] : [{ status: `The digest names no bytes here: ${name} is what you get` }]),
    { status: `Status: ${fresh ? 'Downloaded newer image' : 'Image is up to date'} for ${name}` }
  ]
}
