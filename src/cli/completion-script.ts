import type { CommandUnknownOpts, Option } from '@commander-js/extra-typings'
import type { Io } from './io.ts'
import { COMMAND_NAMES, type CommandName, SUMMARIES } from './summaries.ts'

/** The definitions of all commands, each loaded when asked for. */
export type CommandLoaders = Record<CommandName, () => Promise<(io: Io) => CommandUnknownOpts>>

interface Completed {
  name: string
  summary: string
  options: { long: string; short: string | undefined; description: string; takesValue: boolean }[]
  /** What its argument is, if it has one. */
  argument: 'machine' | 'shell' | undefined
  /** The commands within it. */
  within: string[]
}

/** Values of the options that take one of a few. */
const VALUES: Record<string, string[]> = {
  '--driver': ['wine'],
  '--shell': ['bash', 'zsh', 'fish', 'powershell'],
  '--image': ['windowsservercore', 'nanoserver']
}
const SHELLS = ['bash', 'zsh', 'fish']

/** The script that completes `oriel` in a shell. It starts no process of ours: machine names are names of folders. */
export async function completionScript(shell: string, io: Io, loaders: CommandLoaders): Promise<string> {
  const commands = await Promise.all(
    COMMAND_NAMES.map(async (name): Promise<Completed> => {
      const command = (await loaders[name]())(io)
      const argument = command.registeredArguments[0]?.name()
      return {
        name,
        summary: SUMMARIES[name],
        options: optionsOf(command).map(option => ({
          long: option.long ?? '',
          short: option.short,
          description: option.description,
          takesValue: option.required
        })),
        argument: argument === 'name' ? 'machine' : argument === 'shell' ? 'shell' : undefined,
        within: command.commands.map(inner => inner.name())
      }
    })
  )
  if (shell === 'bash') return bash(commands)
  return shell === 'zsh' ? zsh(commands) : fish(commands)
}

/** Its options, and those of the commands within it. */
function optionsOf(command: CommandUnknownOpts): readonly Option[] {
  const all = [command, ...command.commands].flatMap(each => [...each.options])
  return all.filter((option, at) => all.findIndex(other => other.long === option.long) === at)
}

const LIST_MACHINES = `command ls -1 "\${ORIEL_HOME:-$HOME/.oriel}/machines" 2>/dev/null`

// Plain enough for the bash 3.2 of macOS.
function bash(commands: readonly Completed[]): string {
  const cases = commands.map(({ name, options, argument, within }) => {
    const words = [...options.map(({ long }) => long), '--help'].join(' ')
    const plain =
      argument === 'machine' ? `$(${LIST_MACHINES})` : argument === 'shell' ? SHELLS.join(' ') : within.join(' ')
    return `    ${name}) options='${words}'; words="${plain}" ;;`
  })
  const values = Object.entries(VALUES).map(
    ([option, list]) => `    ${option}) COMPREPLY=($(compgen -W '${list.join(' ')}' -- "$current")); return ;;`
  )
  return `# bash completion of oriel
_oriel() {
  local current=\${COMP_WORDS[COMP_CWORD]} previous=\${COMP_WORDS[COMP_CWORD-1]} command='' options='' words='' at
  for ((at = 1; at < COMP_CWORD; at++)); do
    case \${COMP_WORDS[at]} in -*) ;; *) command=\${COMP_WORDS[at]}; break ;; esac
  done
  case $previous in
${values.join('\n')}
    --engine|--lines|-n) return ;;
  esac
  case $command in
    '') options='--help --version'; words='${commands.map(({ name }) => name).join(' ')} help' ;;
    help) words='${commands.map(({ name }) => name).join(' ')}' ;;
${cases.join('\n')}
  esac
  case $current in
    -*) COMPREPLY=($(compgen -W "$options" -- "$current")) ;;
    *) COMPREPLY=($(compgen -W "$words" -- "$current")) ;;
  esac
}
complete -F _oriel oriel
`
}

function zsh(commands: readonly Completed[]): string {
  const text = (value: string) => value.replaceAll("'", "'\\''").replace(/[[\]:]/g, '\\$&')
  const cases = commands.map(({ name, options, argument, within }) => {
    const specs = options.flatMap(({ long, short, description, takesValue }) => {
      const values = VALUES[long] === undefined ? '' : `(${VALUES[long].join(' ')})`
      const tail = `[${text(description)}]${takesValue ? `:value:${values}` : ''}`
      return [short, long].filter(flag => flag !== undefined).map(flag => `'${flag}${tail}'`)
    })
    if (argument === 'machine') specs.push("'1:machine:($machines)'")
    if (argument === 'shell') specs.push(`'1:shell:(${SHELLS.join(' ')})'`)
    if (within.length > 0) specs.push(`'1:command:(${within.join(' ')})' '*:file:_files'`)
    return `    ${name}) _arguments ${specs.join(' ').replaceAll("'1:machine:($machines)'", '"1:machine:($machines)"')} ;;`
  })
  return `#compdef oriel
# zsh completion of oriel
_oriel() {
  local machines="$(${LIST_MACHINES} | tr '\\n' ' ')"
  local -a commands
  commands=(${commands.map(({ name, summary }) => `'${name}:${text(summary)}'`).join(' ')})
  if (( CURRENT == 2 )); then
    _describe command commands
    return
  fi
  local command=$words[2]
  shift words
  (( CURRENT-- ))
  case $command in
${cases.join('\n')}
  esac
}
compdef _oriel oriel
`
}

function fish(commands: readonly Completed[]): string {
  const text = (value: string) => `'${value.replace(/['\\]/g, '\\$&')}'`
  const lines = commands.flatMap(({ name, summary, options, argument, within: inner }) => {
    const within = `-n '__fish_seen_subcommand_from ${name}'`
    return [
      `complete -c oriel -n __fish_use_subcommand -a ${name} -d ${text(summary)}`,
      ...options.map(({ long, short, description, takesValue }) => {
        const value = takesValue ? ` -x${VALUES[long] === undefined ? '' : ` -a '${VALUES[long].join(' ')}'`}` : ''
        const letter = short === undefined ? '' : ` -s ${short.slice(1)}`
        return `complete -c oriel ${within} -l ${long.slice(2)}${letter}${value} -d ${text(description)}`
      }),
      ...(argument === 'machine' ? [`complete -c oriel ${within} -a '(__oriel_machines)'`] : []),
      ...(argument === 'shell' ? [`complete -c oriel ${within} -a '${SHELLS.join(' ')}'`] : []),
      ...(inner.length > 0 ? [`complete -c oriel ${within} -a '${inner.join(' ')}'`] : [])
    ]
  })
  return `# fish completion of oriel
function __oriel_machines
  set -q ORIEL_HOME; and set -l home $ORIEL_HOME; or set -l home $HOME/.oriel
  command ls -1 $home/machines 2>/dev/null
end
complete -c oriel -f
${lines.join('\n')}
`
}
