import type { Readable } from 'node:stream'
import { Fault } from '#lib/fault.ts'
import { DRIVE, NOT_IN_NAMES, partsOf } from './drive-name.ts'
import { toWindowsTarget } from './link-target.ts'
import { type NewEntry, type TarEntry, translateTar, type Verdict } from './tar-translator.ts'
import { settled } from './to-linux.ts'
import {
  ATTRIBUTE,
  CREATED,
  FILE_DESCRIPTOR,
  FILEATTR,
  FOLDER_DESCRIPTOR,
  MOUNTPOINT,
  OPAQUE,
  RAW_DESCRIPTOR,
  WHITEOUT
} from './windows-records.ts'

/** Why something of a Linux layer is not in the Windows one. */
export type LeftOut =
  /** All that lies beside the drive: Wine's registry, links and lock files, `/oriel`, `/tmp`. */
  | 'outside-drive'
  /** A link to a place of Linux, such as those of the prefix to Wine's own programs. */
  | 'link-target'
  /** A device, pipe or the like. */
  | 'special-file'

export interface WindowsLayerFacts {
  /** Files, folders, links and whiteouts written, `Files` and `Hives` themselves left aside. */
  files: number
  bytes: number
  dropped: Partial<Record<LeftOut, number>>
  /** Wine's registry as this layer has it, by the name of the file, for `diffRegistry`. */
  registry: Partial<Record<RegistryFile, string>>
}

export type RegistryFile = 'system.reg' | 'user.reg' | 'userdef.reg'

export interface WindowsLayerOptions {
  /** The time of `Files` and `Hives`; 1970 by default, so that equal layers have equal digests. */
  time?: Date
  /**
   * What the layers below have in a folder (a path below the drive with slashes; empty for the drive): for a folder that was
   * removed and made again, which Windows can only say name by name.
   */
  below?: LowerNames
}

/** What is in a folder of the layers below; nothing for one that they have not. */
export type LowerNames = (folder: string) => Promise<readonly { name: string; folder: boolean }[]>

const REGISTRY_FILES: readonly string[] = ['system.reg', 'user.reg', 'userdef.reg'] satisfies RegistryFile[]
const REGISTRY_LIMIT = 256 * 1024 * 1024
const FOLDER_MODE = 1 << 14
const FILE_MODE = 1 << 15

/**
 * A layer of one of our Linux images (a tar, as `docker save` has it) as a Windows layer, with the records and security
 * descriptors that BuildKit gives. `output` and `done` fail with a Fault for what no Windows layer can say.
 */
export function toWindowsLayer(
  input: Readable,
  options: WindowsLayerOptions = {}
): { output: Readable; done: Promise<WindowsLayerFacts> } {
  const layer = new WindowsLayer(options)
  const output = translateTar(input, {
    begin: () => layer.begin(),
    entry: entry => layer.entry(entry),
    end: () => layer.end()
  })
  return { output, done: settled(output, () => layer.facts) }
}

class WindowsLayer {
  readonly facts: WindowsLayerFacts = { files: 0, bytes: 0, dropped: {}, registry: {} }
  readonly #time: Date | undefined
  readonly #below: LowerNames | undefined
  /** Paths below the drive in lower case; true for a folder. */
  readonly #seen = new Map<string, boolean>()
  readonly #opaque: string[] = []
  /** Last, and not for a name that this layer has in another case: Windows would remove that. */
  readonly #whiteouts: { path: string; entry: NewEntry }[] = []

  constructor({ time, below }: WindowsLayerOptions) {
    this.#time = time
    this.#below = below
  }

  begin(): NewEntry[] {
    const mtime = String((this.#time?.getTime() ?? 0) / 1000)
    return ['Hives', 'Files'].map(name => ({
      type: '5',
      name,
      linkname: '',
      mtime,
      mode: FOLDER_MODE,
      pax: { [FILEATTR]: String(ATTRIBUTE.folder), [CREATED]: mtime }
    }))
  }

  entry(entry: TarEntry): Verdict {
    const [prefix, drive, ...parts] = partsOf(entry.name)
    if (`${prefix}/${drive}` !== DRIVE) return this.#outside(entry, prefix, drive, parts)
    const last = parts.at(-1)
    if (last === undefined) return { kind: 'drop' }
    const folder = parts.slice(0, -1)
    if (last === OPAQUE) {
      this.#opaque.push(folder.join('/'))
      return { kind: 'drop' }
    }
    if (last.startsWith(`${WHITEOUT}${WHITEOUT}`)) return this.#drop('special-file')
    check(parts)
    const name = ['Files', ...parts].join('/')
    if (last.startsWith(WHITEOUT)) {
      const path = [...folder, last.slice(WHITEOUT.length)].join('/')
      // Its own mode says nothing: containerd gives whiteouts none at all, which would be read-only on Windows.
      const made = fileEntry(name, { mode: 0o644, mtime: entry.mtime })
      this.#whiteouts.push({ path, entry: { ...made, content: Buffer.alloc(0) } })
      return { kind: 'drop' }
    }
    this.#seen.set(parts.join('/').toLowerCase(), entry.type === '5')
    switch (entry.type) {
      case '0':
        return this.#pass(entry, fileEntry(name, entry))
      case '5':
        return this.#pass(entry, folderEntry(name, entry))
      case '1':
        return this.#pass(entry, hardLink(name, entry))
      case '2': {
        const link = symlinkEntry(name, entry, folder)
        return link === undefined ? this.#drop('link-target') : this.#pass(entry, link)
      }
      default:
        return this.#drop('special-file')
    }
  }

  async end(): Promise<NewEntry[]> {
    const entries: NewEntry[] = []
    for (const { path, entry } of this.#whiteouts) {
      const isFolder = this.#seen.get(path.toLowerCase())
      if (isFolder === undefined) entries.push(entry)
      else if (isFolder) this.#opaque.push(path)
    }
    for (const folder of this.#opaque) await this.#removeBelow(folder, entries)
    this.facts.files += entries.length
    return entries
  }

  #outside(entry: TarEntry, prefix: string | undefined, file: string | undefined, rest: readonly string[]): Verdict {
    const registry = prefix === 'c' && rest.length === 0 && entry.type === '0' && REGISTRY_FILES.includes(file ?? '')
    if (!registry) return this.#drop('outside-drive')
    const take = (content: Buffer): void => {
      this.facts.registry[file as RegistryFile] = content.toString('utf8')
    }
    return { kind: 'collect', limit: REGISTRY_LIMIT, take }
  }

  #drop(reason: LeftOut): Verdict {
    this.facts.dropped[reason] = (this.facts.dropped[reason] ?? 0) + 1
    return { kind: 'drop' }
  }

  #pass(entry: TarEntry, made: NewEntry): Verdict {
    this.facts.files++
    this.facts.bytes += entry.size
    return { kind: 'pass', entry: made }
  }

  /** Names of the layers below that this one, which began the folder anew, has not. */
  async #removeBelow(folder: string, entries: NewEntry[]): Promise<void> {
    if (this.#below === undefined) {
      throw new Fault(`"${folder}" was removed and made again, which a Windows layer says only with the names it had`)
    }
    for (const { name, folder: wasFolder } of await this.#below(folder)) {
      const path = folder === '' ? name : `${folder}/${name}`
      const isFolder = this.#seen.get(path.toLowerCase())
      if (isFolder === undefined) entries.push(whiteout(folder, name))
      else if (isFolder && wasFolder && !this.#opaque.some(other => other.toLowerCase() === path.toLowerCase()))
        await this.#removeBelow(path, entries)
    }
  }
}

function records(attributes: number, mtime: string, descriptor: string): Record<string, string> {
  return { [FILEATTR]: String(attributes), [CREATED]: mtime, [RAW_DESCRIPTOR]: descriptor }
}

function readOnly(entry: Pick<TarEntry, 'mode'>): number {
  return (entry.mode & 0o222) === 0 ? ATTRIBUTE.readOnly : 0
}

function fileEntry(name: string, { mode, mtime }: Pick<TarEntry, 'mode' | 'mtime'>): NewEntry {
  const pax = records(ATTRIBUTE.archive | readOnly({ mode }), mtime, FILE_DESCRIPTOR)
  return { type: '0', name, linkname: '', mtime, mode: FILE_MODE | (mode & 0o777), pax }
}

function folderEntry(name: string, { mode, mtime }: TarEntry): NewEntry {
  const pax = records(ATTRIBUTE.folder | readOnly({ mode }), mtime, FOLDER_DESCRIPTOR)
  return { type: '5', name: `${name}/`, linkname: '', mtime, mode: FOLDER_MODE | (mode & 0o777), pax }
}

function hardLink(name: string, entry: TarEntry): NewEntry {
  const [prefix, drive, ...parts] = partsOf(entry.linkname)
  if (`${prefix}/${drive}` !== DRIVE || parts.length === 0) {
    throw new Fault(`"${entry.name}" is a hard link to a file outside of the drive, which Windows has not`)
  }
  check(parts)
  return { type: '1', name, linkname: ['Files', ...parts].join('/'), mtime: entry.mtime, mode: 0o777 }
}

function symlinkEntry(name: string, entry: TarEntry, folder: readonly string[]): NewEntry | undefined {
  const link = toWindowsTarget(entry.linkname, folder)
  if (link === undefined) return undefined
  const isFile = link.kind === 'file'
  const attributes = ATTRIBUTE.reparsePoint | (isFile ? ATTRIBUTE.archive : ATTRIBUTE.folder)
  const pax = records(attributes, entry.mtime, isFile ? FILE_DESCRIPTOR : FOLDER_DESCRIPTOR)
  return {
    type: '2',
    name,
    linkname: link.target,
    mtime: entry.mtime,
    mode: 0o777,
    pax: link.kind === 'junction' ? { ...pax, [MOUNTPOINT]: '1' } : pax
  }
}

function whiteout(folder: string, name: string): NewEntry {
  const path = ['Files', ...(folder === '' ? [] : [folder]), `${WHITEOUT}${name}`].join('/')
  return { ...fileEntry(path, { mode: 0o644, mtime: '0' }), content: Buffer.alloc(0) }
}

/** A Fault for a name that Linux can have and Windows cannot. */
function check(parts: readonly string[]): void {
  const bad = parts.find(part => NOT_IN_NAMES.test(part))
  if (bad !== undefined) {
    throw new Fault(`"${parts.join('/')}" cannot be in a Windows image: "${bad}" is no name of a file on Windows`)
  }
}
