import { DockerfileFault } from './fault.ts'

/** Far more than any build has, and far less than a host agent has memory for. */
const MOST_CHARACTERS = 32 * 1024 * 1024

/** How much text one build has made of its Dockerfile: a few lines that double a variable can ask for more than there is. */
export class Growth {
  #characters = 0

  /** Counts text that came of other text. Throws when it is too much. */
  add(characters: number): void {
    this.#characters += characters
    if (this.#characters > MOST_CHARACTERS) {
      throw new DockerfileFault(
        `failed to process the Dockerfile: its variables grow to more than ${MOST_CHARACTERS / 1024 / 1024} MiB of text`
      )
    }
  }
}
