import { createHash } from 'node:crypto'
import { createReadStream, createWriteStream } from 'node:fs'
import { rm } from 'node:fs/promises'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { join } from 'node:path'
import { type Readable, Transform } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { extract } from 'tar-stream'
import { engineErrorOf } from '#docker/engine.ts'
import type { KnownBase } from '#image/bases.ts'
import {
  type BaseFiles,
  type ImportFacts,
  importLayer,
  type OpenTar,
  readImportFacts,
  sameAsBase
} from '#image/layer/import-layer.ts'
import { releaseFor } from '#image/origin.ts'
import { familiarString, parseReference } from '#image/registry/reference.ts'
import { IMAGE_LABEL, LAYER_LABEL, userLabels, type WindowsConfig, type WindowsImage } from '#image/windows-config.ts'
import { explainWriteError } from '#lib/disk-room.ts'
import { Fault, messageOf } from '#lib/fault.ts'
import { decompressed } from './build-compression.ts'
import { applyChanges } from './commit.ts'
import type { WineContext } from './context.ts'
import { isOwnPlatform } from './identity.ts'
import { commit, inContainer, type LaidLayers, layLayers, removeLeftovers, wineBase } from './layer-chain.ts'
import { nameImage } from './original-image.ts'
import { ProgressLines } from './progress-lines.ts'
import { Refusal } from './refusal.ts'
import { withRemoteFile } from './remote-file.ts'
import { lookUpImage } from './windows-images.ts'

const PLAIN_LAYER = 'application/vnd.docker.image.rootfs.diff.tar'
const TELL_MS = 100
/** What an image is configured with to which nobody said anything. */
const EMPTY: WindowsConfig = {
  Cmd: null,
  Entrypoint: null,
  Env: [],
  User: '',
  WorkingDir: '',
  Volumes: null,
  Labels: null,
  OnBuild: null
}

/**
 * `docker import`: a tar of files, or a Windows layer, becomes an image with one layer. On Windows such an image has nothing
 * below; here it lies on the Wine base of the default release, without which nothing runs.
 */
export async function importImage(
  context: WineContext,
  query: URLSearchParams,
  request: IncomingMessage,
  response: ServerResponse
): Promise<void> {
  const lines = new ProgressLines(response)
  try {
    const source = query.get('fromSrc') ?? ''
    const name = nameOf(query)
    checkPlatform(query.get('platform') ?? '')
    const config = applyChanges(EMPTY, query.getAll('changes'))
    const comment = query.get('message') || `Imported from ${source}`
    if (name !== undefined && (await lookUpImage(context, name)) === 'linux') {
      throw new Refusal(`the Docker engine has a Linux image named ${name}; remove or rename it there first`, 409)
    }
    const make = (tar: Readable) => imageOf(context, tar, { config, comment, name }, lines.signal)
    const id = source === '-' ? await make(request) : await fromUrl(context, source, lines, make)
    lines.send({ status: id })
    lines.end()
  } catch (error) {
    // Some clients read no answer before they have sent everything.
    request.resume()
    lines.fail(error)
  }
}

function nameOf(query: URLSearchParams): string | undefined {
  const repository = query.get('repo') ?? ''
  const tag = query.get('tag') ?? ''
  if (repository === '') return undefined
  const reference = parseReference(tag === '' ? repository : `${repository}:${tag}`)
  if (reference.digest !== undefined) throw new Refusal('cannot import digest reference')
  return familiarString(reference)
}

function checkPlatform(platform: string): void {
  if (!isOwnPlatform(platform)) throw new Refusal(`invalid platform: ${platform}: operating system is not supported`)
}

/** Docker takes an address without a scheme for one of http. */
async function fromUrl(
  context: WineContext,
  source: string,
  lines: ProgressLines,
  make: (tar: Readable) => Promise<string>
): Promise<string> {
  const address = source.includes('://') ? source : `http://${source}`
  return await withRemoteFile(context, address, lines.signal, async ({ url, size, body, onBytes }) => {
    lines.send({ status: `Downloading from ${url}` })
    let told = 0
    onBytes(current => {
      if (Date.now() - told < TELL_MS && current !== size) return
      told = Date.now()
      lines.send({ status: 'Importing', progressDetail: { current, ...(size === undefined ? {} : { total: size }) } })
    })
    return await make(body)
  })
}

interface Imported {
  config: WindowsConfig
  comment: string
  name: string | undefined
}

/** Gives the engine's id. */
async function imageOf(
  context: WineContext,
  source: Readable,
  imported: Imported,
  signal: AbortSignal
): Promise<string> {
  // Nothing says what the files were made for.
  const release = releaseFor('')
  context.images.pulling += 1
  const folder = await context.images.workFolder()
  try {
    await removeLeftovers(context)
    const file = join(folder, 'import.tar')
    await pipeline(await decompressed(source, 'tar'), createWriteStream(file, { mode: 0o600 }), { signal }).catch(
      error => {
        throw damaged(explainWriteError(error, folder))
      }
    )
    const laid = await layTar(
      context,
      () => createReadStream(file, { signal }),
      join(folder, 'layer.tar'),
      release,
      signal
    )
    const id = await imageOn(context, laid, release, imported)
    if (imported.name !== undefined) await nameImage(context, id, [imported.name])
    return id
  } finally {
    context.images.pulling -= 1
    await rm(folder, { recursive: true, force: true })
  }
}

async function layTar(
  context: WineContext,
  open: OpenTar,
  layer: string,
  release: KnownBase['release'],
  signal: AbortSignal
): Promise<LaidLayers> {
  const { size, diffId } = await writeLayer(context, open, layer, release, signal).catch(error => {
    throw damaged(error)
  })
  const toLay = { descriptor: { mediaType: PLAIN_LAYER, size }, diffId, open: () => createReadStream(layer) }
  return await layLayers(context, release.tag, [toLay], { tell: () => undefined, signal })
}

/** Writes the Windows layer that a tar stands for. */
async function writeLayer(
  context: WineContext,
  open: OpenTar,
  file: string,
  release: KnownBase['release'],
  signal: AbortSignal
): Promise<{ size: number; diffId: string }> {
  const facts = await readImportFacts(open)
  // As from a `docker export` that was refused.
  if (facts.entries === 0) throw new Fault('it is empty')
  if (facts.windows === 'microsoft') context.log.info('an import brings a Windows of its own, which is left out')
  const leave = facts.windows === 'wine' ? await inBase(context, open, facts, release, signal) : undefined
  const hash = createHash('sha256')
  let size = 0
  const counted = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      hash.update(chunk)
      size += chunk.length
      done(null, chunk)
    }
  })
  await pipeline(importLayer(open, facts, leave), counted, createWriteStream(file, { mode: 0o600 }), { signal })
  return { size, diffId: `sha256:${hash.digest('hex')}` }
}

/** Of the drive of a container of ours, what was there before: it would only be twice, and go out with a push. */
async function inBase(
  context: WineContext,
  open: OpenTar,
  facts: ImportFacts,
  release: KnownBase['release'],
  signal: AbortSignal
): Promise<(path: string, type: string) => boolean> {
  const base = await baseFiles(context, release, signal)
  const same = await sameAsBase(open, facts, base)
  return (path, type) => (type === '5' ? base.get(path) === 'folder' : same.has(path))
}

async function baseFiles(context: WineContext, release: KnownBase['release'], signal: AbortSignal): Promise<BaseFiles> {
  const { image } = await wineBase(context, release.tag)
  return await inContainer(context, image, async container => {
    const target = `/containers/${container}/archive?path=/c/drive_c/.`
    const answer = await context.engine.request('GET', target, { signal, timeoutMs: 0 })
    if (answer.status >= 400) throw await engineErrorOf(answer)
    const files = new Map<string, { size: number; sha256: string } | 'folder'>()
    const reader = extract()
    answer.body.once('error', error => reader.destroy(error))
    answer.body.pipe(reader)
    for await (const entry of reader) {
      const path = entry.header.name.replace(/^\.\//, '').replace(/\/$/, '').toLowerCase()
      const hash = createHash('sha256')
      for await (const chunk of entry) hash.update(chunk as Buffer)
      if (entry.header.type === 'directory') files.set(path, 'folder')
      if (entry.header.type === 'file') files.set(path, { size: entry.header.size ?? 0, sha256: hash.digest('hex') })
    }
    return files
  })
}

async function imageOn(
  context: WineContext,
  laid: LaidLayers,
  release: KnownBase['release'],
  { config, comment }: Imported
): Promise<string> {
  const image: WindowsImage = {
    config,
    osVersion: release.osVersion,
    family: 'servercore',
    release: release.tag,
    folders: laid.folders,
    history: [],
    imported: comment
  }
  const labels = { ...userLabels(config.Labels), [IMAGE_LABEL]: JSON.stringify(image), [LAYER_LABEL]: laid.mark }
  return await inContainer(context, laid.image, container =>
    commit(context, container, labels, { exposedPorts: config.ExposedPorts ?? {}, comment })
  )
}

/** What is wrong with a tar is the client's to know, in one sentence; all else is what it is. */
function damaged(error: unknown): unknown {
  if (error instanceof Refusal || (error instanceof Error && error.name === 'AbortError')) return error
  if (error instanceof Fault && error.exitCode !== 1) return error
  return new Refusal(`the tar cannot be imported: ${messageOf(error)}`, 400)
}
