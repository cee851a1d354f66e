import type { Readable } from 'node:stream'
import { DRIVE, partsOf } from './drive-name.ts'
import { type TarEntry, translateTar, type Verdict } from './tar-translator.ts'

const ROOT = DRIVE.split('/')

/** Of the tar of a whole container, as the Linux engine exports it, the C: drive alone, with its names as `docker import` takes them. */
export function exportedDrive(container: Readable): Readable {
  return translateTar(container, { entry })
}

function entry(found: TarEntry): Verdict {
  const name = belowDrive(found.name)
  if (name === undefined) return { kind: 'drop' }
  const folder = found.type === '5' ? '/' : ''
  if (found.type !== '1') return { kind: 'pass', entry: { ...found, name: `${name}${folder}` } }
  const linkname = belowDrive(found.linkname)
  return linkname === undefined ? { kind: 'drop' } : { kind: 'pass', entry: { ...found, name, linkname } }
}

/** Undefined for what is not in the drive, and for the drive itself. */
function belowDrive(name: string): string | undefined {
  const parts = partsOf(name)
  return parts.length > ROOT.length && ROOT.every((part, at) => parts[at] === part)
    ? parts.slice(ROOT.length).join('/')
    : undefined
}
