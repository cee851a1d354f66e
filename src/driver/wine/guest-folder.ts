import { createHash } from 'node:crypto'
import { lstat, readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Fault } from '#lib/fault.ts'
import { packageRoot } from '#lib/package-root.ts'

/** One file of the build context. */
export interface GuestFile {
  /** Relative, with slashes. */
  path: string
  mode: number
  data: Buffer
}

/** Where the Wine base's Dockerfile and sources are in this package. */
export function guestFolder(): string {
  return join(packageRoot(), 'guest', 'wine')
}

/** All files of the folder, sorted by path, so that two hosts make the same build context of them. */
export async function readGuestFiles(folder = guestFolder()): Promise<GuestFile[]> {
  const files: GuestFile[] = []
  for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name)
    if (!entry.isFile() || isLeftOut(path.slice(folder.length + 1))) continue
    const executable = ((await lstat(path)).mode & 0o100) !== 0
    files.push({
      path: path.slice(folder.length + 1).replaceAll('\\', '/'),
      mode: executable ? 0o755 : 0o644,
      data: await readFile(path)
    })
  }
  if (!files.some(file => file.path === 'Dockerfile')) {
    throw new Fault(`${folder} has no Dockerfile: this copy of Oriel is incomplete.`, { hint: 'Install it again.' })
  }
  return files.sort((one, other) => (one.path < other.path ? -1 : 1))
}

// Pages for people change often and never what is built. npm packs no .gitignore, and the package has to name the same
// content as the checkout. What a developer's own make leaves behind is made anew in the build.
function isLeftOut(path: string): boolean {
  return /(^|[\\/])\.|\.(md|o|a|exe)$/.test(path) || /^(build|out|init)([\\/]|$)/.test(path)
}

/** Names the content of the files; images built from them carry it in a label. */
export function hashOf(files: readonly GuestFile[]): string {
  const hash = createHash('sha256')
  for (const file of files) {
    hash.update(`${file.path}\0${file.mode}\0${file.data.length}\0`)
    hash.update(file.data)
  }
  return hash.digest('hex').slice(0, 16)
}
