import { readFile, stat } from 'node:fs/promises'

/** A lock whose holder has been killed counts as free after this long; a live holder renews it every second. */
export const STALE_MS = 5000

/** Who holds a lock, for the person who waits for it. */
export interface LockHolder {
  pid: number
  /** What it does, e.g. `oriel up`. */
  doing: string
  since: string
}

/** Who holds the lock at `path` now; undefined when it is free or its holder is dead. */
export async function lockHolder(path: string): Promise<LockHolder | undefined> {
  try {
    const { mtimeMs } = await stat(`${path}.lock`)
    if (mtimeMs < Date.now() - STALE_MS) return undefined
    return JSON.parse(await readFile(holderPath(path), 'utf8')) as LockHolder
  } catch {
    return undefined
  }
}

/** Where the holder says who it is. */
export function holderPath(path: string): string {
  return `${path}.holder`
}
