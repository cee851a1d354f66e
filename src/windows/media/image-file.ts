import { type FileHandle, open } from 'node:fs/promises'
import { Fault, messageOf } from '#lib/fault.ts'

/** A file that is read here and there, never whole. */
export interface ImageFile {
  path: string
  size: number
  /** Exactly `length` bytes; a Fault when the file ends before. */
  read(offset: number, length: number): Promise<Buffer>
}

// Nothing that is read at once is larger: a disc that asks for more lies.
const LARGEST_READ = 64 * 1024 * 1024

/** Opens a file for as long as `work` takes. Fault 2 when it cannot be opened. */
export async function withImageFile<T>(path: string, work: (image: ImageFile) => Promise<T>): Promise<T> {
  let file: FileHandle
  try {
    file = await open(path, 'r')
  } catch (error) {
    const missing = error instanceof Error && 'code' in error && error.code === 'ENOENT'
    throw new Fault(missing ? `there is no file ${path}.` : `cannot open ${path}: ${messageOf(error)}`, { exitCode: 2 })
  }
  try {
    const status = await file.stat()
    if (status.isDirectory()) throw new Fault(`${path} is a folder, not a disc image.`, { exitCode: 2 })
    if (!status.isFile()) throw new Fault(`${path} is not a plain file.`, { exitCode: 2 })
    return await work({ path, size: status.size, read: (offset, length) => readExactly(file, path, offset, length) })
  } finally {
    await file.close()
  }
}

async function readExactly(file: FileHandle, path: string, offset: number, length: number): Promise<Buffer> {
  if (!(offset >= 0 && length >= 0 && length <= LARGEST_READ)) throw damaged(path, 'it points outside of itself')
  const bytes = Buffer.alloc(length)
  let done = 0
  while (done < length) {
    const { bytesRead } = await file.read(bytes, done, length - done, offset + done)
    if (bytesRead === 0) throw damaged(path, 'it ends early, so the download was probably cut')
    done += bytesRead
  }
  return bytes
}

/** What is said of a disc whose structures contradict themselves. */
export function damaged(path: string, why: string): Fault {
  return new Fault(`${path} is damaged: ${why}.`, { hint: 'Download it again, and compare its SHA-256.' })
}
