import { type FileHandle, open } from 'node:fs/promises'
import { LINE_LENGTH, type ProgressLine, parseProgress, printable } from './progress-line.ts'

/** What the guest and its firmware wrote since the last look. */
export interface ProgressNews {
  /** In the order in which they were written; of more than a thousand the last. */
  lines: ProgressLine[]
  /** How often the firmware started something to boot, since this object was made. */
  boots: number
  /** What it started last: `Boot0001 "UEFI QEMU DVD-ROM QM00003 " from PciRoot(0x0)/Pci(0x1F,0x2)/Sata(0x1,0xFFFF,0x0)`. */
  lastBoot: string | undefined
}

const PIECE = 256 * 1024
const LINES = 1000
const MARK = 64

// What OVMF writes when it hands over, on the console that it also shows on the serial port.
const BOOT = /BdsDxe: starting (Boot[0-9A-F]{4}.*)/

/**
 * Follows the file that COM1 goes to. It begins at the file's first byte; when the file was cut or replaced, at the first
 * byte of the new one. What it keeps does not grow with the file. A call of `read` must have ended before the next.
 */
export class ProgressTail {
  readonly #file: string
  readonly #from: number
  /** How far the file has been read. */
  #position = 0
  /** The last bytes before `position`, to know the file again. */
  #mark: Buffer = Buffer.alloc(0)
  #inode: bigint | undefined
  /** The beginning of a line whose end is not written yet. */
  #partial = ''
  #boots = 0
  #lastBoot: string | undefined

  /** `from` is where reading begins: the size of the file when the machine was last started. */
  constructor(file: string, from = 0) {
    this.#file = file
    this.#from = from
  }

  /** Reads what was written since the last call; nothing where there is no file. Throws the file system's own error. */
  async read(): Promise<ProgressNews> {
    const lines: ProgressLine[] = []
    const file = await open(this.#file, 'r').catch(error => {
      if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined
      throw error
    })
    if (file !== undefined) {
      try {
        await this.#follow(file, lines)
      } finally {
        await file.close()
      }
    }
    return { lines, boots: this.#boots, lastBoot: this.#lastBoot }
  }

  async #follow(file: FileHandle, lines: ProgressLine[]): Promise<void> {
    const { size, ino } = await file.stat({ bigint: true })
    if (!(await this.#isSame(file, Number(size), ino))) {
      // A file that was cut or replaced has nothing of what was there before.
      this.#position = this.#inode === undefined && Number(size) >= this.#from ? this.#from : 0
      this.#mark = Buffer.alloc(0)
      this.#partial = ''
    }
    this.#inode = ino
    const piece = Buffer.allocUnsafe(PIECE)
    // Not beyond the size of now: a guest that never stops writing would hold us here.
    while (this.#position < Number(size)) {
      const wanted = Math.min(PIECE, Number(size) - this.#position)
      const { bytesRead } = await file.read(piece, 0, wanted, this.#position)
      if (bytesRead === 0) return
      const read = piece.subarray(0, bytesRead)
      this.#position += bytesRead
      this.#mark = Buffer.concat([this.#mark, read.subarray(-MARK)]).subarray(-MARK)
      // Of a line that is too long already only the end matters.
      if (this.#partial.length > LINE_LENGTH && !read.includes('\n') && !read.includes('\r')) continue
      // The contract is ASCII; latin1 keeps a byte a character whatever else comes.
      this.#take(read.toString('latin1'), lines)
    }
  }

  /** Whether the file is the one read so far, perhaps with more at its end. */
  async #isSame(file: FileHandle, size: number, inode: bigint): Promise<boolean> {
    if (this.#inode !== inode || size < this.#position) return false
    const before = Buffer.alloc(this.#mark.length)
    await file.read(before, 0, before.length, this.#position - before.length)
    return before.equals(this.#mark)
  }

  #take(text: string, lines: ProgressLine[]): void {
    const parts = text.split(/[\r\n]+/)
    const last = parts.pop() ?? ''
    for (const part of parts) {
      this.#line(this.#partial + part, lines)
      this.#partial = ''
    }
    // One character more than a line may have is enough to know that this is none.
    if (this.#partial.length <= LINE_LENGTH) this.#partial = (this.#partial + last).slice(0, LINE_LENGTH + 1)
  }

  #line(line: string, lines: ProgressLine[]): void {
    const boot = line.length > LINE_LENGTH ? undefined : BOOT.exec(line)?.[1]
    if (boot !== undefined) {
      this.#boots += 1
      this.#lastBoot = printable(boot)
    }
    const progress = parseProgress(line)
    if (progress === undefined) return
    lines.push(progress)
    if (lines.length > LINES) lines.shift()
  }
}
