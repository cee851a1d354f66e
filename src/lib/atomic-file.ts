import { randomBytes } from 'node:crypto'
import { type FileHandle, mkdir, open, readFile, rename, rm } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { Fault, messageOf } from './fault.ts'

/**
 * Writes a file so that a reader sees the old content or the new, never a part: a temporary file beside it, flushed to
 * disk, then renamed over it. `mode` holds from the first byte on. On failure the old file stays and the temporary one goes.
 * Throws the file system's own error.
 */
export async function writeFileAtomic(path: string, data: string | Uint8Array, mode = 0o600): Promise<void> {
  await replaceFile(path, file => file.writeFile(data), mode)
}

/** As `writeFileAtomic`, for content that is too large to hold: `write` gets the temporary file, empty and open. */
export async function replaceFile(
  path: string,
  write: (file: FileHandle) => Promise<void>,
  mode = 0o600
): Promise<void> {
  const temporary = join(dirname(path), `.${basename(path)}.${process.pid}.${randomBytes(6).toString('hex')}.tmp`)
  try {
    const file = await open(temporary, 'wx', mode)
    try {
      // open()'s mode is cut by the umask; the caller's mode is meant exactly.
      await file.chmod(mode)
      await write(file)
      await file.sync()
    } finally {
      await file.close()
    }
    await rename(temporary, path)
  } catch (error) {
    await rm(temporary, { force: true })
    throw error
  }
  await syncFolder(dirname(path))
}

/** Makes the rename itself durable. Best effort: some file systems cannot flush a folder, and the content is safe either way. */
export async function syncFolder(path: string): Promise<void> {
  let folder: FileHandle | undefined
  try {
    folder = await open(path, 'r')
    await folder.sync()
  } catch {
    // See above.
  } finally {
    await folder?.close()
  }
}

/** Makes a folder and its parents; those it makes get `mode`, those that exist keep theirs. */
export async function makeFolder(path: string, mode = 0o700): Promise<void> {
  await mkdir(path, { recursive: true, mode })
}

/** Reads a JSON file. Undefined when there is none; a Fault that names the file when it is not JSON or cannot be read. */
export async function readJsonFile(path: string): Promise<unknown> {
  let text: string
  try {
    text = await readFile(path, 'utf8')
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined
    throw new Fault(`Cannot read ${path}: ${messageOf(error)}`, { cause: error })
  }
  try {
    return JSON.parse(text)
  } catch (error) {
    throw new Fault(`${path} is damaged: ${messageOf(error)}`, {
      hint: `Repair the file, or move it away.`,
      cause: error
    })
  }
}
