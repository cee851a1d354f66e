import { stat } from 'node:fs/promises'
import { Fault, messageOf } from '#lib/fault.ts'
import type { DiscFile } from './disc-file.ts'

/** What every entry of a disc has: its name in the Joliet tree and the one in the primary tree. */
interface Entry {
  readonly name: string
  /** 8.3, upper case, alone in its folder: `AUTOUNAT.XML`; no dot where there is no extension. */
  shortName: string
}

export interface FileEntry extends Entry {
  readonly content: Buffer | { file: string }
  readonly bytes: number
}

export interface FolderEntry extends Entry {
  /** The root has none. */
  readonly parent: FolderEntry | undefined
  readonly folders: FolderEntry[]
  readonly files: FileEntry[]
}

// One extent holds at most 2^32 - 1 bytes. A larger file would need several, and nothing that Oriel puts on a disc is near.
const FILE_BYTES = 2 ** 32 - 1
// ECMA-119, 6.8.2.1: eight levels, of which the root is the first.
const LEVELS = 8
// Joliet: 128 bytes of UCS-2.
const NAME_UNITS = 64
// Joliet refuses control characters and * / : ; ? \, Windows the other four and a dot or blank at the end.
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
const FORBIDDEN = /[\u0000-\u001f*/:;?\\<>"|]|[. ]$/u
const LONE_SURROGATE = /\p{Surrogate}/u

/**
 * The folders and files of a disc, with the sizes of those that lie on this host. The order of `files` does not matter.
 * Fault for a path that the disc cannot hold or Windows cannot open, two that Windows takes for one, nine levels or more,
 * and a file of 4 GiB or more.
 */
export async function discTree(files: readonly DiscFile[]): Promise<FolderEntry> {
  const root: FolderEntry = { name: '', shortName: '', parent: undefined, folders: [], files: [] }
  const seen = new Map<string, { path: string; folder?: FolderEntry }>()
  for (const { path, content } of [...files].sort((a, b) => compareText(a.path, b.path))) {
    const parts = path.split('/')
    if (parts.length > LEVELS) throw new Fault(`${path} is too deep for a disc: ${LEVELS - 1} folders at most.`)
    let folder = root
    for (const [index, name] of parts.entries()) {
      checkName(name, path)
      const here = parts.slice(0, index + 1).join('/')
      const key = here.toLowerCase()
      const known = seen.get(key)
      const last = index === parts.length - 1
      if (known !== undefined && (last || known.folder === undefined || known.path !== here)) {
        throw new Fault(`a disc cannot hold both ${known.path} and ${path}.`)
      }
      if (known?.folder !== undefined) {
        folder = known.folder
      } else if (last) {
        folder.files.push({ name, shortName: '', ...(await measure(path, content)) })
        seen.set(key, { path })
      } else {
        const made: FolderEntry = { name, shortName: '', parent: folder, folders: [], files: [] }
        folder.folders.push(made)
        seen.set(key, { path: here, folder: made })
        folder = made
      }
    }
  }
  giveShortNames(root)
  return root
}

function checkName(name: string, path: string): void {
  if (name === '') throw new Fault(`${JSON.stringify(path)} is no path on a disc.`)
  if (FORBIDDEN.test(name) || LONE_SURROGATE.test(name)) {
    throw new Fault(
      `${JSON.stringify(name)} cannot be a name on a disc: Joliet or Windows forbids one of its characters.`
    )
  }
  if (name.length > NAME_UNITS) {
    throw new Fault(`${name} cannot be a name on a disc: it is longer than ${NAME_UNITS} characters.`)
  }
}

async function measure(path: string, content: DiscFile['content']): Promise<Pick<FileEntry, 'content' | 'bytes'>> {
  if (typeof content === 'string' || Buffer.isBuffer(content)) {
    const data = Buffer.from(content)
    return { content: data, bytes: data.length }
  }
  const found = await stat(content.file).catch(error => {
    throw new Fault(`cannot read ${content.file}, which is to go on a disc: ${messageOf(error)}`, { exitCode: 4 })
  })
  if (!found.isFile()) throw new Fault(`${content.file}, which is to go on a disc as ${path}, is not a file.`)
  if (found.size > FILE_BYTES) throw new Fault(`${content.file} is too large for a disc: less than 4 GiB at most.`)
  return { content, bytes: found.size }
}

function giveShortNames(folder: FolderEntry): void {
  const taken = new Set<string>()
  const next = new Map<string, number>()
  for (const entry of [...folder.folders, ...folder.files].sort((a, b) => compareText(a.name, b.name))) {
    const isFolder = 'folders' in entry
    const dot = isFolder ? -1 : entry.name.lastIndexOf('.')
    const base = shortened(dot < 0 ? entry.name : entry.name.slice(0, dot), 8) || '_'
    const end = dot < 0 ? '' : shortened(entry.name.slice(dot + 1), 3)
    const extension = end === '' ? '' : `.${end}`
    let candidate = base + extension
    while (taken.has(candidate)) {
      const number = (next.get(base + extension) ?? 0) + 1
      next.set(base + extension, number)
      candidate = `${base.slice(0, 8 - String(number).length)}${number}${extension}`
    }
    taken.add(candidate)
    entry.shortName = candidate
  }
  for (const child of folder.folders) giveShortNames(child)
}

function shortened(text: string, length: number): string {
  return text
    .toUpperCase()
    .replace(/[^A-Z0-9_]/g, '_')
    .slice(0, length)
}

// By code units: a comparison that knows of languages would differ from host to host.
function compareText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0
}
