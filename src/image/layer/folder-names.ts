import { BASE_FOLDERS } from '#image/windows-path.ts'

/** Deep enough for what people mount to and build in; a tree of node_modules would fill a label. */
const MOST_DEPTH = 4
const MOST_NAMES = 1000

/** The names that the folders of a drive really have, as layer after layer is laid over it: WindowsImage.folders. */
export class FolderNames {
  /** Lower case to real case. */
  readonly #names: Map<string, string>

  /** `below`: what the layers below have made. */
  constructor(below: readonly string[]) {
    this.#names = new Map([...BASE_FOLDERS, ...below].map(name => [name.toLowerCase(), name]))
  }

  /** A layer has a folder. One that is there in another case keeps its name. */
  add(parts: readonly string[]): void {
    let real = ''
    for (const part of parts.slice(0, MOST_DEPTH)) {
      const name = real === '' ? part : `${real}/${part}`
      const known = this.#names.get(name.toLowerCase())
      if (known === undefined && this.#names.size < MOST_NAMES) this.#names.set(name.toLowerCase(), name)
      real = known ?? name
    }
  }

  /** A layer takes away what has this name, in any case, and all below it. */
  remove(parts: readonly string[]): void {
    const gone = parts.join('/').toLowerCase()
    for (const lower of [...this.#names.keys()]) {
      if (lower === gone || lower.startsWith(`${gone}/`)) this.#names.delete(lower)
    }
  }

  /** Without those of the Wine base. */
  get made(): string[] {
    return [...this.#names.values()].filter(name => !BASE_FOLDERS.includes(name))
  }
}
