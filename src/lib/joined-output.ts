/** One write a header or block would cost more than all the rest of the work. */
const JOINED_BYTES = 512 * 1024

/** Joins the small pieces that a stream is made of into large ones. */
export class JoinedOutput {
  readonly #push: (bytes: Buffer) => void
  #ready: Buffer[] = []
  #bytes = 0

  constructor(push: (bytes: Buffer) => void) {
    this.#push = push
  }

  emit(bytes: Buffer): void {
    this.#ready.push(bytes)
    this.#bytes += bytes.length
    if (this.#bytes >= JOINED_BYTES) this.release()
  }

  /** Hands on what is there, at the end of the stream or of a piece of input. */
  release(): void {
    if (this.#bytes > 0) this.#push(Buffer.concat(this.#ready))
    this.#ready = []
    this.#bytes = 0
  }
}
