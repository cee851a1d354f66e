import { damaged, type ImageFile } from './image-file.ts'

/** A run of a file's bytes within the image; an offset of undefined stands for zeros that are not stored. */
export interface Extent {
  offset: number | undefined
  size: number
}

export interface DiscFile {
  size: number
  extents: readonly Extent[]
}

export interface DiscEntry {
  name: string
  folder: boolean
}

/** A file system on a disc image. Paths have forward slashes, and case does not matter, as on Windows. */
export interface DiscReader {
  fileSystem: 'udf' | 'iso9660'
  label: string
  /** Undefined when there is no such file, or when it is a folder. */
  find(path: string): Promise<DiscFile | undefined>
  /** What is in a folder, `''` for the root; undefined when there is no such folder. */
  list(path: string): Promise<DiscEntry[] | undefined>
}

/** Bytes of a file on the disc; a Fault when the file is shorter. */
export async function readFrom(image: ImageFile, file: DiscFile, offset: number, length: number): Promise<Buffer> {
  if (offset < 0 || length < 0 || offset + length > file.size) throw damaged(image.path, 'a file on it ends early')
  const parts: Buffer[] = []
  let start = 0
  for (const extent of file.extents) {
    const from = Math.max(offset, start)
    const to = Math.min(offset + length, start + extent.size)
    if (from < to) {
      const at = extent.offset
      parts.push(at === undefined ? Buffer.alloc(to - from) : await image.read(at + from - start, to - from))
    }
    start += extent.size
  }
  return Buffer.concat(parts)
}

/** Where a file lies when it lies in one piece. */
export function contiguous(file: DiscFile | undefined): { offset: number; size: number } | undefined {
  const [first, ...rest] = file?.extents ?? []
  if (file === undefined || first?.offset === undefined) return undefined
  let end = first.offset + first.size
  for (const extent of rest) {
    if (extent.offset !== end) return undefined
    end += extent.size
  }
  return end - first.offset === file.size ? { offset: first.offset, size: file.size } : undefined
}

/** The names in a path. */
export function namesOf(path: string): string[] {
  return path.split('/').filter(name => name !== '')
}

/** True when Windows takes two names for the same. */
export function sameName(one: string, other: string): boolean {
  return one.toLowerCase() === other.toLowerCase()
}
