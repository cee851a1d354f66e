import { statfs } from 'node:fs/promises'
import { Fault } from './fault.ts'
import { formatBytes } from './size.ts'

/** What a file system is not filled beyond, for all else that goes on on this host. */
const SPARE = 64 * 1024 * 1024

/** Fault 4 when `bytes` more do not fit into the file system of a folder. `what` names what would be written. */
export async function checkRoom(folder: string, bytes: number, what: string): Promise<void> {
  const { bavail, bsize } = await statfs(folder)
  const free = bavail * bsize
  if (bytes + SPARE <= free) return
  throw new Fault(`${what} needs ${formatBytes(bytes)}, and ${folder} has only ${formatBytes(free)} free.`, {
    exitCode: 4,
    hint: 'Make room, or move all of Oriel: export ORIEL_HOME=FOLDER'
  })
}

/** True for a write that failed because there is no room. */
export function isDiskFull(error: unknown): boolean {
  return error instanceof Error && 'code' in error && (error.code === 'ENOSPC' || error.code === 'EDQUOT')
}

/** A write that failed because the disk is full, as a Fault; any other error as it is. */
export function explainWriteError(error: unknown, path: string): unknown {
  if (!isDiskFull(error)) return error
  return new Fault(`the disk is full: ${path} could not be written on.`, {
    exitCode: 4,
    hint: 'Make room and try again; a download goes on where it was.',
    cause: error
  })
}
