import { Fault } from '#lib/fault.ts'

/** Where the C: drive is in the Linux image, as the names of a tar have it. */
export const DRIVE = 'c/drive_c'

/** Linux takes no longer name of a file. */
const NAME_BYTES = 255
const PATH_BYTES = 3500

// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what it looks for.
const IMPOSSIBLE = /[\0-\x1f\\<>"|?*]/

/** What no name of a file on Windows has; a colon would begin the name of a stream. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what it looks for.
export const NOT_IN_NAMES = /[\0-\x1f\\:<>"|?*]/

export type DriveName =
  | { kind: 'entry'; parts: string[] }
  /** An alternate data stream of a file: `file:stream`. */
  | { kind: 'stream' }

/** A name of a tar in its parts: `./a//b/` is `a`, `b`. Fault when it has `..` or begins with a slash. */
export function partsOf(name: string): string[] {
  if (name.startsWith('/')) throw refused(name, 'it is an absolute path')
  const parts = name.split('/').filter(part => part !== '' && part !== '.')
  if (parts.includes('..')) throw refused(name, 'it leads out of its folder')
  return parts
}

/**
 * The parts of a name below `Files/`. Windows' reserved names (`con`, `a.`) are kept: a layer is written past the rules that
 * forbid them. Fault for what NTFS itself has not, and what Linux could not hold.
 */
export function driveName(name: string, parts: readonly string[]): DriveName {
  if (Buffer.byteLength(parts.join('/')) > PATH_BYTES) throw refused(name.slice(0, 200), 'it is too long')
  for (const part of parts) {
    if (IMPOSSIBLE.test(part)) throw refused(name, 'it has a character that no file on Windows has in its name')
    if (Buffer.byteLength(part) > NAME_BYTES) throw refused(name, 'a part of it is too long for Linux')
  }
  const stream = parts.findIndex(part => part.includes(':'))
  if (stream < 0) return { kind: 'entry', parts: [...parts] }
  if (stream < parts.length - 1 || parts[stream]?.startsWith(':')) throw refused(name, 'a folder has ":" in its name')
  return { kind: 'stream' }
}

/** A Fault for a name that a layer must not have. */
export function refused(name: string, why: string): Fault {
  return new Fault(`the layer has an entry that is refused: "${printable(name)}": ${why}`)
}

function printable(name: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what it takes away.
  return name.replace(/[\0-\x1f\x7f]/g, '?').slice(0, 300)
}
