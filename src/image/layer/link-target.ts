import { NOT_IN_NAMES } from './drive-name.ts'

/**
 * A link to a file, to a folder, or a junction. In the Linux layer the end of a target says which: `a/b` a file, `a/b/` a
 * folder, `a/b/.` a junction; Linux follows all three, and the engine keeps them, as it would keep nothing else.
 */
export type LinkKind = 'file' | 'folder' | 'junction'

const ENDS: Readonly<Record<LinkKind, string>> = { file: '', folder: '/', junction: '/.' }

/**
 * The target on Linux for a Windows target of a link in the folder `folder` (its parts below the drive): relative, and within
 * the drive. Undefined when it leads to another drive, a volume or a share.
 */
export function toLinuxTarget(target: string, folder: readonly string[], kind: LinkKind): string | undefined {
  const parts = windowsParts(target, folder)
  return parts === undefined ? undefined : relative(folder, parts) + ENDS[kind]
}

/** The parts below C: that a Windows target names. As Windows does, `..` at the root stays there. */
function windowsParts(target: string, folder: readonly string[]): string[] | undefined {
  const slashed = target.replaceAll('/', '\\').replace(/^\\(\?\?|\\\?|\\\.)\\/, '')
  const drive = /^([a-z]):(.*)$/is.exec(slashed)
  if (drive !== null) {
    // "C:x" is relative to a current folder, which a link has not.
    const [, letter, rest = ''] = drive
    if (letter?.toLowerCase() !== 'c' || !(rest === '' || rest.startsWith('\\'))) return undefined
    return resolved([], rest)
  }
  if (slashed === '' || slashed !== target.replaceAll('/', '\\') || slashed.startsWith('\\\\')) return undefined
  return slashed.startsWith('\\') ? resolved([], slashed) : resolved(folder, slashed)
}

function resolved(base: readonly string[], rest: string): string[] | undefined {
  const parts = [...base]
  for (const part of rest.split('\\')) {
    if (part === '..') parts.pop()
    else if (part !== '' && part !== '.') parts.push(part)
  }
  return parts.some(part => NOT_IN_NAMES.test(part) || Buffer.byteLength(part) > 255) ? undefined : parts
}

function relative(from: readonly string[], to: readonly string[]): string {
  let shared = 0
  while (shared < from.length && shared < to.length && from[shared] === to[shared]) shared++
  const path = [...from.slice(shared).map(() => '..'), ...to.slice(shared)].join('/')
  return path === '' ? '.' : path
}

/**
 * The Windows target for what a link in the folder `folder` has on Linux: relative for a symbolic link, `C:\…` for a
 * junction. Undefined when it leads out of the drive.
 */
export function toWindowsTarget(
  target: string,
  folder: readonly string[]
): { target: string; kind: LinkKind } | undefined {
  const kind: LinkKind = /.\/\.$/.test(target) ? 'junction' : target.endsWith('/') ? 'folder' : 'file'
  const below = /^\/c\/drive_c(?=\/|$)(.*)$/s.exec(target)?.[1]
  if (below === undefined && target.startsWith('/')) return undefined
  const parts = below === undefined ? [...folder] : []
  for (const part of (below ?? target).split('/')) {
    if (part === '' || part === '.') continue
    // Out of the drive it is a place of Linux.
    if (part === '..' && parts.pop() === undefined) return undefined
    if (part !== '..') parts.push(part)
  }
  if (parts.some(part => /[\\:]/.test(part))) return undefined
  const absolute = kind === 'junction' || below !== undefined
  return { target: absolute ? `C:\\${parts.join('\\')}` : relative(folder, parts).replaceAll('/', '\\'), kind }
}
