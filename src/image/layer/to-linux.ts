import type { Readable } from 'node:stream'
import { finished } from 'node:stream/promises'
import { encodeReg, type HiveName, hiveToReg, joinReg } from '#image/hive/reg-text.ts'
import { readHive, readHiveFacts } from '#image/hive/regf.ts'
import { Fault, messageOf } from '#lib/fault.ts'
import { DRIVE, driveName, partsOf, refused } from './drive-name.ts'
import { type LinkKind, toLinuxTarget } from './link-target.ts'
import { type NewEntry, type TarEntry, translateTar, type Verdict } from './tar-translator.ts'
import { ATTRIBUTE, FILEATTR, MOUNTPOINT, WHITEOUT } from './windows-records.ts'

/** The entry that carries the registry's changes; `/oriel/init layer` applies it. */
export const LAYER_REG = 'oriel/layer.reg'

/** Why something of a Windows layer is not in the Linux one. */
export type DropReason =
  /** `file:stream`: Linux has one stream a file. */
  | 'alternate-stream'
  /** The Hyper-V guest of a base layer. */
  | 'utility-vm'
  /** SAM and SECURITY: Wine keeps no accounts there. */
  | 'hive'
  /** A link to another drive, a volume or a share. */
  | 'link-target'
  /** Hidden, system and the like: engines keep no user.DOSATTRIB in a layer. Counted only; the file itself is there. */
  | 'attributes'
  /** An opaque mark or a whiteout that Windows, too, finds nothing for. */
  | 'whiteout'

export interface LayerFacts {
  /** Files, folders, links and whiteouts written. */
  files: number
  /** Of their content. */
  bytes: number
  /** How many of each were left out. */
  dropped: Partial<Record<DropReason, number>>
  /** The hives that were read, in order; `dirty` for one whose newest changes are missing. */
  hives: { name: HiveName; dirty: boolean }[]
}

export interface LinuxLayerOptions {
  /** Largest hive that is read, in bytes. */
  hiveLimit?: number
  /** Told, by the parts of its name below the drive, of each folder that is there, and of what is not there any more. */
  onName?: (parts: readonly string[], what: 'folder' | 'removed') => void
}

const HIVE_LIMIT = 256 * 1024 * 1024
/** Of all hives together, in characters: the text is held as a whole. */
const TEXT_LIMIT = 128 * 1024 * 1024
const HIVE_NAMES: readonly HiveName[] = ['SYSTEM', 'SOFTWARE', 'DEFAULTUSER', 'SAM', 'SECURITY']

/**
 * A Windows layer (a tar, uncompressed) as the tar that `/oriel/init layer` reads: names below `c/drive_c` in the case the
 * layer has, whiteouts as they are, links relative, and the changes of the hives as one entry `oriel/layer.reg`.
 * `output` and `done` fail with a Fault for a layer that is damaged or has a name that leads out of the drive.
 */
export function toLinuxLayer(
  input: Readable,
  options: LinuxLayerOptions = {}
): { output: Readable; done: Promise<LayerFacts> } {
  const layer = new LinuxLayer(options)
  const output = translateTar(input, { entry: entry => layer.entry(entry), end: () => layer.end() })
  return { output, done: settled(output, () => layer.facts) }
}

/** The facts once the stream has been read to its end. A failure nobody waits for is not one of the process: the stream has it, too. */
export function settled<T>(output: Readable, facts: () => T): Promise<T> {
  const done = finished(output, { writable: false }).then(facts)
  done.catch(() => undefined)
  return done
}

class LinuxLayer {
  readonly facts: LayerFacts = { files: 0, bytes: 0, dropped: {}, hives: [] }
  readonly #hiveLimit: number
  readonly #onName: LinuxLayerOptions['onName']
  readonly #texts = new Map<HiveName, string>()

  constructor(options: LinuxLayerOptions) {
    this.#hiveLimit = options.hiveLimit ?? HIVE_LIMIT
    this.#onName = options.onName
  }

  entry(entry: TarEntry): Verdict {
    const [root, ...parts] = partsOf(entry.name)
    switch (root) {
      case undefined:
        return { kind: 'drop' }
      case 'Files':
        return this.#file(entry, parts)
      case 'Hives':
        return this.#hive(entry, parts)
      case 'UtilityVM':
        return this.#drop('utility-vm')
      default:
        throw refused(entry.name, 'a Windows layer has nothing but Files, Hives and UtilityVM')
    }
  }

  end(): NewEntry[] {
    const texts = HIVE_NAMES.map(name => this.#texts.get(name)).filter(text => text !== undefined)
    if (texts.length === 0) return []
    const content = encodeReg(joinReg(texts))
    return [{ type: '0', name: LAYER_REG, linkname: '', mtime: '0', mode: 0o644, content }]
  }

  #drop(reason: DropReason): Verdict {
    this.facts.dropped[reason] = (this.facts.dropped[reason] ?? 0) + 1
    return { kind: 'drop' }
  }

  #pass(entry: TarEntry, made: Omit<NewEntry, 'mtime'>): Verdict {
    this.facts.files++
    this.facts.bytes += entry.size
    return { kind: 'pass', entry: { ...made, mtime: entry.mtime } }
  }

  #file(entry: TarEntry, below: readonly string[]): Verdict {
    const named = driveName(entry.name, below)
    if (named.kind === 'stream') return this.#drop('alternate-stream')
    const { parts } = named
    const last = parts.at(-1) ?? ''
    const name = [DRIVE, ...parts].join('/')
    if (last.startsWith(WHITEOUT)) {
      this.#onName?.([...parts.slice(0, -1), last.slice(WHITEOUT.length)], 'removed')
      return this.#whiteout(entry, name, last.slice(WHITEOUT.length))
    }
    if (parts.some(part => part.startsWith(WHITEOUT)))
      throw refused(entry.name, 'it lies below a mark for a removed file')
    // The drive itself is there.
    if (parts.length === 0 && entry.type !== '5') throw refused(entry.name, 'the root of a drive is a folder')
    this.#onName?.(entry.type === '5' ? parts : parts.slice(0, -1), 'folder')
    switch (entry.type) {
      case '0':
      case '5': {
        const mode = this.#mode(entry)
        return this.#pass(entry, { type: entry.type, name: entry.type === '5' ? `${name}/` : name, linkname: '', mode })
      }
      case '1':
        return this.#pass(entry, { type: '1', name, linkname: hardLinkTarget(entry), mode: 0o644 })
      case '2': {
        const linkname = toLinuxTarget(entry.linkname, parts.slice(0, -1), linkKind(entry))
        if (linkname === undefined) return this.#drop('link-target')
        return this.#pass(entry, { type: '2', name, linkname, mode: 0o777 })
      }
      default:
        throw refused(entry.name, 'it is neither a file nor a folder nor a link')
    }
  }

  #whiteout(entry: TarEntry, name: string, removed: string): Verdict {
    // Linux' mark for a folder that hides all below it; Windows has none, and removes a file of that name, which is not there.
    if (removed.startsWith(WHITEOUT)) return this.#drop('whiteout')
    if (removed === '' || removed === '.' || removed === '..') throw refused(entry.name, 'it removes nothing')
    if (entry.type !== '0') throw refused(entry.name, 'a mark for a removed file is an empty file')
    if (entry.size > 0) throw refused(entry.name, 'a mark for a removed file is an empty file')
    return this.#pass(entry, { type: '0', name, linkname: '', mode: 0o644 })
  }

  /** Wine takes a file that nobody may write for read-only; the other attributes it reads from a place that layers lose. */
  #mode(entry: TarEntry): number {
    const attributes = attributesOf(entry)
    if ((attributes & (ATTRIBUTE.hidden | ATTRIBUTE.system)) !== 0) {
      this.facts.dropped.attributes = (this.facts.dropped.attributes ?? 0) + 1
    }
    const readOnly = (attributes & ATTRIBUTE.readOnly) !== 0
    if (entry.type === '5') return readOnly ? 0o555 : 0o755
    return readOnly ? 0o444 : 0o644
  }

  #hive(entry: TarEntry, parts: readonly string[]): Verdict {
    const file = parts[0] ?? ''
    if (parts.length === 0 || file.startsWith(WHITEOUT)) return { kind: 'drop' }
    const name = HIVE_NAMES.find(hive => `${hive}_DELTA` === file.toUpperCase())
    // A base layer's whole hives: the Wine base stands in for that layer.
    if (parts.length === 1 && /^[A-Z]+_BASE$/i.test(file)) return this.#drop('hive')
    if (name === undefined || parts.length > 1 || entry.type !== '0') {
      throw refused(entry.name, 'it is no change of a registry hive')
    }
    if (name === 'SAM' || name === 'SECURITY') return this.#drop('hive')
    const take = (content: Buffer): void => this.#read(name, content)
    return { kind: 'collect', limit: this.#hiveLimit, take }
  }

  #read(name: HiveName, content: Buffer): void {
    // Windows leaves an empty file where a layer changes nothing of a hive.
    if (content.length === 0) return
    try {
      const { dirty } = readHiveFacts(content)
      this.#texts.set(name, hiveToReg(readHive(content), name))
      const length = [...this.#texts.values()].reduce((sum, text) => sum + text.length, 0)
      if (length > TEXT_LIMIT) throw new Fault(`it makes more than ${TEXT_LIMIT} characters of text`)
      this.facts.hives.push({ name, dirty })
    } catch (error) {
      throw new Fault(`Hives/${name}_DELTA of the layer: ${messageOf(error)}`, { cause: error })
    }
  }
}

function attributesOf(entry: TarEntry): number {
  const said = entry.pax[FILEATTR]
  return said !== undefined && /^\d{1,10}$/.test(said) ? Number(said) : 0
}

function linkKind(entry: TarEntry): LinkKind {
  if (entry.pax[MOUNTPOINT] !== undefined) return 'junction'
  return (attributesOf(entry) & ATTRIBUTE.folder) !== 0 ? 'folder' : 'file'
}

function hardLinkTarget(entry: TarEntry): string {
  const [root, ...parts] = partsOf(entry.linkname)
  if (root !== 'Files' || parts.length === 0) throw refused(entry.linkname, 'a hard link leads out of the drive')
  const target = driveName(entry.linkname, parts)
  if (target.kind === 'stream') throw refused(entry.linkname, 'a hard link leads to an alternate stream')
  return [DRIVE, ...target.parts].join('/')
}
