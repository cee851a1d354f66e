import type { WindowsConfig } from './windows-config.ts'

/** What init is asked to start; see guest/wine/CONTRACT.md, which this file mirrors. */
export interface Launch {
  commandLine: string
  /** A Windows path. */
  cwd: string
  user: string
  env: readonly string[]
  role: 'main' | 'exec' | 'build'
  services: 'lean' | 'full' | 'auto'
  /** Linux path of the state file in the container. */
  state: string
}

export const INIT = '/oriel/init'
export const MAIN_STATE = '/oriel/run/main'

/** The state file of the exec with this id. */
export function execState(id: string): string {
  return `/oriel/run/exec-${id}`
}

// Linux takes 128 KiB in one argument.
const ARGUMENT_BYTES = 96 * 1024

/** The argument vector that makes init start this. */
export function launchArguments(launch: Launch): string[] {
  const pairs = [
    `CMDLINE=${launch.commandLine}`,
    `CWD=${launch.cwd}`,
    `USER=${launch.user}`,
    `SERVICES=${launch.services}`,
    `STATE=${launch.state}`,
    `ROLE=${launch.role}`,
    ...launch.env.map(entry => `ENV_${entry}`)
  ]
  const encoded = Buffer.from(pairs.join('\0'), 'utf8').toString('base64')
  const chunks: string[] = []
  for (let at = 0; at < encoded.length; at += ARGUMENT_BYTES) chunks.push(encoded.slice(at, at + ARGUMENT_BYTES))
  return [INIT, 'run', ...chunks]
}

/** What launchArguments made such arguments from; undefined when they are not a launch. */
export function readLaunch(argv: readonly string[]): Launch | undefined {
  if (argv[0] !== INIT || argv[1] !== 'run') return undefined
  const launch: Launch = { commandLine: '', cwd: 'C:\\', user: '', env: [], role: 'main', services: 'auto', state: '' }
  const env: string[] = []
  for (const pair of Buffer.from(argv.slice(2).join(''), 'base64').toString('utf8').split('\0')) {
    const at = pair.indexOf('=', pair.startsWith('ENV_') ? 5 : 0)
    const key = pair.slice(0, at)
    const value = pair.slice(at + 1)
    if (key.startsWith('ENV_')) env.push(`${key.slice(4)}=${value}`)
    else if (key === 'CMDLINE') launch.commandLine = value
    else if (key === 'CWD') launch.cwd = value
    else if (key === 'USER') launch.user = value
    else if (key === 'STATE') launch.state = value
    else if (key === 'ROLE') launch.role = value as Launch['role']
    else if (key === 'SERVICES') launch.services = value as Launch['services']
  }
  return { ...launch, env }
}

/**
 * Quotes one argument so that CommandLineToArgvW gives it back.
 * Rules: https://learn.microsoft.com/cpp/c-language/parsing-c-command-line-arguments
 */
export function quoteArgument(argument: string): string {
  if (argument !== '' && !/[\s"]/.test(argument)) return argument
  return `"${argument.replace(/(\\*)"/g, '$1$1\\"').replace(/(\\+)$/, '$1$1')}"`
}

/** The one command line for Windows: an escaped Entrypoint or Cmd goes in as it is, the rest is quoted (moby, oci_windows.go). */
export function commandLineOf(config: Pick<WindowsConfig, 'Entrypoint' | 'Cmd' | 'ArgsEscaped'>): string {
  const words = [...(config.Entrypoint ?? []), ...(config.Cmd ?? [])]
  if (!config.ArgsEscaped) return words.map(quoteArgument).join(' ')
  const [line = '', ...rest] = words
  return [line, ...rest.map(quoteArgument)].join(' ')
}
