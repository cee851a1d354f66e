import { constants } from 'node:fs'
import { chmod, copyFile, type FileHandle, mkdir, open, rename, rm, stat } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { checkRoom, explainWriteError } from '#lib/disk-room.ts'
import { Fault } from '#lib/fault.ts'
import { checkAborted } from '#lib/wait.ts'
import { efiBootEntryFor, readEfiBootEntry } from './el-torito.ts'
import { type ImageFile, withImageFile } from './image-file.ts'
import type { MediaFacts } from './inspect.ts'

const CHUNK = 4 * 1024 * 1024

/**
 * Clones an installation disc to `target` and takes "Press any key to boot from CD or DVD" from the clone: Microsoft's discs
 * carry the boot image for UEFI twice, with and without the question. Shares the blocks where the file system can;
 * elsewhere it copies, telling `onProgress` (0 to 1). `prompting` when the disc does not let itself be changed so: the
 * clone is as the disc, and somebody has to press a key. `target` is there whole or not at all.
 */
export async function cloneWithoutPrompt(
  iso: string,
  target: string,
  facts: MediaFacts,
  signal: AbortSignal,
  onProgress: (fraction: number) => void = () => undefined
): Promise<'patched' | 'prompting'> {
  await mkdir(dirname(target), { recursive: true, mode: 0o700 })
  const temporary = join(dirname(target), `.${basename(target)}.${process.pid}.tmp`)
  try {
    await rm(temporary, { force: true })
    await clone(iso, temporary, signal, onProgress)
    const edits = await withImageFile(iso, image => editsFor(image, facts.bootImages))
    const file = await open(temporary, 'r+')
    try {
      for (const { offset, bytes } of edits ?? []) await file.write(bytes, 0, bytes.length, offset)
      await file.sync()
    } finally {
      await file.close()
    }
    checkAborted(signal)
    await rename(temporary, target)
    return edits === undefined ? 'prompting' : 'patched'
  } catch (error) {
    await rm(temporary, { force: true })
    throw explainWriteError(error, temporary)
  }
}

interface Edit {
  offset: number
  bytes: Buffer
}

/** What to overwrite; undefined when the disc is not as Microsoft's are. */
async function editsFor(image: ImageFile, boot: MediaFacts['bootImages']): Promise<Edit[] | undefined> {
  const { prompt, noPrompt } = boot
  const entry = await readEfiBootEntry(image)
  if (entry === undefined || noPrompt === undefined) return undefined
  if (entry.imageOffset === noPrompt.offset) return []
  const silent = await image.read(noPrompt.offset, noPrompt.size)
  if (await holds(image, entry.imageOffset, silent)) return []
  if (prompt === undefined) return undefined
  // Some writers store the boot image once more, apart from the file.
  const asking = await image.read(prompt.offset, prompt.size)
  if (entry.imageOffset !== prompt.offset && !(await holds(image, entry.imageOffset, asking))) return undefined
  // Of the two ways this is the one that has been seen to work.
  if (silent.length === asking.length) return [{ offset: entry.imageOffset, bytes: silent }]
  const other = efiBootEntryFor(entry, noPrompt)
  return other === undefined ? undefined : [{ offset: entry.entryOffset + 6, bytes: other }]
}

async function holds(image: ImageFile, offset: number, bytes: Buffer): Promise<boolean> {
  if (offset + bytes.length > image.size) return false
  return (await image.read(offset, bytes.length)).equals(bytes)
}

async function clone(
  from: string,
  to: string,
  signal: AbortSignal,
  onProgress: (fraction: number) => void
): Promise<void> {
  try {
    await copyFile(from, to, constants.COPYFILE_FICLONE_FORCE)
    // The disc may be read-only, and copies are as their originals.
    await chmod(to, 0o600)
  } catch {
    // Another file system, or one that cannot share blocks; a disc that cannot be read is told of by the copy.
    await rm(to, { force: true })
    await copy(from, to, signal, onProgress)
  }
}

async function copy(
  from: string,
  to: string,
  signal: AbortSignal,
  onProgress: (fraction: number) => void
): Promise<void> {
  const { size } = await stat(from)
  await checkRoom(dirname(to), size, 'a copy of the disc')
  const source = await open(from, 'r')
  let target: FileHandle | undefined
  try {
    target = await open(to, 'wx', 0o600)
    const bytes = Buffer.alloc(CHUNK)
    const zeros = Buffer.alloc(CHUNK)
    for (let at = 0; at < size; ) {
      checkAborted(signal)
      const { bytesRead } = await source.read(bytes, 0, CHUNK, at)
      if (bytesRead === 0) throw new Fault(`${from} became shorter while it was copied.`)
      // Holes stay holes.
      const hole = bytes.subarray(0, bytesRead).equals(zeros.subarray(0, bytesRead))
      if (!hole) await target.write(bytes, 0, bytesRead, at)
      at += bytesRead
      onProgress(at / size)
    }
    await target.truncate(size)
  } finally {
    await source.close()
    await target?.close()
  }
}
