import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { readdir, rename, rm, stat } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import type { Readable } from 'node:stream'
import { makeFolder, syncFolder, writeFileAtomic } from '#lib/atomic-file.ts'
import { checkRoom, explainWriteError } from '#lib/disk-room.ts'
import { Fault } from '#lib/fault.ts'
import { Batch, type HashedFile, openHashedFile, sizeOf } from '#lib/hashed-file.ts'
import { withLock } from '#lib/lock.ts'
import { checkAborted } from '#lib/wait.ts'
import { digestOf, parseDigest, shortId } from './digest.ts'
import { RegistryFault } from './registry-fault.ts'

/** Somebody else may be fetching gigabytes over a slow line. */
const WAIT_MS = 24 * 60 * 60_000
/** Read at once. */
const PIECE_BYTES = 1024 * 1024

export interface StoredBlob {
  digest: string
  /** Bytes. */
  size: number
}

/**
 * Blobs on disk by their digest: `blobs/sha256/HEX` is whole and was checked when it came, `parts/sha256/HEX` is a download
 * that was cut, `locks/` says who fetches. More than one process may use the folder.
 */
export class BlobStore {
  readonly #folder: string

  constructor(folder: string) {
    this.#folder = folder
  }

  /** Where a blob is, or would be. Fault 2 for what is no digest. */
  path(digest: string): string {
    const { algorithm, hex } = parseDigest(digest)
    return join(this.#folder, 'blobs', algorithm, hex)
  }

  async has(digest: string): Promise<boolean> {
    return (await this.sizeOf(digest)) !== undefined
  }

  /** Bytes; undefined when it is not there. */
  sizeOf(digest: string): Promise<number | undefined> {
    return sizeOf(this.path(digest))
  }

  /** The bytes, from `start` on. The stream fails when there is no such blob. */
  open(digest: string, start = 0): Readable {
    return createReadStream(this.path(digest), { start, highWaterMark: PIECE_BYTES })
  }

  /**
   * Fetches a blob, unless it is there. `source` gives its bytes from `from` on; it is asked for those that no earlier try
   * has left. Of many that want the same blob one fetches, and the others wait. Nothing has the blob's name before its size
   * and digest are right; what came before an error is kept for the next try, unless it is wrong.
   */
  async put(
    descriptor: StoredBlob,
    source: (from: number) => Promise<Readable>,
    onProgress: (bytes: number, of: number) => void = () => undefined,
    signal: AbortSignal = new AbortController().signal
  ): Promise<void> {
    const { algorithm, hex } = parseDigest(descriptor.digest)
    if (!Number.isSafeInteger(descriptor.size) || descriptor.size < 0) throw new RegistryFault('invalid size of a blob')
    const part = join(this.#folder, 'parts', algorithm, hex)
    await makeFolder(dirname(this.path(descriptor.digest)))
    await makeFolder(dirname(part))
    for (;;) {
      let held = signal
      try {
        await withLock(
          join(this.#folder, 'locks', `${algorithm}-${hex}`),
          { doing: `the download of ${descriptor.digest}`, limitMs: WAIT_MS, signal },
          async inner => {
            held = inner
            if (!(await this.has(descriptor.digest))) await this.#fetch(descriptor, part, source, onProgress, inner)
          }
        )
        return
      } catch (error) {
        // The lock is lost when the computer sleeps. What came is kept, so it goes on as soon as it has the lock again.
        if (!held.aborted || signal.aborted) throw error
      }
    }
  }

  async #fetch(
    { digest, size }: StoredBlob,
    path: string,
    source: (from: number) => Promise<Readable>,
    onProgress: (bytes: number, of: number) => void,
    signal: AbortSignal
  ): Promise<void> {
    const { algorithm, hex } = parseDigest(digest)
    const there = (await sizeOf(path)) ?? 0
    const part = await openHashedFile(path, { algorithm, keep: there > size ? 0 : there, signal })
    let resumed = part.size > 0
    try {
      await checkRoom(this.#folder, size - part.size, `layer ${shortId(digest)}`)
      for (;;) {
        if (part.size < size || size === 0) await fill(part, size, await source(part.size), onProgress, signal)
        if (part.digest() === hex) break
        // What was there before may be to blame (a power cut), so there is a second chance.
        if (!resumed) throw new WrongBytes(digest)
        await part.empty()
        resumed = false
      }
      checkAborted(signal)
      // On disk before it has its name, so that a power cut leaves no blob that is whole by name only.
      await part.sync()
      await rename(path, this.path(digest))
    } catch (error) {
      if (error instanceof WrongBytes) await rm(path, { force: true })
      throw explainWriteError(error, path)
    } finally {
      await part.close()
    }
    await syncFolder(dirname(this.path(digest)))
  }

  /** Keeps bytes under their SHA-256, which it gives. */
  async putBytes(bytes: Uint8Array): Promise<string> {
    const digest = digestOf(bytes)
    const path = this.path(digest)
    if (await this.has(digest)) return digest
    await makeFolder(dirname(path))
    try {
      await writeFileAtomic(path, bytes)
    } catch (error) {
      throw explainWriteError(error, path)
    }
    return digest
  }

  /** The whole of a small blob, its digest checked again. Fault when it is not there; one that is not as it was is removed. */
  async read(digest: string, limit: number): Promise<Buffer> {
    const size = await this.sizeOf(digest)
    if (size === undefined) throw new Fault(`there is no blob ${digest} in ${this.#folder}`)
    if (size > limit) throw new Fault(`blob ${digest} is longer than ${limit} bytes`)
    const chunks: Buffer[] = []
    const hash = createHash(parseDigest(digest).algorithm)
    for await (const chunk of this.open(digest)) {
      hash.update(chunk as Buffer)
      chunks.push(chunk as Buffer)
    }
    if (hash.digest('hex') === parseDigest(digest).hex) return Buffer.concat(chunks)
    await this.remove(digest)
    throw new Fault(`blob ${digest} was damaged, and has been removed.`, { hint: 'Pull the image again.' })
  }

  /** Removes a blob, and what a cut download left of it. Nothing happens when there is none. */
  async remove(digest: string): Promise<void> {
    const { algorithm, hex } = parseDigest(digest)
    await rm(this.path(digest), { force: true })
    await rm(join(this.#folder, 'parts', algorithm, hex), { force: true })
  }

  /**
   * Removes all but these, downloads that were cut included. What has changed in the last `youngMs` stays: somebody may be
   * about to use it. Gives the bytes that are free now.
   */
  async sweep(keep: ReadonlySet<string>, youngMs: number): Promise<number> {
    let freed = 0
    for (const kind of ['blobs', 'parts']) {
      for (const algorithm of await namesIn(join(this.#folder, kind))) {
        for (const hex of await namesIn(join(this.#folder, kind, algorithm))) {
          const path = join(this.#folder, kind, algorithm, hex)
          const found = await stat(path).catch(() => undefined)
          if (found === undefined || keep.has(`${algorithm}:${hex}`) || Date.now() - found.mtimeMs < youngMs) continue
          await rm(path, { force: true })
          freed += found.size
        }
      }
    }
    return freed
  }

  /** All blobs that are whole, in no order. */
  async *list(): AsyncIterable<StoredBlob> {
    const blobs = join(this.#folder, 'blobs')
    for (const algorithm of await namesIn(blobs)) {
      for (const hex of await namesIn(join(blobs, algorithm))) {
        // A temporary file of putBytes() is none.
        const size = hex.startsWith('.') ? undefined : await sizeOf(join(blobs, algorithm, hex))
        if (size !== undefined) yield { digest: `${algorithm}:${hex}`, size }
      }
    }
  }
}

class WrongBytes extends RegistryFault {
  constructor(digest: string) {
    super(`filesystem layer verification failed for digest ${digest}`)
  }
}

/** Adds what a stream gives to a part, also what comes before an error. */
async function fill(
  part: HashedFile,
  size: number,
  stream: Readable,
  onProgress: (bytes: number, of: number) => void,
  signal: AbortSignal
): Promise<void> {
  const batch = new Batch(part)
  const flush = async () => {
    await batch.flush()
    onProgress(part.size, size)
  }
  const abort = () => stream.destroy()
  signal.addEventListener('abort', abort, { once: true })
  try {
    for await (const chunk of stream) {
      batch.add(chunk as Buffer)
      if (batch.size > size) {
        batch.drop()
        throw new RegistryFault(`more than the ${size} bytes of a blob came`)
      }
      if (batch.full) await flush()
    }
  } catch (error) {
    checkAborted(signal)
    throw error
  } finally {
    signal.removeEventListener('abort', abort)
    stream.destroy()
    await flush()
  }
  checkAborted(signal)
  if (part.size < size) throw new RegistryFault(`unexpected EOF: ${part.size} of ${size} bytes came`, { passing: true })
}

async function namesIn(folder: string): Promise<string[]> {
  try {
    return await readdir(folder)
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return []
    throw error
  }
}
