import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { open, stat } from 'node:fs/promises'

/** A file that grows by what comes over a network, with the hash of what is in it. */
export interface HashedFile {
  readonly size: number
  /** Of all bytes that are there, in hex. */
  digest(): string
  append(chunks: readonly Buffer[]): Promise<void>
  /** Forgets what is there. */
  empty(): Promise<void>
  /** Has the disk keep what is there. */
  sync(): Promise<void>
  close(): Promise<void>
}

export interface HashedFileOptions {
  /** `sha256` where none is given. */
  algorithm?: string
  /** Goes on after so many bytes of what is there, all of which are read for the hash; 0 begins anew. */
  keep: number
  signal: AbortSignal
  /** Told how many of `keep` bytes have been read. */
  onBytes?: (bytes: number) => void
}

/** Written at once. */
const BATCH_BYTES = 1024 * 1024

/** Appends what comes in small pieces in large ones. */
export class Batch {
  readonly #file: Pick<HashedFile, 'size' | 'append'>
  #waiting: Buffer[] = []
  #bytes = 0

  constructor(file: Pick<HashedFile, 'size' | 'append'>) {
    this.#file = file
  }

  /** Of the file, when all that waits is in it. */
  get size(): number {
    return this.#file.size + this.#bytes
  }

  /** True when it is time to flush. */
  get full(): boolean {
    return this.#bytes >= BATCH_BYTES
  }

  add(chunk: Buffer): void {
    this.#waiting.push(chunk)
    this.#bytes += chunk.length
  }

  /** Forgets what waits. */
  drop(): void {
    this.#waiting = []
    this.#bytes = 0
  }

  async flush(): Promise<void> {
    const chunks = this.#waiting
    this.drop()
    await this.#file.append(chunks)
  }
}

/** Opens a file to append to, and makes it where there is none. */
export async function openHashedFile(path: string, options: HashedFileOptions): Promise<HashedFile> {
  const { algorithm = 'sha256', keep, signal, onBytes = () => undefined } = options
  let hash = createHash(algorithm)
  let size = keep
  if (size > 0) await hashFile(path, hash, signal, onBytes)
  const file = await open(path, size > 0 ? 'r+' : 'w', 0o600)
  return {
    get size() {
      return size
    },
    digest: () => hash.copy().digest('hex'),
    async append(chunks) {
      const wanted = chunks.reduce((sum, chunk) => sum + chunk.length, 0)
      if (wanted === 0) return
      // The disk and the processor work at the same time.
      const writing = file.writev([...chunks], size)
      for (const chunk of chunks) hash.update(chunk)
      const { bytesWritten } = await writing
      // A disk that is nearly full takes what fits, and says so only at the next write.
      if (bytesWritten !== wanted) throw Object.assign(new Error('the disk took only a part'), { code: 'ENOSPC' })
      size += wanted
    },
    async empty() {
      await file.truncate(0)
      hash = createHash(algorithm)
      size = 0
    },
    sync: () => file.sync(),
    close: () => file.close()
  }
}

/** Puts the bytes of a file into a hash; `onBytes` is told how many there were so far. */
export async function hashFile(
  path: string,
  hash: { update(bytes: Buffer): unknown },
  signal?: AbortSignal,
  onBytes: (bytes: number) => void = () => undefined
): Promise<number> {
  let bytes = 0
  for await (const chunk of createReadStream(path, {
    highWaterMark: 1024 * 1024,
    ...(signal === undefined ? {} : { signal })
  })) {
    hash.update(chunk as Buffer)
    bytes += (chunk as Buffer).length
    onBytes(bytes)
  }
  return bytes
}

/** The size of a plain file; undefined when there is none. */
export async function sizeOf(path: string): Promise<number | undefined> {
  const status = await stat(path).catch(() => undefined)
  return status?.isFile() ? status.size : undefined
}
