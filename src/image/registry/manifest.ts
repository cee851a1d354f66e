import { Fault } from '#lib/fault.ts'
import { parseDigest } from './digest.ts'
import { UnfitImage } from './registry-fault.ts'

// OCI image-spec 1.1 (descriptor.md, manifest.md, image-index.md, config.md) and docker's manifest v2, schema 2. Fields that
// are not named here stay in the bytes, which are what is kept and sent on.

export interface Descriptor {
  mediaType: string
  digest: string
  /** Bytes. */
  size: number
  urls?: readonly string[]
}

export interface Platform {
  os: string
  architecture: string
  /** `10.0.20348.1487` */
  osVersion: string
}

export interface IndexEntry extends Descriptor {
  platform: Platform | undefined
}

export interface ImageIndex {
  kind: 'index'
  mediaType: string
  manifests: readonly IndexEntry[]
}

export interface ImageManifest {
  kind: 'image'
  mediaType: string
  config: Descriptor
  /** The lowest first. */
  layers: readonly Descriptor[]
}

export interface ImageConfig {
  os: string
  architecture: string
  /** `10.0.20348.1487`; empty where it is not told. */
  osVersion: string
  /** Digests of the layers as tars, the lowest first. */
  diffIds: readonly string[]
  history: readonly { createdBy: string; emptyLayer: boolean }[]
  /** All of it, as it is. */
  json: Readonly<Record<string, unknown>>
}

/** docker's own limit of what lies on top of each other. */
const MOST_LAYERS = 125
const MOST_ENTRIES = 2000
const MOST_URLS = 20
const MOST_DEPTH = 100

const DOCKER_MANIFEST = 'application/vnd.docker.distribution.manifest.v2+json'
const DOCKER_LIST = 'application/vnd.docker.distribution.manifest.list.v2+json'
const OCI_MANIFEST = 'application/vnd.oci.image.manifest.v1+json'
const OCI_INDEX = 'application/vnd.oci.image.index.v1+json'
const SCHEMA_1 = /^application\/vnd\.docker\.distribution\.manifest\.v1\+(json|prettyjws)$/
/** What servers send that do not know better. */
const VAGUE = ['', 'application/json', 'application/octet-stream', 'text/plain', 'binary/octet-stream']

/** As dockerd takes them: these, or these and a dot. */
const LAYER_TYPES = ['application/vnd.oci.image', 'application/vnd.docker']
/** The config of an image. The vague ones are those of old images. */
const CONFIG_TYPES = [
  'application/vnd.docker.container.image.v1+json',
  'application/vnd.oci.image.config.v1+json',
  'application/octet-stream',
  'application/json',
  'text/html',
  ''
]

/** Reads a manifest or an index. `mediaType` is what the registry said. RegistryFault, in docker's words, for any other. */
export function parseManifest(mediaType: string, bytes: Uint8Array): ImageManifest | ImageIndex {
  const json = parseJson(bytes, 'manifest')
  const said = stringOf(json.mediaType)
  const type = VAGUE.includes(mediaType) ? said || detect(json) : mediaType
  if (SCHEMA_1.test(type) || (json.schemaVersion === 1 && Array.isArray(json.fsLayers))) throw schema1()
  if (![DOCKER_MANIFEST, DOCKER_LIST, OCI_MANIFEST, OCI_INDEX].includes(type)) {
    throw invalid(`unsupported manifest media type and no default available: ${shown(type)}`)
  }
  if (said !== '' && said !== type) throw invalid(`mediaType in manifest should be '${type}' not '${shown(said)}'`)
  if (json.schemaVersion !== 2) {
    // Number() of an object calls what the object says is its valueOf.
    const version = typeof json.schemaVersion === 'number' ? json.schemaVersion : 0
    throw invalid(`unrecognized manifest schema version ${version}`)
  }
  // One that is both could be read as either by two who check it: CVE-2021-41190.
  const isIndex = type === DOCKER_LIST || type === OCI_INDEX
  if (isIndex ? json.config !== undefined || json.layers !== undefined : json.manifests !== undefined) {
    throw invalid(`media-type: "${type}" should not have ${isIndex ? '"config" or "layers"' : '"manifests"'}`)
  }
  return isIndex ? readIndex(type, json) : readImage(type, json)
}

function readIndex(mediaType: string, json: Record<string, unknown>): ImageIndex {
  const manifests = listOf(json.manifests, MOST_ENTRIES, 'manifests').map(entry => {
    const { os, architecture, 'os.version': version } = objectOf(objectOf(entry).platform)
    const platform =
      os === undefined && architecture === undefined
        ? undefined
        : { os: stringOf(os), architecture: stringOf(architecture), osVersion: stringOf(version) }
    return { ...readDescriptor(entry, 'manifest'), platform }
  })
  return { kind: 'index', mediaType, manifests }
}

function readImage(mediaType: string, json: Record<string, unknown>): ImageManifest {
  const config = readDescriptor(json.config, 'config')
  if (!CONFIG_TYPES.includes(config.mediaType)) {
    const kind = config.mediaType === 'application/vnd.docker.plugin.v1+json' ? 'plugin' : 'unknown'
    throw invalid(`Encountered remote "${shown(config.mediaType)}"(${kind}) when fetching`)
  }
  if (Array.isArray(json.layers) && json.layers.length > MOST_LAYERS) throw invalid('max depth exceeded')
  const layers = listOf(json.layers, MOST_LAYERS, 'layers').map(layer => readDescriptor(layer, 'layer'))
  for (const layer of layers) checkLayerType(layer.mediaType)
  return { kind: 'image', mediaType, config, layers }
}

function checkLayerType(mediaType: string): void {
  const type = mediaType.toLowerCase()
  const known = LAYER_TYPES.some(prefix => type === prefix || type.startsWith(`${prefix}.`))
  if (!known && !CONFIG_TYPES.includes(type)) throw invalid(`unsupported media type ${shown(mediaType)}`)
}

function readDescriptor(value: unknown, what: string): Descriptor {
  const { mediaType, digest, size, urls } = objectOf(value)
  if (typeof digest !== 'string') throw invalid(`invalid manifest: a ${what} has no digest`)
  checkDigest(digest, what)
  if (typeof size !== 'number' || !Number.isSafeInteger(size) || size < 0) {
    throw invalid(`invalid manifest: ${what} ${digest} has no size`)
  }
  const descriptor = { mediaType: stringOf(mediaType), digest, size }
  if (urls === undefined || urls === null) return descriptor
  return { ...descriptor, urls: listOf(urls, MOST_URLS, 'urls').map(stringOf) }
}

function checkDigest(digest: string, what: string): void {
  try {
    parseDigest(digest)
  } catch (error) {
    if (!(error instanceof Fault)) throw error
    throw invalid(`could not validate ${what} digest "${shown(digest)}": ${error.message}`)
  }
}

/** What a manifest is that does not say so. */
function detect(json: Record<string, unknown>): string {
  if (json.fsLayers !== undefined) return 'application/vnd.docker.distribution.manifest.v1+json'
  if (json.manifests !== undefined) return OCI_INDEX
  return json.config !== undefined && json.layers !== undefined ? OCI_MANIFEST : ''
}

/** Reads the config of an image. RegistryFault in docker's words. */
export function parseConfig(bytes: Uint8Array): ImageConfig {
  const json = parseJson(bytes, 'image configuration')
  const { os, architecture, history, rootfs, 'os.version': version } = json
  if (typeof rootfs !== 'object' || rootfs === null) throw invalid('invalid rootfs in image configuration')
  const diffIds = listOf(objectOf(rootfs).diff_ids ?? [], MOST_LAYERS, 'diff_ids').map(stringOf)
  for (const diffId of diffIds) checkDigest(diffId, 'layer')
  return {
    os: stringOf(os),
    architecture: stringOf(architecture),
    osVersion: stringOf(version),
    diffIds,
    history: listOf(history ?? [], MOST_ENTRIES, 'history').map(entry => {
      const { created_by, empty_layer } = objectOf(entry)
      return { createdBy: stringOf(created_by), emptyLayer: empty_layer === true }
    }),
    json
  }
}

export interface WindowsChoice {
  /** The newest Windows that can be stood in for: `20348`. */
  maxBuild: number
  /** The build of the Windows that is played: it, or the newest before it, comes before newer ones; `maxBuild` where none is given. */
  preferBuild?: number
}

/**
 * The windows/amd64 image of an index: none that is newer than `maxBuild`; the newest that a Windows of the preferred build may
 * run, and where there is none the one that is nearest to it. RegistryFault in docker's words when there is none.
 */
export function chooseWindows(index: ImageIndex, { maxBuild, preferBuild = maxBuild }: WindowsChoice): IndexEntry {
  const fitting = index.manifests.flatMap(entry => {
    const { os = '', architecture = '', osVersion = '' } = entry.platform ?? {}
    const version = versionOf(osVersion)
    const fits = os.toLowerCase() === 'windows' && architecture === 'amd64' && (version[2] ?? 0) <= maxBuild
    return fits ? [{ entry, version }] : []
  })
  // Stable, so that of equal ones the first in the index stays first, as with dockerd.
  fitting.sort((one, other) => {
    const [oneNewer, otherNewer] = [one, other].map(({ version }) => (version[2] ?? 0) > preferBuild)
    if (oneNewer !== otherNewer) return oneNewer ? 1 : -1
    const sameBuild = one.version[2] === other.version[2]
    const order = compareVersions(other.version, one.version)
    return oneNewer && !sameBuild ? -order : order
  })
  const [first] = fitting
  if (first !== undefined) return first.entry
  throw new UnfitImage(`no matching manifest for windows/amd64 10.0.${maxBuild} in the manifest list entries`, {
    status: 404
  })
}

/** Checks an image that no index was chosen from. RegistryFault in docker's words. */
export function checkWindows({ os, architecture, osVersion }: ImageConfig, maxBuild: number): void {
  if (os.toLowerCase() !== 'windows') {
    throw invalid(`cannot download image with operating system "${shown(os || 'linux')}" when requesting "windows"`)
  }
  const [major, minor, build] = versionOf(osVersion)
  if (build !== undefined && build > maxBuild) {
    throw invalid(
      `a Windows version ${major}.${minor}.${build}-based image is incompatible with a 10.0.${maxBuild} host`
    )
  }
  if (architecture !== '' && architecture !== 'amd64') {
    throw invalid(
      `image does not match the specified platform: wanted windows/amd64, actual: windows/${shown(architecture)}`
    )
  }
}

/** The numbers of `10.0.20348.1487`; none for what is no version. */
function versionOf(text: string): number[] {
  return /^\d{1,9}(\.\d{1,9}){2,3}$/.test(text) ? text.split('.').map(Number) : []
}

function compareVersions(one: readonly number[], other: readonly number[]): number {
  for (const part of [0, 1, 2, 3]) {
    const difference = (one[part] ?? -1) - (other[part] ?? -1)
    if (difference !== 0) return difference
  }
  return 0
}

function parseJson(bytes: Uint8Array, what: string): Record<string, unknown> {
  if (depthOf(bytes) > MOST_DEPTH) throw invalid(`invalid ${what}: nested too deeply`)
  let value: unknown
  try {
    value = JSON.parse(new TextDecoder().decode(bytes))
  } catch {
    throw invalid(`invalid ${what}: it is not JSON`)
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw invalid(`invalid ${what}: it is no object`)
  return value as Record<string, unknown>
}

/** How deep the brackets of a JSON text are nested. */
function depthOf(bytes: Uint8Array): number {
  let depth = 0
  let deepest = 0
  let quoted = false
  for (let at = 0; at < bytes.length; at += 1) {
    const byte = bytes[at]
    if (quoted && byte === BACKSLASH) at += 1
    else if (byte === QUOTE) quoted = !quoted
    else if (!quoted && (byte === OPEN_BRACE || byte === OPEN_BRACKET)) deepest = Math.max(deepest, ++depth)
    else if (!quoted && (byte === CLOSE_BRACE || byte === CLOSE_BRACKET)) depth -= 1
  }
  return deepest
}

const QUOTE = 0x22
const BACKSLASH = 0x5c
const OPEN_BRACKET = 0x5b
const CLOSE_BRACKET = 0x5d
const OPEN_BRACE = 0x7b
const CLOSE_BRACE = 0x7d

function listOf(value: unknown, most: number, what: string): unknown[] {
  if (!Array.isArray(value)) throw invalid(`invalid manifest: ${what} is no list`)
  if (value.length > most) throw invalid(`invalid manifest: ${value.length} ${what}, and at most ${most} are read`)
  return value
}

function objectOf(value: unknown): Record<string, unknown> {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {}
}

function stringOf(value: unknown): string {
  return typeof value === 'string' ? value : ''
}

function invalid(message: string): UnfitImage {
  return new UnfitImage(message, { status: 400 })
}

function schema1(): UnfitImage {
  return invalid(
    'Docker Image Format v1 and Docker Image manifest version 2, schema 1 support has been removed. More information at ' +
      'https://docs.docker.com/go/deprecated-image-specs/'
  )
}

/** Text of somebody else in a message. */
function shown(text: string): string {
  return text.replace(/[^\x20-\x7e]/g, '?').slice(0, 200)
}
