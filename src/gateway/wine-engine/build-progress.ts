import type { Translation } from '#image/dockerfile/translate.ts'
import { toWindowsPath } from '#image/windows-path.ts'

/** One message of the build stream. */
export interface BuildMessage {
  stream?: string
  error?: string
  errorDetail?: { code?: number; message?: string }
  aux?: unknown
  [name: string]: unknown
}

/** How a RUN that failed really ended. */
export type RunEnd = { code: number } | { error: number; text: string }

export interface ProgressOptions {
  translation: Translation
  /** Show that intermediate containers are removed. */
  rm: boolean
  /** Reads how the program in an intermediate container ended; undefined when nobody can tell. */
  runEnd: (container: string) => Promise<RunEnd | undefined>
}

/** Exit status of init that stands for every code above 239 (guest/wine/CONTRACT.md). */
const LARGE_CODE = 240

/**
 * Turns the stream of the Linux engine's builder into the one that the person's own Dockerfile would give on Windows: own
 * steps and numbers, instructions that are no step of the engine in their places, no helpers, commands as written.
 */
export class BuildProgress {
  readonly #options: ProgressOptions
  /** The engine's step, from 0; -1 before the first. */
  #line = -1
  /** The person's next step to show. */
  #nextStep = 0
  #image = ''
  /** The last image line, held back: the engine's closing LABEL gives the last step its final image. */
  #heldImage = false
  #hiddenOutput = ''
  #swallowBreak = false
  #container: string | undefined
  #done = false

  constructor(options: ProgressOptions) {
    this.#options = options
  }

  /** The container of the step that ran last, while it is there. */
  get container(): string | undefined {
    return this.#container
  }

  /** The messages to send for one of the engine. */
  async next(message: BuildMessage): Promise<BuildMessage[]> {
    if (typeof message.error === 'string') return await this.#failure(message)
    // Each stage ends with an `aux`, so that it is no sign of the end.
    if (typeof message.stream !== 'string') return [...(this.#last ? this.#rest() : this.#flushImage()), message]
    const { stream } = message
    if (this.#beginsLine(stream)) return this.#begin()
    if (this.#swallowBreak && stream === '\n') {
      this.#swallowBreak = false
      return []
    }
    const image = /^ ---> ([0-9a-f]{12,64})\n$/.exec(stream)?.[1]
    if (image !== undefined) return this.#imageLine(image)
    const running = /^ ---> Running in ([0-9a-f]{12,64})\n$/.exec(stream)?.[1]
    if (running !== undefined) this.#container = running
    const removed = this.#container !== undefined && stream === `Removing intermediate container ${this.#container}\n`
    if (removed) this.#container = undefined
    if (/^Successfully built [0-9a-f]+\n$/.test(stream) && this.#last) {
      this.#done = true
      return [...this.#rest(), ...this.#unused(), message]
    }
    if (this.#done) return [message]
    if (this.#hidden) {
      this.#hiddenOutput = (this.#hiddenOutput + stream).slice(-2048)
      return []
    }
    if (removed && !this.#options.rm) return []
    return [message]
  }

  get #translation(): Translation {
    return this.#options.translation
  }

  get #hidden(): boolean {
    return this.#line >= 0 && this.#translation.lines[this.#line]?.shown === false
  }

  get #last(): boolean {
    return this.#line === this.#translation.lines.length - 1
  }

  /** True for the engine's announcement of its next step; a RUN may print text that looks like one. */
  #beginsLine(stream: string): boolean {
    const { lines } = this.#translation
    const next = lines[this.#line + 1]
    return next !== undefined && stream === `Step ${this.#line + 2}/${lines.length} : ${next.text}`
  }

  #begin(): BuildMessage[] {
    this.#line++
    this.#swallowBreak = true
    this.#hiddenOutput = ''
    // The closing LABEL is the last: what follows of the person's steps is shown with its image.
    if (this.#last) return []
    const { step, shown } = this.#translation.lines[this.#line] ?? { step: 0, shown: true }
    const before = [...this.#flushImage(), ...this.#stepsBefore(step)]
    return shown ? [...before, ...this.#announce(step)] : before
  }

  #imageLine(image: string): BuildMessage[] {
    this.#image = image.slice(0, 12)
    if (this.#last) return this.#rest()
    if (!this.#hidden) this.#heldImage = true
    return []
  }

  /** Everything that is still to be shown when the engine is done. */
  #rest(): BuildMessage[] {
    return [...this.#flushImage(), ...this.#stepsBefore(this.#translation.steps.length)]
  }

  #flushImage(): BuildMessage[] {
    if (!this.#heldImage) return []
    this.#heldImage = false
    return [{ stream: ` ---> ${this.#image}\n` }]
  }

  /** Shows the steps before this one that are none of the engine. */
  #stepsBefore(step: number): BuildMessage[] {
    const messages: BuildMessage[] = []
    while (this.#nextStep < step) {
      const { hasImage } = this.#translation.steps[this.#nextStep] ?? { hasImage: false }
      messages.push(...this.#announce(this.#nextStep))
      if (hasImage) messages.push({ stream: ` ---> ${this.#image}\n` })
    }
    return messages
  }

  #announce(step: number): BuildMessage[] {
    // A FROM with ONBUILD triggers is several steps of the engine.
    if (step < this.#nextStep) return []
    this.#nextStep = step + 1
    const { steps } = this.#translation
    const { text = '', warnings = [] } = steps[step] ?? {}
    return [
      { stream: `Step ${step + 1}/${steps.length} : ${text}` },
      { stream: '\n' },
      ...warnings.map(stream => ({ stream }))
    ]
  }

  #unused(): BuildMessage[] {
    const { unusedArgs } = this.#translation
    if (unusedArgs.length === 0) return []
    return [{ stream: `[Warning] One or more build-args [${unusedArgs.join(' ')}] were not consumed\n` }]
  }

  async #failure(message: BuildMessage): Promise<BuildMessage[]> {
    const text = message.errorDetail?.message ?? message.error ?? ''
    const line = this.#translation.lines[this.#line]
    const step = line === undefined ? undefined : this.#translation.steps[line.step]
    const before =
      line === undefined
        ? this.#flushImage()
        : [...this.#flushImage(), ...this.#stepsBefore(line.step), ...this.#announce(line.step)]
    const code = Number(/^The command '[\s\S]*' returned a non-zero code: (\d+)$/.exec(text)?.[1] ?? Number.NaN)
    if (Number.isNaN(code) || step === undefined) return [...before, failure(message, withoutLinuxPaths(text))]
    if (line?.shown !== true || step.command === undefined) {
      const why = withoutLinuxPaths(this.#hiddenOutput.trim().split('\n').at(-1) ?? '')
      return [...before, failure(message, `${keywordOf(step.text)} failed: ${why || `a helper ended with ${code}`}`, 1)]
    }
    return [...before, await this.#runFailure(message, step.command, code)]
  }

  /** Codes of init that may stand for others are looked up in the container that failed. */
  async #runFailure(message: BuildMessage, command: string, code: number): Promise<BuildMessage> {
    const doubtful = code === LARGE_CODE || code === 126 || code === 127
    const container = this.#container
    const end = doubtful && container !== undefined ? await this.#options.runEnd(container) : undefined
    if (end !== undefined && 'text' in end) {
      const hex = `0x${end.error.toString(16)}`
      const system = `failure in a Windows system call: ${end.text} (${hex})`
      const text = `container ${container} encountered an error during hcs::System::CreateProcess: ${command}: ${system}`
      return failure(message, text, code)
    }
    const real = end?.code ?? code
    const above = end === undefined && code === LARGE_CODE ? ' (or a higher one, which could not be read)' : ''
    return failure(message, `The command '${command}' returned a non-zero code: ${real}${above}`, real)
  }
}

function failure(message: BuildMessage, text: string, code = message.errorDetail?.code): BuildMessage {
  return { ...message, errorDetail: { ...(code === undefined ? {} : { code }), message: text }, error: text }
}

/** A Linux path in a message of the engine as the Windows path that it stands for. */
export function withoutLinuxPaths(text: string): string {
  return text.replace(/\/c\/drive_[a-z](?:\/[^\s:'",]*)?/g, path => toWindowsPath(path) ?? path)
}

function keywordOf(text: string): string {
  return (/^\S+/.exec(text)?.[0] ?? '').toUpperCase()
}
