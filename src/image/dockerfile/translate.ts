import { IMAGE_LABEL, LABEL_PREFIX, type WindowsImage } from '#image/windows-config.ts'
import { readFlags } from './arguments.ts'
import { type CopySource, translateCopy } from './copy.ts'
import { expandWord } from './expand.ts'
import { DockerfileFault, parseFault } from './fault.ts'
import { asciiJson, labelLine } from './linux.ts'
import { METADATA, parseArg, setLabels } from './metadata.ts'
import { type Dockerfile, type Escape, type Instruction, parseDockerfile, parseInstruction } from './parse.ts'
import { refuseHeredoc, translateRun } from './run.ts'
import { BuildArguments } from './scope.ts'
import { type LinuxLine, Stage } from './stage.ts'

/** A base on the engine: `reference` is what the Linux Dockerfile calls it. */
export interface Base {
  reference: string
  image: WindowsImage
  /** Of the Linux image below, e.g. `linux/amd64`: an engine of another kind would not take it unasked. */
  platform?: string
}

export interface TranslateOptions {
  /** Finds the Windows image of a FROM or `COPY --from`; throws when there is none. */
  lookup: (reference: string) => Promise<Base>
  buildArgs?: Readonly<Record<string, string | null>>
  /** `--label`s: they become the last steps. */
  labels?: Readonly<Record<string, string>>
  /** Name or number of the stage to stop after. */
  target?: string
  /** What the file is called in messages. */
  name?: string
}

/** One instruction as the person wrote it. */
export interface Step {
  text: string
  /** Of a RUN: the command as Docker names it when it fails. */
  command?: string
  /** False for an ARG before FROM, after which there is no image to name. */
  hasImage: boolean
  /** Docker's warnings, shown below the step. */
  warnings: string[]
}

export interface Translation {
  /** For the Linux engine's classic builder. */
  dockerfile: string
  /** The Windows side of the result, which the last line of `dockerfile` labels it with. */
  image: WindowsImage
  steps: Step[]
  /** One for each step of the engine; the text is as the engine shows it. */
  lines: LinuxLine[]
  /** `--build-arg`s that no ARG named. */
  unusedArgs: string[]
}

/**
 * Translates a Dockerfile for Windows into one that the Linux engine's classic builder runs on the Wine base. Throws
 * DockerfileFault (Docker's words), BeyondWine (only a real Windows can build it), and what `lookup` throws.
 */
export async function translate(text: string, options: TranslateOptions): Promise<Translation> {
  return await new Translator(parseDockerfile(text, options.name), options).run()
}

class Translator {
  readonly #escapeToken: Escape
  readonly #instructions: readonly Instruction[]
  readonly #options: TranslateOptions
  readonly #arguments: BuildArguments
  readonly #steps: Step[] = []
  readonly #output: LinuxLine[] = []
  readonly #stages: Stage[] = []

  constructor(dockerfile: Dockerfile, options: TranslateOptions) {
    this.#escapeToken = dockerfile.escapeToken
    this.#options = options
    this.#arguments = new BuildArguments(options.buildArgs ?? {})
    this.#instructions = untilTarget(dockerfile.instructions, options.target)
  }

  async run(): Promise<Translation> {
    for (const instruction of this.#instructions) {
      const step = this.#steps.push({ text: instruction.original, hasImage: true, warnings: [] }) - 1
      const stage = this.#stages.at(-1)
      if (instruction.keyword === 'FROM') await this.#from(instruction, step)
      else if (stage !== undefined) await this.#apply(stage, instruction, step)
      else if (instruction.keyword === 'ARG') this.#metaArg(instruction, step)
      else throw new DockerfileFault('no build stage in current context')
    }
    const stage = this.#stages.at(-1)
    if (stage === undefined) throw new DockerfileFault('no build stage in current context')
    this.#finish(stage)
    const lines = [...this.#stages.flatMap(({ lines }) => lines), ...this.#output]
    return {
      dockerfile: `${lines.map(({ text }) => text).join('\n')}\n`,
      image: stage.image(),
      steps: this.#steps,
      lines: lines.map(line => ({ ...line, text: line.text.replaceAll('\\\n', '') })),
      unusedArgs: this.#arguments.unused
    }
  }

  /** The labels of the result: the person's own, and the record of its Windows side. */
  #finish(stage: Stage): void {
    const last = this.#steps.length - 1
    for (const [name, value] of Object.entries(this.#options.labels ?? {}).sort(([a], [b]) => (a < b ? -1 : 1))) {
      if (name.startsWith(LABEL_PREFIX)) continue
      setLabels(stage, [`${name}=${value}`])
      stage.note(` LABEL ${name}=${value}`)
      this.#steps.push({ text: `LABEL ${name}=${value}`, hasImage: true, warnings: [] })
    }
    const own = Object.entries(stage.labels).filter(([name]) => !name.startsWith(LABEL_PREFIX))
    // A line break fits into no LABEL line; the record has the label all the same.
    const labels = Object.fromEntries(own.filter(pair => !/[\r\n]/.test(pair.join(''))))
    this.#output.push({ text: recordLine(stage, labels), step: last, shown: false })
  }

  #metaArg(instruction: Instruction, step: number): void {
    const { metaLookup } = this.#arguments
    for (const { name, fallback } of parseArg(instruction, { escapeToken: this.#escapeToken })) {
      const value = fallback === undefined ? undefined : expandWord(fallback, this.#escapeToken, metaLookup)
      this.#arguments.meta.set(name, this.#arguments.declare(name, value))
    }
    const known = this.#steps[step]
    if (known !== undefined) known.hasImage = false
  }

  async #from(instruction: Instruction, step: number): Promise<void> {
    const flags = readFlags(instruction, ['platform'])
    const [word = '', as, name = '', ...more] = instruction.rest.split(/\s+/)
    if (word === '' || more.length > 0 || (as !== undefined && (as.toUpperCase() !== 'AS' || name === ''))) {
      throw parseFault(instruction.line, 'FROM requires either one or three arguments')
    }
    const stageName = name.toLowerCase()
    if (as !== undefined && !/^[a-z][a-z0-9-_.]*$/.test(stageName)) {
      throw parseFault(
        instruction.line,
        `invalid name for build stage: ${JSON.stringify(name)}, name can't start with a number or contain symbols`
      )
    }
    if (stageName !== '' && this.#stages.some(stage => stage.name === stageName)) {
      throw new DockerfileFault(`${stageName} stage name already used`)
    }
    const platform = expandWord(flags.platform ?? '', this.#escapeToken, this.#arguments.metaLookup)
    if (!/^(windows(\/(amd64|x86_64))?)?$/i.test(platform)) {
      throw new DockerfileFault(`invalid platform: ${platform}: operating system is not supported`)
    }
    const reference = expandWord(word, this.#escapeToken, this.#arguments.metaLookup)
    if (reference === '') throw new DockerfileFault(`base name (${word}) should not be blank`)
    const common = {
      index: this.#stages.length,
      name: stageName,
      escapeToken: this.#escapeToken,
      buildArguments: this.#arguments
    }
    const parent = this.#stages.find(stage => stage.name !== '' && stage.name === reference.toLowerCase())
    if (parent !== undefined) {
      const base = parent.image()
      const stage = new Stage({ ...common, base, folders: parent.folders.clone() })
      // Labels of a parent stage are in no image yet.
      stage.labels = parent.labels
      await this.#begin(stage, stageOf(parent), step)
      return
    }
    const base = await this.#base(reference)
    const on = base.platform === undefined ? '' : `--platform=${base.platform} `
    await this.#begin(new Stage({ ...common, base: base.image }), `${on}${base.reference}`, step)
  }

  async #begin(stage: Stage, reference: string, step: number): Promise<void> {
    this.#stages.push(stage)
    stage.emit(step, `FROM ${reference} AS ${stageOf(stage)}`)
    // The engine's images of the steps in between have the labels of their base, and none of them is the original.
    if (stage.base.origin !== undefined) stage.emit(step, recordLine(stage, {}), false)
    const triggers = stage.config.OnBuild ?? []
    stage.config.OnBuild = null
    for (const trigger of triggers) {
      await this.#apply(stage, parseInstruction(trigger, this.#instructions[step]?.line ?? 1, this.#escapeToken), step)
    }
  }

  async #apply(stage: Stage, instruction: Instruction, step: number): Promise<void> {
    const { keyword } = instruction
    if (keyword === 'RUN' || keyword === 'COPY' || keyword === 'ADD') refuseHeredoc(instruction)
    if (keyword === 'RUN') {
      const command = translateRun(stage, instruction, step)
      const known = this.#steps[step]
      if (known !== undefined) known.command = command
    } else if (keyword === 'COPY' || keyword === 'ADD') {
      await translateCopy(stage, instruction, step, from => this.#copySource(stage, from))
    } else {
      const escaped = stage.config.ArgsEscaped ?? false
      METADATA[keyword]?.(stage, instruction, step)
      const mixed = (stage.config.Entrypoint ?? []).length > 0 && escaped !== (stage.config.ArgsEscaped ?? false)
      if (keyword === 'CMD' && mixed) this.#steps[step]?.warnings.push(MIXED)
    }
  }

  async #copySource(stage: Stage, from: string): Promise<CopySource> {
    const name = stage.expand(from)
    const named = this.#stages.find(other => other !== stage && other.name !== '' && other.name === name.toLowerCase())
    const numbered = /^\d+$/.test(name) ? this.#stages[Number(name)] : undefined
    if (/^\d+$/.test(name) && (numbered === undefined || numbered === stage)) {
      throw new DockerfileFault(`invalid from flag value ${name}: index out of bounds`)
    }
    const source = named ?? numbered
    if (source !== undefined) return { name: stageOf(source), folders: source.folders }
    const base = await this.#base(name)
    const folders = new Stage({
      index: 0,
      name: '',
      escapeToken: this.#escapeToken,
      buildArguments: this.#arguments,
      base: base.image
    }).folders
    return { name: base.reference, folders }
  }

  async #base(reference: string): Promise<Base> {
    if (reference.toLowerCase() === 'scratch') throw new DockerfileFault('Windows does not support FROM scratch')
    return await this.#options.lookup(reference)
  }
}

const MIXED = ' ---> [Warning] Shell-form ENTRYPOINT and exec-form CMD may have unexpected results\n'

/** The line that labels an image with its Windows side. */
function recordLine(stage: Stage, labels: Readonly<Record<string, string>>): string {
  return labelLine({ ...labels, [IMAGE_LABEL]: asciiJson(stage.image()) })
}

function stageOf(stage: Stage): string {
  return `oriel-stage-${stage.index}`
}

/** The instructions up to the end of the target stage. */
function untilTarget(instructions: readonly Instruction[], target: string | undefined): readonly Instruction[] {
  if (target === undefined || target === '') return instructions
  const starts = instructions.flatMap(({ keyword }, at) => (keyword === 'FROM' ? [at] : []))
  const named = starts.findIndex(at => {
    const name = /\sAS\s+(\S+)\s*$/i.exec(instructions[at]?.rest ?? '')?.[1]
    return name?.toLowerCase() === target.toLowerCase()
  })
  const index = named < 0 && /^\d+$/.test(target) ? Number(target) : named
  if (index < 0 || index >= starts.length) {
    throw new DockerfileFault(`failed to reach build target ${target} in Dockerfile`)
  }
  return instructions.slice(0, starts[index + 1])
}
