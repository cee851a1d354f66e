import { commandLineOf, launchArguments } from '#image/launch.ts'
import { mergeEnv } from '#image/windows-config.ts'
import { parseJsonForm, readFlags } from './arguments.ts'
import { BeyondWine, DockerfileFault } from './fault.ts'
import { jsonLine } from './linux.ts'
import type { Instruction } from './parse.ts'
import type { Stage } from './stage.ts'

/** Where a RUN keeps its exit code. Not the main program's place: the layer would bring it into every container. */
export const BUILD_STATE = '/oriel/run/build'

const ACCOUNTS = ['ContainerAdministrator', 'ContainerUser']
const BUILDKIT =
  'requires BuildKit. Refer to https://docs.docker.com/go/buildkit/ to learn how to build images with BuildKit enabled'

/** Translates a RUN; gives the command as Docker names it when it fails. */
export function translateRun(stage: Stage, instruction: Instruction, step: number): string {
  const flags = readFlags(instruction, ['mount', 'network', 'security'])
  for (const name of Object.keys(flags)) throw new DockerfileFault(`the --${name} option ${BUILDKIT}`)
  const { words, escaped } = stage.command(instruction, parseJsonForm(instruction.rest))
  const shown = words.join(' ')
  refuseBeyondWine(instruction, shown)
  const [first, ...rest] = words
  if (first === undefined) return ''
  const launch = launchArguments({
    commandLine: commandLineOf({ Entrypoint: [first], Cmd: rest, ArgsEscaped: escaped }),
    cwd: stage.config.WorkingDir || 'C:\\',
    user: accountOf(stage.config.User) ?? 'ContainerAdministrator',
    env: mergeEnv(stage.runEnv, stage.config.Env),
    role: 'build',
    services: 'auto',
    state: BUILD_STATE
  })
  stage.emit(step, jsonLine('RUN', launch))
  stage.folders.forget()
  stage.history.push({ created_by: shown, empty: false })
  return shown
}

/** The account that a USER names, in its own spelling; undefined for one that a container does not have. */
export function accountOf(user: string | undefined): string | undefined {
  if (user === undefined || user === '') return 'ContainerAdministrator'
  const plain = user.replace(/^(user manager|\.)\\/i, '')
  return ACCOUNTS.find(account => account.toLowerCase() === plain.toLowerCase())
}

const POWERSHELL = /powershell(?:\.exe)?(?=["\s]|$)/gi
const FEATURES = /\b(?:Install-WindowsFeature|Add-WindowsFeature|Enable-WindowsOptionalFeature)\b/i
/** What starts the program that is named behind it. */
const STARTER = /\b(?:call|start|cmd(?:\.exe)?)$/i

/** Throws BeyondWine for what only a real Windows can run, so that it fails at its line and not in the middle of a build. */
export function refuseBeyondWine(instruction: Instruction, command: string): void {
  if (FEATURES.test(command) || installsFeature(command)) throw new BeyondWine('install Windows features', instruction)
  if (startsPowerShell(command)) throw new BeyondWine('run PowerShell', instruction)
}

// Both look piece by piece: one pattern for all of it takes the square of a command's length.

function installsFeature(command: string): boolean {
  return command.split(/[&|]/).some(piece => {
    const dism = piece.search(/\bdism(?:\.exe)?\b/i)
    return dism >= 0 && /\/enable-feature/i.test(piece.slice(dism))
  })
}

/** PowerShell as the program of a command: at its beginning, behind `&`, `|` or `(`, or behind what starts programs. */
function startsPowerShell(command: string): boolean {
  for (const { index } of command.matchAll(POWERSHELL)) {
    let start = index
    while (start > 0 && !/[\s"&|]/.test(command[start - 1] ?? '')) start -= 1
    const folder = command.slice(start, index)
    // The end of another name, such as `mypowershell`.
    if (folder !== '' && !/[\\/(]$/.test(folder)) continue
    if (folder.includes('(')) return true
    if (command[start - 1] === '"') start -= 1
    if (isProgramPlace(command, start)) return true
  }
  return false
}

/** Whether what stands at this place is the name of a program. */
function isProgramPlace(command: string, at: number): boolean {
  let end = at
  let options = false
  for (;;) {
    const blanks = end
    while (end > 0 && /\s/.test(command[end - 1] ?? '')) end -= 1
    if (end === 0) return blanks === 0 && !options
    if (!options && /[&|(]/.test(command[end - 1] ?? '')) return true
    if (blanks === end) return false
    let start = end
    while (start > 0 && !/\s/.test(command[start - 1] ?? '')) start -= 1
    const word = command.slice(start, end)
    if (STARTER.test(word)) return true
    if (!/^\/\w+$/.test(word)) return false
    options = true
    end = start
  }
}

/** Throws for a here-document: Docker has them with BuildKit only, and would take its lines for instructions. */
export function refuseHeredoc(instruction: Instruction): void {
  if (/(?:^|\s)<<-?\s?(["']?)[A-Za-z_]\w*\1(?:\s|$)/.test(instruction.rest)) {
    throw new DockerfileFault(`dockerfile parse error line ${instruction.line}: a heredoc ${BUILDKIT}`)
  }
}

/** Docker's refusal of a flag that its classic builder has not. */
export function needsBuildKit(flag: string): DockerfileFault {
  return new DockerfileFault(`the --${flag} option ${BUILDKIT}`)
}
