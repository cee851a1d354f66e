import { mergeEnv } from '#image/windows-config.ts'
import { isWindowsPath, normalizeWindowsPath } from '#image/windows-path.ts'
import { parseJsonForm, parseList, parsePairs, readFlags, splitWords } from './arguments.ts'
import { expandWords } from './expand.ts'
import { BeyondWine, DockerfileFault, parseFault } from './fault.ts'
import { checkPath } from './folders.ts'
import type { Growth } from './growth.ts'
import { parseHealthcheck } from './health.ts'
import type { Instruction } from './parse.ts'
import { accountOf } from './run.ts'
import type { Stage } from './stage.ts'

/** Instructions that only change the image's config, and WORKDIR, which also makes a folder. */
export const METADATA: Record<string, (stage: Stage, instruction: Instruction, step: number) => void> = {
  ENV(stage, instruction) {
    const pairs = expandedPairs(stage, instruction)
    stage.config.Env = mergeEnv(stage.config.Env, pairs)
    stage.note(` ENV ${pairs.join(' ')}`)
  },

  LABEL(stage, instruction) {
    const pairs = expandedPairs(stage, instruction)
    setLabels(stage, pairs)
    stage.note(` LABEL ${pairs.join(' ')}`)
  },

  ARG(stage, instruction) {
    const expand = stage.expander()
    for (const { name, fallback } of parseArg(instruction, stage)) {
      // Without a default of its own, an ARG takes over the one before FROM.
      const own = fallback === undefined ? undefined : expand(fallback)
      stage.args.set(name, stage.buildArguments.declare(name, own ?? stage.buildArguments.meta.get(name)))
      stage.note(` ARG ${name}${own === undefined ? '' : `=${own}`}`)
    }
  },

  WORKDIR(stage, instruction, step) {
    const word = stage.expandPath(oneArgument(instruction))
    if (word === '') throw new DockerfileFault('cannot normalize nothing')
    const path = normalizeWindowsPath(word, stage.config.WorkingDir || 'C:\\')
    if (!path.startsWith('C:')) {
      throw new DockerfileFault(`Windows does not support WORKDIR with a path not on the system drive (C:)`)
    }
    checkPath(path)
    stage.config.WorkingDir = path
    const layer = stage.makeFolder(step, path)
    stage.note(`WORKDIR ${path}`, !layer)
  },

  USER(stage, instruction) {
    const user = stage.expand(oneArgument(instruction))
    if (accountOf(user) === undefined) {
      throw new BeyondWine(
        `run programs as ${user}: a container has the users ContainerAdministrator and ContainerUser`,
        instruction
      )
    }
    stage.config.User = user
    stage.note(` USER ${user}`)
  },

  EXPOSE(stage, instruction) {
    const words = parseList(instruction.rest)
    if (words.length === 0) throw parseFault(instruction.line, 'EXPOSE requires at least one argument')
    const { escapeToken, lookup } = stage
    const specs = new Set(words.flatMap(word => expandWords(word, escapeToken, lookup)))
    const ports = [...specs].flatMap(spec => parsePort(spec, stage.buildArguments.growth))
    stage.config.ExposedPorts = {
      ...stage.config.ExposedPorts,
      ...Object.fromEntries(ports.map(port => [port, {}]))
    }
    stage.note(` EXPOSE ${ports.join(' ')}`)
  },

  VOLUME(stage, instruction) {
    const words = parseList(instruction.rest)
    if (words.length === 0) throw parseFault(instruction.line, 'VOLUME requires at least one argument')
    const expand = stage.expander()
    const paths = words.map(word => stage.expandPath(word, expand).trim())
    if (paths.includes('')) throw parseFault(instruction.line, 'VOLUME specified can not be an empty string')
    for (const path of paths) {
      if (!isWindowsPath(path) && !path.startsWith('/')) {
        throw new DockerfileFault(`invalid volume specification: '${path}'`)
      }
    }
    const full = paths.map(path => normalizeWindowsPath(path))
    stage.config.Volumes = { ...stage.config.Volumes, ...Object.fromEntries(full.map(path => [path, {}])) }
    stage.note(` VOLUME [${full.join(' ')}]`)
  },

  CMD(stage, instruction) {
    setCommand(stage, instruction, 'Cmd')
    stage.cmdSet = true
  },

  ENTRYPOINT(stage, instruction) {
    setCommand(stage, instruction, 'Entrypoint')
    if (!stage.cmdSet) stage.config.Cmd = null
  },

  SHELL(stage, instruction) {
    const words = parseJsonForm(instruction.rest)
    if (instruction.rest === '' || words?.length === 0) {
      throw parseFault(instruction.line, 'SHELL requires at least one argument')
    }
    if (words === undefined) throw parseFault(instruction.line, 'SHELL requires the arguments to be in JSON form')
    if (/(^|[\\/])powershell(\.exe)?$/i.test(words[0] ?? '')) throw new BeyondWine('run PowerShell', instruction)
    stage.config.Shell = words
    stage.note(` SHELL [${words.join(' ')}]`)
  },

  STOPSIGNAL(stage, instruction) {
    const signal = stage.expand(oneArgument(instruction))
    if (!isSignal(signal)) {
      throw new DockerfileFault(`Invalid signal: ${signal}`)
    }
    stage.config.StopSignal = signal
    stage.note(` STOPSIGNAL ${signal}`)
  },

  HEALTHCHECK(stage, instruction) {
    stage.config.Healthcheck = parseHealthcheck(instruction)
    stage.note(` ${instruction.original}`)
  },

  MAINTAINER(stage, instruction, step) {
    // A line break would begin another instruction of the engine's, and a backslash at the end take the next one in.
    const name = oneArgument(instruction)
      .replace(/\p{Cc}/gu, ' ')
      .replace(/[\\\s]+$/, '')
    if (name === '') throw parseFault(instruction.line, 'MAINTAINER requires exactly one argument')
    stage.emit(step, `MAINTAINER ${name}`)
    stage.note(` MAINTAINER ${name}`)
  },

  ONBUILD(stage, instruction) {
    const [trigger = ''] = instruction.rest.split(/\s+/)
    const keyword = trigger.toUpperCase()
    if (keyword === '') throw parseFault(instruction.line, 'ONBUILD requires at least one argument')
    if (keyword === 'ONBUILD') {
      throw parseFault(instruction.line, "Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed")
    }
    if (keyword === 'FROM' || keyword === 'MAINTAINER') {
      throw parseFault(instruction.line, `${keyword} isn't allowed as an ONBUILD trigger`)
    }
    stage.config.OnBuild = [...(stage.config.OnBuild ?? []), instruction.rest]
    stage.note(` ONBUILD ${instruction.rest}`)
  }
}

/** Sets labels of the image and remembers them for its LABEL line. */
export function setLabels(stage: Stage, pairs: readonly string[]): void {
  const labels = Object.fromEntries(
    pairs.map(pair => {
      const at = pair.indexOf('=')
      return [pair.slice(0, at), pair.slice(at + 1)]
    })
  )
  stage.labels = { ...stage.labels, ...labels }
  stage.config.Labels = { ...stage.config.Labels, ...labels }
}

/** The `NAME[=default]`s of an ARG; defaults are not expanded yet. */
export function parseArg(
  instruction: Instruction,
  stage: { escapeToken: Stage['escapeToken'] }
): { name: string; fallback: string | undefined }[] {
  const words = splitWords(instruction.rest, stage.escapeToken)
  if (words.length === 0) throw parseFault(instruction.line, 'ARG requires at least one argument')
  return words.map(word => {
    const at = word.indexOf('=')
    if (at === 0) throw parseFault(instruction.line, 'ARG names can not be blank')
    return { name: at < 0 ? word : word.slice(0, at), fallback: at < 0 ? undefined : word.slice(at + 1) }
  })
}

function expandedPairs(stage: Stage, instruction: Instruction): string[] {
  readFlags(instruction, [])
  const expand = stage.expander()
  return parsePairs(instruction, stage.escapeToken).map(([name, value]) => `${expand(name)}=${expand(value)}`)
}

function setCommand(stage: Stage, instruction: Instruction, name: 'Cmd' | 'Entrypoint'): void {
  const json = parseJsonForm(instruction.rest)
  const { words, escaped } = instruction.rest === '' ? { words: [], escaped: false } : stage.command(instruction, json)
  stage.config[name] = words
  stage.config.ArgsEscaped = escaped
  stage.note(` ${instruction.keyword} [${words.map(word => JSON.stringify(word)).join(' ')}]`)
}

const SIGNALS =
  'ABRT ALRM BUS CHLD CLD CONT FPE HUP ILL INT IO IOT KILL PIPE POLL PROF PWR QUIT SEGV STKFLT STOP SYS TERM TRAP TSTP TTIN TTOU URG USR1 USR2 VTALRM WINCH XCPU XFSZ'.split(
    ' '
  )

function isSignal(signal: string): boolean {
  const name = signal.toUpperCase().replace(/^SIG/, '')
  if (/^\d+$/.test(name)) return Number(name) > 0 && Number(name) <= 64
  return SIGNALS.includes(name) || /^RTM(IN(\+\d+)?|AX(-\d+)?)$/.test(name)
}

function oneArgument(instruction: Instruction): string {
  readFlags(instruction, [])
  if (instruction.rest === '')
    throw parseFault(instruction.line, `${instruction.keyword} requires exactly one argument`)
  return instruction.rest
}

/** What a port takes, which is an entry of a list and of the text of the image. */
const PORT_CHARACTERS = 100

/** `80`, `80/udp`, `8000-8003`, and Docker's `host:container` forms, of which the container's part counts. */
function parsePort(spec: string, growth: Growth): string[] {
  const [ports = '', protocol = 'tcp', ...more] = spec.split('/')
  const container = ports.slice(ports.lastIndexOf(':') + 1)
  const [, first = '', last = first] = /^(\d+)(?:-(\d+))?$/.exec(container) ?? []
  const from = Number(first)
  const to = Number(last)
  if (first === '' || from > 65_535 || to > 65_535 || to < from || more.length > 0) {
    throw new DockerfileFault(`Invalid containerPort: ${container}`)
  }
  if (!['tcp', 'udp', 'sctp'].includes(protocol.toLowerCase())) {
    throw new DockerfileFault(`Invalid proto: ${protocol}`)
  }
  growth.add((to - from + 1) * PORT_CHARACTERS)
  return Array.from({ length: to - from + 1 }, (_, at) => `${from + at}/${protocol.toLowerCase()}`)
}
