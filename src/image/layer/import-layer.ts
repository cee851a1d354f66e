import { createHash } from 'node:crypto'
import type { Readable } from 'node:stream'
import { finished } from 'node:stream/promises'
import { DRIVE, partsOf, refused } from './drive-name.ts'
import { toLinuxTarget, toWindowsTarget } from './link-target.ts'
import { type TarEntry, translateTar, type Verdict } from './tar-translator.ts'
import { toWindowsLayer } from './to-windows.ts'
import { WHITEOUT } from './windows-records.ts'

/** What a tar that is imported holds. */
export interface ImportFacts {
  /** A Windows layer (`Files/`, `Hives/`), or files of a drive. */
  form: 'layer' | 'drive'
  /** The folder that is the root of the drive, in its parts. */
  root: readonly string[]
  /** Whose Windows lies in it: that of the Wine base, or a real one. */
  windows: 'none' | 'wine' | 'microsoft'
  /** How many entries it has. */
  entries: number
  /** Folders of the drive, in lower case. */
  folders: ReadonlySet<string>
}

/** What the Wine base has, by its path below the drive in lower case. A folder has no content. */
export type BaseFiles = ReadonlyMap<string, { size: number; sha256: string } | 'folder'>

/** A tar as its bytes are kept: each call gives them from the start. */
export type OpenTar = () => Readable

const LAYER_ROOTS: readonly string[] = ['Files', 'Hives', 'UtilityVM']
/** The Windows that all others are told by. */
const NTDLL = /^(?:Files\/|drive_c\/|c\/drive_c\/)?windows\/system32\/ntdll\.dll$/i
/** Where the links of the Wine base lead to: Wine's own programs. */
const WINE = /^\/usr\/lib\/[^/]+\/wine\//

/** Reads a tar to its end and says what it is. A Fault for one that is damaged, cut off or leads out of itself. */
export async function readImportFacts(open: OpenTar): Promise<ImportFacts> {
  const roots = new Set<string>()
  const folders = new Set<string>()
  let windows: ImportFacts['windows'] = 'none'
  let layered = false
  let container = false
  let entries = 0
  await scan(open, entry => {
    const parts = partsOf(entry.name)
    const path = parts.join('/')
    entries++
    if (parts[0] !== undefined) roots.add(parts[0])
    if (entry.type === '5') folders.add(path.toLowerCase())
    if (path === 'oriel/init') container = true
    layered ||= parts[0] === 'Hives' || Object.keys(entry.pax).some(key => key.startsWith('MSWINDOWS.'))
    if (NTDLL.test(path)) windows = entry.type === '2' && WINE.test(entry.linkname) ? 'wine' : 'microsoft'
    return { kind: 'drop' }
  })
  const onlyRoots = [...roots].every(root => LAYER_ROOTS.includes(root))
  if (layered && onlyRoots) return { form: 'layer', root: ['Files'], windows, entries, folders }
  const root = container
    ? // The whole of a container, as the Linux engine itself exports it.
      DRIVE.split('/')
    : roots.size === 1 && roots.has('drive_c')
      ? // `docker cp box:C:\ -`
        ['drive_c']
      : []
  return { form: 'drive', root, windows, entries, folders }
}

/** The paths, in lower case, of files that are in the Wine base with the same content. */
export async function sameAsBase(open: OpenTar, facts: ImportFacts, base: BaseFiles): Promise<Set<string>> {
  const same = new Set<string>()
  await scan(open, entry => {
    const path = belowRoot(facts, partsOf(entry.name))?.join('/').toLowerCase() ?? ''
    const known = base.get(path)
    if (known === undefined || known === 'folder' || entry.type !== '0' || entry.size !== known.size) {
      return { kind: 'drop' }
    }
    const take = (content: Buffer): void => {
      if (createHash('sha256').update(content).digest('hex') === known.sha256) same.add(path)
    }
    return { kind: 'collect', limit: known.size, take }
  })
  return same
}

/**
 * An imported tar as a Windows layer. `leave` tells what the Wine base has already. Of a real Windows its folder `Windows` is
 * left out: Wine takes its place. The stream ends with a Fault for a name or a link that leads out of the drive.
 */
export function importLayer(
  open: OpenTar,
  facts: ImportFacts,
  leave: (path: string, type: string) => boolean = () => false
): Readable {
  if (facts.form === 'layer') {
    return translateTar(open(), {
      entry: entry => (isReplaced(facts, partsOf(entry.name)) ? { kind: 'drop' } : { kind: 'pass', entry })
    })
  }
  return toWindowsLayer(translateTar(open(), { entry: entry => driveEntry(entry, facts, leave) })).output
}

async function scan(open: OpenTar, entry: (entry: TarEntry) => Verdict): Promise<void> {
  const output = translateTar(open(), { entry })
  output.resume()
  await finished(output)
}

function belowRoot({ root }: ImportFacts, parts: readonly string[]): string[] | undefined {
  return root.every((part, at) => parts[at] === part) ? parts.slice(root.length) : undefined
}

function isReplaced(facts: ImportFacts, parts: readonly string[]): boolean {
  return facts.windows === 'microsoft' && belowRoot(facts, parts)?.[0]?.toLowerCase() === 'windows'
}

function driveEntry(entry: TarEntry, facts: ImportFacts, leave: (path: string, type: string) => boolean): Verdict {
  const all = partsOf(entry.name)
  const parts = belowRoot(facts, all)
  if (parts === undefined || isReplaced(facts, all)) return { kind: 'drop' }
  if (parts.length === 0) {
    if (entry.type !== '5') throw refused(entry.name, 'the root of a drive is a folder')
    return { kind: 'drop' }
  }
  // There is nothing below that it could remove.
  if (parts.some(part => part.startsWith(WHITEOUT))) return { kind: 'drop' }
  if (leave(parts.join('/').toLowerCase(), entry.type)) return { kind: 'drop' }
  const name = [DRIVE, ...parts].join('/')
  switch (entry.type) {
    case '0':
    case '5':
      return { kind: 'pass', entry: { ...entry, name, linkname: '', pax: {} } }
    case '1': {
      const target = partsOf(entry.linkname)
      const below = belowRoot(facts, target)
      if (below === undefined || below.length === 0) throw refused(entry.name, 'a hard link leads out of the drive')
      if (isReplaced(facts, target)) return { kind: 'drop' }
      return { kind: 'pass', entry: { ...entry, name, linkname: [DRIVE, ...below].join('/'), pax: {} } }
    }
    case '2': {
      if (WINE.test(entry.linkname)) return { kind: 'drop' }
      const linkname = linkTarget(entry, parts.slice(0, -1), facts)
      return { kind: 'pass', entry: { ...entry, name, linkname, pax: {} } }
    }
    default:
      throw refused(entry.name, 'it is neither a file nor a folder nor a link')
  }
}

/** The target as a layer of ours has it, whose end tells a link to a folder from one to a file. */
function linkTarget({ name, linkname }: TarEntry, folder: readonly string[], facts: ImportFacts): string {
  const written = /^[a-z]:|\\/i.test(linkname) ? toLinuxTarget(linkname, folder, 'file') : linkname
  const target = written === undefined ? undefined : toWindowsTarget(written, folder)
  if (written === undefined || target === undefined) throw refused(name, `a link leads out of the drive: ${linkname}`)
  const named = target.target.replace(/^C:/i, '').split('\\')
  const from = target.target.startsWith('C:') ? [] : [...folder]
  for (const part of named) {
    if (part === '..') from.pop()
    else if (part !== '' && part !== '.') from.push(part)
  }
  const isFolder = facts.folders.has([...facts.root, ...from].join('/').toLowerCase())
  return target.kind === 'file' && isFolder ? `${written}/` : written
}
