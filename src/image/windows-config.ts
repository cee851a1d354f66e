/**
 * What a Windows image or container is configured with. The Linux engine would misread most of it (a Windows PATH, a user
 * without a uid, a drive letter), so it travels in labels, and the gateway puts it back wherever a client looks.
 */
export interface WindowsConfig {
  Cmd?: string[] | null
  Entrypoint?: string[] | null
  Env?: string[]
  User?: string
  WorkingDir?: string
  Shell?: string[]
  ExposedPorts?: Record<string, object>
  Volumes?: Record<string, object> | null
  Labels?: Record<string, string> | null
  /** Cmd (or Entrypoint) is one command line that is already escaped. */
  ArgsEscaped?: boolean
  StopSignal?: string
  OnBuild?: string[] | null
  Healthcheck?: object
}

/** An image as it is in a registry, or in an archive of a Windows host. */
export interface ImageOrigin {
  /** The digest of its config, which is the image's ID for clients. */
  id: string
  /** The digest of its manifest. */
  manifest: string
  /** The text of its config. */
  config: string
}

/** What `docker history` shows of an instruction, or of a commit. */
export interface HistoryEntry {
  created_by: string
  /** It made no layer. */
  empty: boolean
  comment?: string
}

/** The JSON under IMAGE_LABEL: what a Windows daemon would say of this image. */
export interface WindowsImage {
  config: WindowsConfig
  /** e.g. `10.0.20348.4052` */
  osVersion: string
  /** Microsoft's base that the Wine base stands for. */
  family: 'nanoserver' | 'servercore' | 'server'
  release: string
  /** Folders below C: that builds made, in their real case, so that later paths find them: `app`, `app/lib`. */
  folders: string[]
  /** What `docker history` shows, newest last, for the layers that builds added. */
  history: HistoryEntry[]
  /** The image that this one is, unchanged. */
  origin?: ImageOrigin
  /** Of an image that a tar was imported as, and of those built on it: the comment that its layer has. */
  imported?: string
  /** The image with an origin that this one was built on. */
  parent?: ImageOrigin
}

/** On every Windows image: JSON of WindowsImage. Images without it are not shown. */
export const IMAGE_LABEL = 'dev.oriel.image'
/**
 * On every image with translated layers, and on those built on it: which they are, and on which Wine base. An image that has
 * it and not IMAGE_LABEL is a layer of images, not an image that is shown.
 */
export const LAYER_LABEL = 'dev.oriel.layer'
/** Beside LAYER_LABEL: JSON of the names that the layers' folders have, as in WindowsImage. */
export const FOLDERS_LABEL = 'dev.oriel.folders'
/** On a container in which a layer is laid: the machine that does it. It is of no use to anybody else. */
export const WORK_LABEL = 'dev.oriel.work'
/** On every container: JSON of ContainerRecord. */
export const CONTAINER_LABEL = 'dev.oriel.container'
/** On every container, volume and network: the name of the machine that owns it. */
export const MACHINE_LABEL = 'dev.oriel.machine'
/** All of Oriel's own labels begin so; clients never see them. */
export const LABEL_PREFIX = 'dev.oriel.'

/** `labels` without Oriel's own. */
export function userLabels(labels: Record<string, string> | null | undefined): Record<string, string> {
  return Object.fromEntries(Object.entries(labels ?? {}).filter(([name]) => !name.startsWith(LABEL_PREFIX)))
}

/** Whether the parts are there that everyone reads: a label can be anybody's. */
function isWindowsImage(value: unknown): value is WindowsImage {
  if (typeof value !== 'object' || value === null) return false
  const { config, osVersion, folders, history } = value as Partial<Record<keyof WindowsImage, unknown>>
  const complete = typeof config === 'object' && config !== null && typeof osVersion === 'string'
  return complete && Array.isArray(folders) && Array.isArray(history)
}

/** Reads the Windows side of an image from its labels; undefined for a Linux image or a damaged label. */
export function windowsImageOf(labels: Record<string, string> | null | undefined): WindowsImage | undefined {
  const json = labels?.[IMAGE_LABEL]
  if (json === undefined) return undefined
  try {
    const value: unknown = JSON.parse(json)
    return isWindowsImage(value) ? value : undefined
  } catch {
    return undefined
  }
}

/** The Windows side of an image that is built on another one. */
export function builtOn({ origin, parent = origin, ...image }: WindowsImage): WindowsImage {
  return { ...image, ...(parent === undefined ? {} : { parent }) }
}

/** Overlays `NAME=value` lists as Windows does: names compare without case, the last one wins, the first spelling stays. */
export function mergeEnv(...lists: (readonly string[] | null | undefined)[]): string[] {
  const merged = new Map<string, { name: string; value: string }>()
  for (const entry of lists.flatMap(list => list ?? [])) {
    const at = entry.indexOf('=', 1)
    const name = at < 0 ? entry : entry.slice(0, at)
    const key = name.toUpperCase()
    merged.set(key, { name: merged.get(key)?.name ?? name, value: at < 0 ? '' : entry.slice(at + 1) })
  }
  return [...merged.values()].map(({ name, value }) => `${name}=${value}`)
}
