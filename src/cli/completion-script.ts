import type { CommandUnknownOpts } from '@commander-js/extra-typings'
import type { Io } from './io.ts'
import { COMMAND_NAMES, type CommandName, SUMMARIES } from './summaries.ts'

/** The definitions of all commands, each loaded when asked for. */
export type CommandLoaders = Record<CommandName, () => Promise<(io: Io) => CommandUnknownOpts>>

interface Completed {
  name: string
  summary: string
  /** Words of its own, such as subcommands. */
  words: string[]
  options: { long: string; short: string | undefined; description: string; takesValue: boolean }[]
  /** What its argument is, if it has one. */
  argument: 'machine' | 'shell' | undefined
}

/** Values of the options that take one of a few. */
const VALUES: Record<string, string[]> = {
  '--driver': ['wine', 'qemu'],
  '--windows': ['2016', '2019', '2022', '2025', '11-arm64'],
  '--isolation': ['process', 'hyperv'],
  '--accel': ['auto', 'kvm', 'hvf', 'tcg'],
  '--shell': ['bash', 'zsh', 'fish', 'powershell'],
  '--image': ['windowsservercore', 'nanoserver']
}
/** Options whose value is a file. */
const FILES = ['--iso', '--provision', '--engine-archive', '--output']
/** Words that a command takes beside a machine's name and are no commands of their own. */
const WORDS: Partial<Record<CommandName, string[]>> = { certs: ['renew'] }
const SHELLS = ['bash', 'zsh', 'fish']

/** The script that completes `oriel` in a shell. It starts no process of ours: machine names are names of folders. */
export async function completionScript(shell: string, io: Io, loaders: CommandLoaders): Promise<string> {
  const commands = await Promise.all(
    COMMAND_NAMES.map(async (name): Promise<Completed> => {
      const command = (await loaders[name]())(io)
      const all = [command, ...command.commands]
      const argument = all.flatMap(({ registeredArguments }) => registeredArguments[0]?.name() ?? [])[0]
      return {
        name,
        summary: SUMMARIES[name],
        words: [...command.commands.map(sub => sub.name()), ...(WORDS[name] ?? [])],
        options: uniqueOptions(all).map(option => ({
          long: option.long ?? '',
          short: option.short,
          description: option.description,
          takesValue: option.required
        })),
        argument: argument === 'name' ? 'machine' : argument === 'shell' ? 'shell' : undefined
      }
    })
  )
  if (shell === 'bash') return bash(commands)
  return shell === 'zsh' ? zsh(commands) : fish(commands)
}

function uniqueOptions(commands: readonly CommandUnknownOpts[]): CommandUnknownOpts['options'] {
  const all = commands.flatMap(({ options }) => options)
  return all.filter(({ long }, at) => all.findIndex(other => other.long === long) === at)
}

const LIST_MACHINES = `command ls -1 "\${ORIEL_HOME:-$HOME/.oriel}/machines" 2>/dev/null`

// Plain enough for the bash 3.2 of macOS.
function bash(commands: readonly Completed[]): string {
  const cases = commands.map(({ name, options, argument, words: own }) => {
    const words = [...options.map(({ long }) => long), '--help'].join(' ')
    const plain = argument === 'machine' ? [`$(${LIST_MACHINES})`] : argument === 'shell' ? SHELLS : []
    return `    ${name}) options='${words}'; words="${[...own, ...plain].join(' ')}" ;;`
  })
  const free = commands.flatMap(({ options }) => options).filter(({ long, takesValue }) => takesValue && !VALUES[long])
  const silent = free
    .filter(({ long }) => !FILES.includes(long))
    .flatMap(({ long, short }) => [long, ...(short ? [short] : [])])
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
    ${FILES.join('|')}|-o) local IFS=$'\\n'; COMPREPLY=($(compgen -f -- "$current")); return ;;
    ${[...new Set(silent)].join('|')}) return ;;
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
  const cases = commands.map(({ name, options, argument, words }) => {
    const specs = options.flatMap(({ long, short, description, takesValue }) => {
      const files = FILES.includes(long) ? '_files' : ''
      const values = VALUES[long] === undefined ? files : `(${VALUES[long].join(' ')})`
      const tail = `[${text(description)}]${takesValue ? `:value:${values}` : ''}`
      return [short, long].filter(flag => flag !== undefined).map(flag => `'${flag}${tail}'`)
    })
    const machines = `"1:machine:(${[...words, '$machines'].join(' ')})"`
    // A subcommand stands before the machine.
    if (argument === 'machine') specs.push(machines, ...(words.length > 0 ? [machines.replace('1', '2')] : []))
    if (argument === 'shell') specs.push(`'1:shell:(${SHELLS.join(' ')})'`)
    return `    ${name}) _arguments ${specs.join(' ')} ;;`
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
  const lines = commands.flatMap(({ name, summary, options, argument, words }) => {
    const within = `-n '__fish_seen_subcommand_from ${name}'`
    return [
      `complete -c oriel -n __fish_use_subcommand -a ${name} -d ${text(summary)}`,
      ...options.map(({ long, short, description, takesValue }) => {
        const value = takesValue
          ? ` ${FILES.includes(long) ? '-rF' : '-x'}${VALUES[long] === undefined ? '' : ` -a '${VALUES[long].join(' ')}'`}`
          : ''
        const letter = short === undefined ? '' : ` -s ${short.slice(1)}`
        return `complete -c oriel ${within} -l ${long.slice(2)}${letter}${value} -d ${text(description)}`
      }),
      ...(words.length > 0 ? [`complete -c oriel ${within} -a '${words.join(' ')}'`] : []),
      ...(argument === 'machine' ? [`complete -c oriel ${within} -a '(__oriel_machines)'`] : []),
      ...(argument === 'shell' ? [`complete -c oriel ${within} -a '${SHELLS.join(' ')}'`] : [])
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
