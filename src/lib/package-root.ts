import { existsSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

let root: string | undefined

/** The folder of Oriel's own package: the checkout, or where npm installed it. This file is in dist/ or src/lib/ of it. */
export function packageRoot(): string {
  if (root !== undefined) return root
  let folder = dirname(fileURLToPath(import.meta.url))
  while (!existsSync(join(folder, 'package.json'))) {
    const parent = dirname(folder)
    if (parent === folder) throw new Error('package.json of Oriel was not found above its code')
    folder = parent
  }
  root = folder
  return folder
}

/** Oriel's own version, as in its package.json. */
export function orielVersion(): string {
  const manifest: unknown = JSON.parse(readFileSync(join(packageRoot(), 'package.json'), 'utf8'))
  return (manifest as { version: string }).version
}
