import { NOT_IN_NAMES } from '#image/layer/drive-name.ts'
import { BASE_FOLDERS, normalizeWindowsPath, toLinuxPath } from '#image/windows-path.ts'
import { DockerfileFault } from './fault.ts'

/**
 * What is known of the folders below C: while an image is built. Windows does not tell `App` from `app`, the engine does: a
 * path may go to the engine only when each of its components is known, or is known not to be there in another case.
 */
export class Folders {
  /** Lower case to real case, e.g. `app/lib`. */
  readonly #known: Map<string, string>
  /** Folders with content that nobody listed, in lower case; an empty name is the root. */
  readonly #opaque: Set<string>
  readonly #made: string[]

  /** `made`: what builds made in the base. `ran`: a program ran there, so that anything may be anywhere. */
  constructor(made: readonly string[], ran: boolean) {
    this.#made = [...made]
    this.#known = new Map([...BASE_FOLDERS, ...made].map(path => [path.toLowerCase(), path]))
    this.#opaque = new Set(this.#known.keys())
    if (ran) this.#opaque.add('')
  }

  /** A copy for a stage that begins where this one ended. */
  clone(): Folders {
    const copy = new Folders(this.#made, false)
    for (const [lower, path] of this.#known) copy.#known.set(lower, path)
    copy.#opaque.clear()
    for (const path of this.#opaque) copy.#opaque.add(path)
    return copy
  }

  /** The Linux path for a Windows path; `certain` when the engine cannot find another file there than Windows would. */
  locate(path: string): { linux: string; certain: boolean } {
    let lower = ''
    let real = ''
    let certain: boolean | undefined
    for (const part of components(path)) {
      const next = join(lower, part.toLowerCase())
      const known = this.#known.get(next)
      if (known === undefined) certain ??= !this.#underOpaque(lower)
      real = known ?? join(real, part)
      lower = next
    }
    return { linux: toLinuxPath(`${normalizeWindowsPath(path).slice(0, 3)}${real}`), certain: certain ?? true }
  }

  /** True when the folder is known to be there. */
  has(path: string): boolean {
    const name = components(path).join('/').toLowerCase()
    return name === '' || this.#known.has(name)
  }

  /** Notes that a path and its parents are there. `filled`: with content that is not known. */
  add(path: string, filled: boolean): void {
    let lower = ''
    let real = ''
    for (const part of components(path)) {
      lower = join(lower, part.toLowerCase())
      real = this.#known.get(lower) ?? join(real, part)
      if (this.#known.has(lower)) continue
      this.#known.set(lower, real)
      this.#made.push(real)
    }
    if (filled) this.#opaque.add(lower)
  }

  /** A program ran: folders may have appeared anywhere. */
  forget(): void {
    this.#opaque.add('')
    for (const path of this.#known.keys()) this.#opaque.add(path)
  }

  /** What builds made, for the image's record. */
  get made(): string[] {
    return [...this.#made]
  }

  /** True when the folder itself, or one above whose content came unlisted, may hold names that are not known. */
  #underOpaque(lower: string): boolean {
    for (let path = lower; path !== ''; path = path.slice(0, Math.max(0, path.lastIndexOf('/')))) {
      if (this.#opaque.has(path)) return true
    }
    return this.#opaque.has('')
  }
}

/** Linux takes no longer path, and the prefix of the drive belongs to it. */
const PATH_BYTES = 3500
// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what it looks for.
const CONTROL = /[\0-\x1f]/

/** Throws for a path below a drive that nothing on Windows can be called, in Windows's words. */
export function checkPath(path: string): void {
  checkName(path)
  if (
    path
      .replace(/^[a-z]:/i, '')
      .split(/[\\/]/)
      .some(part => NOT_IN_NAMES.test(part))
  )
    throw badName(path)
}

/** The same for what may be a pattern. A line break would begin another instruction of the engine's. */
export function checkName(path: string): void {
  if (CONTROL.test(path)) throw badName(path)
  if (Buffer.byteLength(path) > PATH_BYTES) throw new DockerfileFault('The filename or extension is too long.')
}

function badName(path: string): DockerfileFault {
  return new DockerfileFault(
    `The filename, directory name, or volume label syntax is incorrect: ${JSON.stringify(path.slice(0, 300))}`
  )
}

function components(path: string): string[] {
  return normalizeWindowsPath(path).slice(3).split('\\').filter(Boolean)
}

function join(parent: string, name: string): string {
  return parent === '' ? name : `${parent}/${name}`
}
