import { INIT } from '#image/launch.ts'
import { builtOn, type WindowsConfig, type WindowsImage } from '#image/windows-config.ts'
import { expandWord, type Lookup, lookupIn } from './expand.ts'
import { Folders } from './folders.ts'
import { jsonLine, literalWord } from './linux.ts'
import type { Escape, Instruction } from './parse.ts'
import { type BuildArguments, entries } from './scope.ts'

/** One line of the Linux Dockerfile, hence one step of the engine. */
export interface LinuxLine {
  text: string
  /** Index of the step that the person wrote. */
  step: number
  /** False for a helper that the person did not write. */
  shown: boolean
}

/** One stage while it is translated: what its instructions have done so far. */
export class Stage {
  readonly index: number
  readonly name: string
  readonly escapeToken: Escape
  readonly buildArguments: BuildArguments
  readonly base: WindowsImage
  readonly config: WindowsConfig
  readonly folders: Folders
  readonly history: WindowsImage['history']
  readonly lines: LinuxLine[] = []
  /** Labels that this stage set. */
  labels: Readonly<Record<string, string>> = {}
  /** ARGs in scope. */
  readonly args = new Map<string, string | undefined>()
  /** A CMD of this stage's own; an ENTRYPOINT drops one that came from the base. */
  cmdSet = false

  constructor(
    options: Pick<Stage, 'index' | 'name' | 'escapeToken' | 'buildArguments'> & {
      base: WindowsImage
      folders?: Folders
    }
  ) {
    this.index = options.index
    this.name = options.name
    this.escapeToken = options.escapeToken
    this.buildArguments = options.buildArguments
    this.base = options.base
    this.config = structuredClone(options.base.config)
    this.history = [...options.base.history]
    // Whatever is not an instruction without a program ran one.
    const { origin, parent = origin, imported, history } = options.base
    const ran =
      parent !== undefined || imported !== undefined || history.some(({ created_by }) => !created_by.includes('#(nop)'))
    this.folders = options.folders ?? new Folders(options.base.folders, ran)
  }

  /** The image as it is now. */
  image(): WindowsImage {
    return {
      ...builtOn(this.base),
      config: structuredClone(this.config),
      folders: this.folders.made,
      history: [...this.history]
    }
  }

  /** Environment that a RUN sees; ENV beats an ARG of the same name. */
  get runEnv(): string[] {
    return [...this.buildArguments.proxies, ...entries(this.args)]
  }

  get lookup(): Lookup {
    // Docker knows no PATH of a Windows image that sets none, and `ENV PATH=C:\x;$PATH` would lose the system's own.
    const { buildArguments } = this
    return buildArguments.metered(
      lookupIn(this.config.Env ?? [], entries(this.args), buildArguments.proxies, [DEFAULT_PATH])
    )
  }

  expand(word: string): string {
    return this.expander()(word)
  }

  /** Expands the words of one instruction: as with Docker, none of them sees what the instruction itself sets. */
  expander(): (word: string) => string {
    const { lookup } = this
    return word => expandWord(word, this.escapeToken, lookup)
  }

  /**
   * Expands a word that is a path. `C:\app` means what it says even where the backslash is the escape character: by
   * Docker's rules it would be `C:app`, which nobody wants.
   */
  expandPath(word: string, expand = this.expander()): string {
    const plain = this.escapeToken === '\\' && /^["']?[a-z]:\\(?!\\)/i.test(word) && !word.includes('\\\\')
    return expand(plain ? word.replaceAll('\\', '\\\\') : word)
  }

  /** Adds a step of the engine. */
  emit(step: number, text: string, shown = true): void {
    this.buildArguments.growth.add(text.length)
    this.lines.push({ text, step, shown })
  }

  /** Makes a folder where it is not known to be there; true when that took a layer. */
  makeFolder(step: number, path: string): boolean {
    if (this.folders.has(path)) return false
    const { linux, certain } = this.folders.locate(path)
    // The engine makes a WORKDIR without starting a container.
    this.emit(step, certain ? `WORKDIR ${literalWord(linux)}` : jsonLine('RUN', [INIT, 'mkdir', path]))
    this.folders.add(path, !certain)
    return true
  }

  /** Notes an instruction that makes no layer of its own in `docker history`. */
  note(comment: string, empty = true): void {
    this.history.push({ created_by: `${this.shell.join(' ')} #(nop) ${comment}`, empty })
  }

  get shell(): string[] {
    return this.config.Shell ?? ['cmd', '/S', '/C']
  }

  /**
   * The words of a RUN, CMD or ENTRYPOINT. The shell form is one command line, shell and text as written, which nothing
   * may quote again (moby: ArgsEscaped).
   */
  command(instruction: Instruction, json: string[] | undefined): { words: string[]; escaped: boolean } {
    if (json !== undefined) return { words: json, escaped: false }
    return { words: [`${this.shell.join(' ')} ${instruction.rest}`], escaped: true }
  }
}

const DEFAULT_PATH = 'PATH=C:\\Windows\\system32;C:\\Windows'
