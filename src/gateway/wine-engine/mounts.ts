import { MACHINE_LABEL } from '#image/windows-config.ts'
import { toLinuxPath } from '#image/windows-path.ts'
import { type Json, objectOf, objectsOf, stringOf, stringsOf } from './json.ts'
import { absoluteWindowsPath, type RecordedMount } from './record.ts'
import { cannot, Refusal } from './refusal.ts'

/** The mounts of a container as the engine takes them, and what is remembered of the client's own words. */
export interface TranslatedMounts {
  binds: string[]
  mounts: Json[]
  recorded: RecordedMount[]
}

interface Place {
  destination: string
  target: string
}

/**
 * Translates every way in which a create request names mounts: `Binds` (`-v`), `Mounts` (`--mount`), and the `volumes`
 * without a name (`-v C:\data`, the image's VOLUME). `folders` are the image's, for their case.
 * A Refusal in a Windows daemon's words for what it would refuse.
 */
export function translateMounts(
  hostConfig: Json,
  volumes: readonly string[],
  machine: string,
  folders: readonly string[] = []
): TranslatedMounts {
  const result: TranslatedMounts = { binds: [], mounts: [], recorded: [] }
  const taken = new Set<string>()
  const add = (type: 'bind' | 'volume', source: string, { destination, target }: Place): void => {
    const key = destination.toLowerCase()
    if (taken.has(key)) throw new Refusal(`Duplicate mount point: ${destination}`)
    taken.add(key)
    result.recorded.push({ type, source, destination, target })
  }
  const owned = { [MACHINE_LABEL]: machine }

  for (const spec of Array.isArray(hostConfig.Binds) ? hostConfig.Binds.map(String) : []) {
    const { source, destination, readOnly, noCopy } = parseBind(spec)
    const place = placeOf(destination, `invalid volume specification: '${spec}'`, folders)
    const bind = hostPath(source, spec)
    if (bind === undefined) {
      add('volume', source, place)
      const VolumeOptions = { Labels: owned, ...(noCopy ? { NoCopy: true } : {}) }
      result.mounts.push({ Type: 'volume', Source: source, Target: place.target, ReadOnly: readOnly, VolumeOptions })
    } else {
      add('bind', source, place)
      result.binds.push(`${bind}:${place.target}${readOnly ? ':ro' : ''}`)
    }
  }
  for (const mount of objectsOf(hostConfig.Mounts)) {
    const type = stringOf(mount.Type)
    const source = stringOf(mount.Source)
    const target = stringOf(mount.Target)
    if (type === 'npipe') throw cannot('share a named pipe of the host with a container')
    if (type !== 'bind' && type !== 'volume') {
      throw new Refusal(
        `invalid mount config for type "${type}": mount type unknown (Windows containers take bind and volume)`
      )
    }
    const place = placeOf(target, `invalid mount config for type "${type}": invalid mount path: '${target}'`, folders)
    if (type === 'bind') {
      const bind = hostPath(source, source)
      if (bind === undefined) {
        throw new Refusal(
          `invalid mount config for type "bind": invalid mount path: '${source}' mount path must be absolute`
        )
      }
      add('bind', source, place)
      // Propagation is a word of Linux alone.
      const { Propagation: _, ...BindOptions } = objectOf(mount.BindOptions)
      result.mounts.push({ ...mount, Source: bind, Target: place.target, Consistency: '', BindOptions })
    } else {
      add('volume', source, place)
      const options = objectOf(mount.VolumeOptions)
      const VolumeOptions = { ...options, Labels: { ...stringsOf(options.Labels), ...owned } }
      result.mounts.push({ ...mount, Target: place.target, Consistency: '', VolumeOptions })
    }
  }
  for (const volume of volumes) {
    const place = placeOf(volume, `invalid volume specification: '${volume}'`, folders)
    if (taken.has(place.destination.toLowerCase())) continue
    add('volume', '', place)
    result.mounts.push({ Type: 'volume', Target: place.target, VolumeOptions: { Labels: owned } })
  }
  return result
}

/** Takes `SOURCE:TARGET[:MODE]` apart; a colon after a drive letter belongs to the path. A Refusal when it is none. */
export function parseBind(spec: string): { source: string; destination: string; readOnly: boolean; noCopy: boolean } {
  const parts: string[] = []
  const pieces = spec.split(':')
  for (let at = 0; at < pieces.length; at++) {
    const piece = pieces[at] ?? ''
    const next = pieces[at + 1]
    // `C:` at the very end is a drive as well, and refused later in its own words.
    if (
      /^[a-z]$/i.test(piece) &&
      next !== undefined &&
      (/^[\\/]/.test(next) || (next === '' && at + 2 === pieces.length))
    ) {
      parts.push(`${piece}:${next}`)
      at++
    } else parts.push(piece)
  }
  const [source = '', destination = '', modes = ''] = parts
  if (parts.length < 2 || parts.length > 3 || source === '' || destination === '') {
    throw new Refusal(`invalid volume specification: '${spec}'`)
  }
  let readOnly = false
  let noCopy = false
  for (const mode of modes.toLowerCase().split(',')) {
    if (mode === 'ro') readOnly = true
    else if (mode === 'nocopy') noCopy = true
    else if (!DROPPED_MODES.has(mode))
      throw new Refusal(`invalid volume specification: '${spec}': invalid mode: ${modes}`)
  }
  return { source, destination, readOnly, noCopy }
}

// A client on a Mac says these as a matter of course; they mean nothing on Windows, or are the engine's default.
const DROPPED_MODES = new Set(
  ['', 'rw', 'z', 'Z', 'cached', 'delegated', 'consistent', 'default']
    .concat(['shared', 'slave', 'private', 'rshared', 'rslave', 'rprivate'])
    .map(mode => mode.toLowerCase())
)

/** Where a mount goes. A Refusal that begins with `refusal` when that is no place on a Windows drive. */
function placeOf(destination: string, refusal: string, folders: readonly string[]): Place {
  if (/^[\\/]{2}/.test(destination)) throw cannot('share a named pipe of the host with a container')
  if (!/^[a-z]:/i.test(destination)) {
    const meant = destination.replaceAll('/', '\\').replace(/^\\*/, '')
    throw new Refusal(`${refusal} mount path must be absolute, with a drive (use C:\\${meant})`)
  }
  const absolute = absoluteWindowsPath(destination)
  if (absolute === undefined || /[*?"<>|\r\n]/.test(destination) || absolute.slice(2).includes(':')) {
    throw new Refusal(refusal)
  }
  if (absolute === 'C:\\') throw new Refusal(`${refusal}: destination path cannot be 'c:' or 'c:\\'`)
  return { destination: absolute, target: toLinuxPath(absolute, folders) }
}

/**
 * The path on the engine's host that a source names; undefined when it is the name of a volume. `C:\Users\me` and
 * `C:/Users/me` are what scripts for real Windows machines make of the host's `/Users/me`.
 */
function hostPath(source: string, spec: string): string | undefined {
  if (/^[\\/]{2}\.[\\/]pipe/i.test(source)) throw cannot('share a named pipe of the host with a container')
  if (/^c:[\\/]/i.test(source)) return source.slice(2).replaceAll('\\', '/')
  if (/^[a-z]:/i.test(source)) {
    throw new Refusal(
      `invalid volume specification: '${spec}': this host has no drive ${source.slice(0, 2).toUpperCase()}`
    )
  }
  if (source.startsWith('/')) return source
  if (/^[.~\\]/.test(source) || source.includes('/')) {
    throw new Refusal(
      `invalid volume specification: '${spec}': the source must be an absolute path or the name of a volume`
    )
  }
  return undefined
}
