import { createHash } from 'node:crypto'
import { createReadStream, createWriteStream } from 'node:fs'
import { readFile, rm } from 'node:fs/promises'
import { join, posix } from 'node:path'
import { type Readable, Transform } from 'node:stream'
import { text } from 'node:stream/consumers'
import { pipeline } from 'node:stream/promises'
import { createGzip } from 'node:zlib'
import { extract } from 'tar-stream'
import { engineErrorOf } from '#docker/engine.ts'
import { wineBaseTag } from '#image/bases.ts'
import { diffRegistry, readWineRegistry, type WineRegistry } from '#image/hive/wine-registry.ts'
import { compressionOf, decompressAs } from '#image/layer/decompress.ts'
import { DriveTree } from '#image/layer/drive-tree.ts'
import { type LowerNames, type RegistryFile, toWindowsLayer, type WindowsLayerFacts } from '#image/layer/to-windows.ts'
import { playableBuilds, releaseBuild } from '#image/origin.ts'
import type { BlobStore } from '#image/registry/blob-store.ts'
import { type Files, unpackArchive } from '#image/registry/image-archive.ts'
import {
  type Descriptor,
  type ImageConfig,
  type ImageManifest,
  parseConfig,
  parseManifest
} from '#image/registry/manifest.ts'
import { fetchImageFacts } from '#image/registry/pull.ts'
import { parseReference } from '#image/registry/reference.ts'
import { type HistoryEntry, type ImageOrigin, LAYER_LABEL, type WindowsImage } from '#image/windows-config.ts'
import { messageOf } from '#lib/fault.ts'
import type { WineContext } from './context.ts'
import { isLaid, rowsOfInstructions } from './image-history.ts'
import { type Json, objectOf, objectsOf, stringOf, stringsOf } from './json.ts'
import { findLaid, inContainer } from './layer-chain.ts'
import { getIfThere } from './ownership.ts'
import { Refusal } from './refusal.ts'
import { withRegistry } from './registry-access.ts'
import type { FoundImage } from './windows-images.ts'

const MANIFEST = 'application/vnd.docker.distribution.manifest.v2+json'
const LAYER = 'application/vnd.docker.image.rootfs.diff.tar.gzip'
const CONFIG = 'application/vnd.docker.container.image.v1+json'
const MOST_JSON = 8 * 1024 * 1024
const REGISTRY_FILES: readonly RegistryFile[] = ['system.reg', 'user.reg', 'userdef.reg']
const MOST_KEYS = 5

/** What lies below the layers that builds added. */
interface Below {
  manifest: ImageManifest
  config: ImageConfig
  /** The engine's image of it. */
  engineImage: string
  engineLayers: readonly string[]
}

/** A layer that a build added, as Windows has it; without a descriptor when it changes nothing there. */
interface MadeLayer {
  descriptor: Descriptor | undefined
  diffId: string
}

/**
 * Makes a Windows image of one that was built or committed here: its own layers translated, on the manifest of the real base
 * that the Wine base stands for, or of the image that it was built on. The result is kept, so that each push and save has the
 * same bytes. A Refusal when the base's manifest cannot be had, and when a layer changed Wine's registry: what of that would
 * be true on Windows nobody can tell, so it is left to a build there.
 */
export async function builtOrigin(context: WineContext, found: FoundImage, signal: AbortSignal): Promise<ImageOrigin> {
  const blobs = await context.images.blobs()
  const engineId = stringOf(found.inspect.Id)
  const known = await context.images.builtAs(engineId)
  if (known !== undefined && (await isKept(blobs, known))) return known
  const below = await belowOf(context, found, blobs, signal)
  const folder = await context.images.workFolder()
  context.images.pulling += 1
  try {
    const answer = await context.engine.request('GET', `/images/${engineId}/get`, { signal, timeoutMs: 0 })
    if (answer.status >= 400) throw await engineErrorOf(answer)
    const files = await unpackArchive(answer.body, folder, signal)
    const { config, layers } = await engineArchive(files)
    const made = await translate(context, layers, below, folder, blobs)
    const origin = await compose(found.windows, below, config, made, blobs)
    await context.images.setBuiltAs(engineId, origin)
    return origin
  } finally {
    context.images.pulling -= 1
    await rm(folder, { recursive: true, force: true })
  }
}

async function isKept(blobs: BlobStore, { id, manifest }: ImageOrigin): Promise<boolean> {
  if (!(await blobs.has(id)) || !(await blobs.has(manifest))) return false
  const parsed = parseManifest('', await blobs.read(manifest, MOST_JSON))
  // Those of the base are in no store.
  return parsed.kind === 'image' && (await blobs.has(parsed.layers.at(-1)?.digest ?? id))
}

async function belowOf(
  context: WineContext,
  { inspect, windows }: FoundImage,
  blobs: BlobStore,
  signal: AbortSignal
): Promise<Below> {
  const mark = stringsOf(objectOf(inspect.Config).Labels)[LAYER_LABEL]
  const { parent } = windows
  const laid = parent === undefined || mark === undefined ? undefined : await findLaid(context, mark)
  const name = laid?.image ?? wineBaseTag(windows.release)
  const lower = objectOf(await getIfThere(context, `/images/${name}/json`))
  const engineLayers = layersOf(lower)
  const own = layersOf(inspect)
  if (engineLayers.length === 0 || engineLayers.some((layer, at) => own[at] !== layer)) {
    throw new Refusal(
      'this image was built on a Wine base that has been replaced since: pull what its Dockerfile begins FROM, build it again, then push or save it',
      409
    )
  }
  const facts =
    parent === undefined ? await microsoftBase(context, windows, blobs, signal) : await parentFacts(parent, blobs)
  return { ...facts, engineImage: stringOf(lower.Id), engineLayers }
}

function layersOf(inspect: Json): string[] {
  const { Layers: layers } = objectOf(inspect.RootFS)
  return Array.isArray(layers) ? layers.map(stringOf) : []
}

async function parentFacts(parent: ImageOrigin, blobs: BlobStore): Promise<Pick<Below, 'manifest' | 'config'>> {
  if (!(await blobs.has(parent.manifest))) {
    throw new Refusal(
      'the image that this one was built on is not on this computer as it came from its registry: pull it again',
      404
    )
  }
  const manifest = parseManifest('', await blobs.read(parent.manifest, MOST_JSON))
  if (manifest.kind !== 'image') throw new Refusal(`${parent.manifest} is no manifest of an image`, 500)
  return { manifest, config: parseConfig(Buffer.from(parent.config, 'utf8')) }
}

/** Only what the registry says of the base is fetched, some kilobytes; its layers never are. */
async function microsoftBase(
  context: WineContext,
  { family, release }: WindowsImage,
  blobs: BlobStore,
  signal: AbortSignal
): Promise<Pick<Below, 'manifest' | 'config'>> {
  const host = context.images.env.ORIEL_BASE_REGISTRY || 'mcr.microsoft.com'
  const name = `${host}/windows/${family}:${release}`
  const reference = parseReference(name)
  const build = releaseBuild(release) ?? playableBuilds().maxBuild
  const options = { maxBuild: build, preferBuild: build, progress: () => undefined, signal }
  try {
    return await withRegistry(context, reference, undefined, signal, client =>
      fetchImageFacts(reference, client, blobs, options)
    )
  } catch (error) {
    throw new Refusal(
      `what an image is pushed or saved on is the real Windows base, and the manifest of ${name} cannot be had: ${messageOf(error)}`,
      500
    )
  }
}

/** What the engine's own archive says: the config with its history, and the files of the layers, the lowest first. */
async function engineArchive(files: Files): Promise<{ config: Json; layers: string[] }> {
  const entry = objectOf(objectsOf(JSON.parse(await readEntry(files, 'manifest.json')))[0])
  const config = objectOf(JSON.parse(await readEntry(files, stringOf(entry.Config))))
  const names = Array.isArray(entry.Layers) ? entry.Layers.map(stringOf) : []
  const layers = names.map(name => {
    const file = files.get(posix.normalize(name))
    if (file === undefined) throw new Refusal(`the Docker engine left ${name} out of its archive`, 500)
    return file
  })
  return { config, layers }
}

async function readEntry(files: Files, name: string): Promise<string> {
  const file = files.get(posix.normalize(name))
  if (file === undefined) throw new Refusal(`the Docker engine left ${name} out of its archive`, 500)
  return await readFile(file, 'utf8')
}

/** Those of `layers` that lie above `below`. */
async function translate(
  context: WineContext,
  layers: readonly string[],
  below: Below,
  folder: string,
  blobs: BlobStore
): Promise<MadeLayer[]> {
  const made: MadeLayer[] = []
  let registry: Map<RegistryFile, WineRegistry> | undefined
  const tree = new DriveTree()
  let laid = 0
  for (const [height, file] of layers.entries()) {
    if (height < below.engineLayers.length) continue
    // The Wine base is large, and layers without a new folder never ask.
    const lower: LowerNames = async name => {
      for (; laid < height; laid += 1) await tree.lay(await plainLayer(layers[laid] ?? ''))
      return tree.list(name)
    }
    const packed = join(folder, 'layer.gz')
    const tar = createHash('sha256')
    const bytes = createHash('sha256')
    let size = 0
    const { output, done } = toWindowsLayer(await plainLayer(file), { below: lower })
    await pipeline(
      output,
      watched(chunk => tar.update(chunk)),
      createGzip(),
      watched(chunk => {
        bytes.update(chunk)
        size += chunk.length
      }),
      createWriteStream(packed, { mode: 0o600 })
    )
    const facts = await done
    if (Object.keys(facts.registry).length > 0) {
      registry ??= await registryOf(context, below.engineImage)
      checkRegistry(registry, facts)
    }
    const diffId = `sha256:${tar.digest('hex')}`
    const descriptor = { mediaType: LAYER, digest: `sha256:${bytes.digest('hex')}`, size }
    if (facts.files > 0) await blobs.put(descriptor, async from => createReadStream(packed, { start: from }))
    made.push({ descriptor: facts.files > 0 ? descriptor : undefined, diffId })
  }
  return made
}

/** An engine with containerd's image store keeps what it made compressed. */
async function plainLayer(file: string): Promise<Readable> {
  return decompressAs(createReadStream(file), await compressionOf(file))
}

function watched(each: (chunk: Buffer) => void): Transform {
  return new Transform({
    transform(chunk: Buffer, _encoding, done) {
      each(chunk)
      done(null, chunk)
    }
  })
}

/** Takes over the layer's registry as the one that the next layer is compared with. */
function checkRegistry(registry: Map<RegistryFile, WineRegistry>, { registry: texts }: WindowsLayerFacts): void {
  for (const name of REGISTRY_FILES) {
    const content = texts[name]
    if (content === undefined) continue
    const after = readWineRegistry(content)
    const changes = diffRegistry(registry.get(name) ?? new Map(), after)
    if (changes.length > 0) {
      const root = name === 'system.reg' ? 'HKLM' : 'HKCU'
      const keys = [...new Set(changes.map(({ key, value }) => `${root}\\${key}${value ? ` (${value})` : ''}`))]
      const more = keys.length > MOST_KEYS ? `, and ${keys.length - MOST_KEYS} more` : ''
      throw new Refusal(
        `a RUN of this image changed the registry, which a Windows image made on Wine cannot carry: ${keys.slice(0, MOST_KEYS).join(', ')}${more}. ` +
          'Set variables with ENV instead, or build the image on a machine with a real Windows: oriel up win --driver qemu',
        501
      )
    }
    registry.set(name, after)
  }
}

/** Wine's registry as the engine's image has it. */
async function registryOf(context: WineContext, image: string): Promise<Map<RegistryFile, WineRegistry>> {
  return await inContainer(context, image, async container => {
    const found = new Map<RegistryFile, WineRegistry>()
    for (const name of REGISTRY_FILES) {
      const answer = await context.engine.request('GET', `/containers/${container}/archive?path=/c/${name}`)
      if (answer.status === 404) {
        answer.body.resume()
        continue
      }
      if (answer.status >= 400) throw await engineErrorOf(answer)
      found.set(name, readWineRegistry(await firstFile(answer.body)))
    }
    return found
  })
}

async function firstFile(tar: Readable): Promise<string> {
  const reader = extract()
  tar.once('error', error => reader.destroy(error))
  tar.pipe(reader)
  let content = ''
  for await (const entry of reader) content ||= await text(entry)
  return content
}

async function compose(
  image: WindowsImage,
  below: Below,
  engineConfig: Json,
  made: readonly MadeLayer[],
  blobs: BlobStore
): Promise<ImageOrigin> {
  const kept = made.flatMap(({ descriptor, diffId }) => (descriptor === undefined ? [] : [{ descriptor, diffId }]))
  const rows = objectsOf(engineConfig.history)
  const config = Buffer.from(
    JSON.stringify({
      created: engineConfig.created,
      architecture: 'amd64',
      os: 'windows',
      'os.version': below.config.osVersion,
      config: image.config,
      rootfs: { type: 'layers', diff_ids: [...below.config.diffIds, ...kept.map(({ diffId }) => diffId)] },
      history: [...objectsOf(below.config.json.history), ...addedHistory(image, rows, made)]
    })
  )
  const id = await blobs.putBytes(config)
  const manifest = await blobs.putBytes(
    Buffer.from(
      JSON.stringify({
        schemaVersion: 2,
        mediaType: MANIFEST,
        config: { mediaType: CONFIG, size: config.length, digest: id },
        layers: [...below.manifest.layers, ...kept.map(({ descriptor }) => descriptor)]
      })
    )
  )
  return { id, manifest, config: config.toString('utf8') }
}

/**
 * One entry of the history for each layer, and one for each instruction without. An instruction may have needed more layers
 * than one, for folders that it made; the engine's rows tell, the last of which have the layers `made`.
 */
export function addedHistory(
  { history, imported }: Pick<WindowsImage, 'history' | 'imported'>,
  rows: readonly Json[],
  made: readonly { descriptor: unknown }[]
): object[] {
  const full = [...rows.keys()].filter(at => rows[at]?.empty_layer !== true)
  // What was laid is an original's that lies below, or was imported.
  const laid = imported === undefined ? rows.findLastIndex(row => isLaid(row.created_by)) : -1
  const below = Math.max(full[full.length - made.length - 1] ?? -1, laid)
  const above = rows.slice(below + 1)
  let layer = made.length - above.filter(row => row.empty_layer !== true).length
  const withLayer = above.map(row => row.empty_layer !== true && made[layer++]?.descriptor !== undefined)
  const created = rows.at(-1)?.created
  const shown = imported === undefined ? history : [{ created_by: '', empty: false, comment: imported }, ...history]
  // Somebody who commits at the engine itself leaves no word.
  const entries = shown.length === 0 && withLayer.includes(true) ? [{ created_by: '', empty: false }] : shown
  const groups = rowsOfInstructions(
    entries,
    above.map(row => stringOf(row.created_by))
  )
  return entries.flatMap(({ created_by, comment = '' }: HistoryEntry, at): object[] => {
    const text = { created_by, ...(comment === '' ? {} : { comment }) }
    const mine = (groups[at] ?? []).filter(row => withLayer[row])
    if (mine.length === 0) return [{ created, ...text, empty_layer: true }]
    return mine.map(row => ({ created: above[row]?.created ?? created, ...text }))
  })
}
