import { commandLineOf, execState, INIT, type Launch, launchArguments, MAIN_STATE } from '#image/launch.ts'
import { mergeEnv, userLabels, type WindowsConfig } from '#image/windows-config.ts'
import { normalizeWindowsPath } from '#image/windows-path.ts'
import { refuseProgram } from './command-line.ts'
import { type Json, objectOf, stringOf, stringsOf, without } from './json.ts'
import { absoluteWindowsPath } from './record.ts'
import { Refusal } from './refusal.ts'

/** Set on an image or a container to `lean` or `full`: which of Wine's services its programs get. */
export const SERVICES_LABEL = 'dev.oriel.services'

const SHELL = ['cmd', '/S', '/C']

/** A list of texts, or null: clients also send one text for a list of one. */
export function wordsOf(value: unknown): string[] | null {
  if (typeof value === 'string') return [value]
  return Array.isArray(value) ? value.map(String) : null
}

/**
 * Overlays a create request on its image as a Windows daemon does. An Entrypoint of one's own drops the image's Cmd; an
 * escaped command line is the image's only where the image's words are used. Throws a Refusal for a config that cannot be.
 */
export function mergeConfig(image: WindowsConfig, request: Json): WindowsConfig {
  let entrypoint = wordsOf(request.Entrypoint)
  let cmd = wordsOf(request.Cmd)
  let escaped = request.ArgsEscaped === true
  if ((entrypoint?.length ?? 0) === 0) {
    if ((cmd?.length ?? 0) === 0) {
      cmd = image.Cmd ?? null
      escaped ||= image.ArgsEscaped === true && (cmd?.length ?? 0) > 0
    }
    if (entrypoint === null) {
      entrypoint = image.Entrypoint ?? null
      escaped ||= image.ArgsEscaped === true && (entrypoint?.length ?? 0) > 0
    }
  }
  // `--entrypoint ""` comes so: none, and not the image's.
  if (entrypoint?.length === 1 && entrypoint[0] === '') entrypoint = null
  if ((entrypoint?.length ?? 0) + (cmd?.length ?? 0) === 0) throw new Refusal('no command specified')

  const config: WindowsConfig = {
    Cmd: cmd,
    Entrypoint: entrypoint,
    Env: mergeRequestEnv(image.Env ?? [], wordsOf(request.Env) ?? []),
    User: stringOf(request.User) || (image.User ?? ''),
    WorkingDir: workingDirectory(stringOf(request.WorkingDir)) ?? image.WorkingDir ?? '',
    Labels: { ...userLabels(image.Labels), ...userLabels(stringsOf(request.Labels)) },
    OnBuild: null,
    ExposedPorts: { ...image.ExposedPorts, ...(objectOf(request.ExposedPorts) as Record<string, object>) }
  }
  const volumes = { ...image.Volumes, ...(objectOf(request.Volumes) as Record<string, object>) }
  if (Object.keys(volumes).length > 0) config.Volumes = volumes
  if (escaped) config.ArgsEscaped = true
  const shell = wordsOf(request.Shell) ?? image.Shell
  if (shell !== undefined && shell.length > 0) config.Shell = shell
  const signal = stringOf(request.StopSignal) || image.StopSignal
  if (signal) config.StopSignal = signal
  const check = mergeHealthcheck(objectOf(image.Healthcheck), objectOf(request.Healthcheck))
  if (Object.keys(check).length > 0) config.Healthcheck = check
  return config
}

/** The request's variables over the image's; a name without a value takes the image's away. */
function mergeRequestEnv(image: readonly string[], request: readonly string[]): string[] {
  const gone = new Set(request.filter(entry => !entry.includes('=', 1)).map(name => name.toUpperCase()))
  const named = (entry: string): string => entry.slice(0, entry.indexOf('=', 1)).toUpperCase()
  return mergeEnv(
    image.filter(entry => !gone.has(named(entry))),
    request.filter(entry => entry.includes('=', 1))
  )
}

/** A working directory as Windows has it; undefined for none. A Refusal for a path that is not absolute. */
export function workingDirectory(path: string): string | undefined {
  if (path === '') return undefined
  const absolute = absoluteWindowsPath(path)
  if (absolute === undefined) {
    throw new Refusal(`the working directory '${path}' is invalid, it needs to be an absolute path`)
  }
  return absolute
}

function mergeHealthcheck(image: Json, request: Json): Json {
  const own = Object.fromEntries(Object.entries(request).filter(([, value]) => value !== 0 && value !== null))
  if (Array.isArray(own.Test) && own.Test.length === 0) delete own.Test
  return { ...image, ...own }
}

/** Whom init is asked to be. A Refusal for an account that the container has not. */
export function accountOf(user: string): 'ContainerAdministrator' | 'ContainerUser' {
  const name = user.slice(user.lastIndexOf('\\') + 1).toLowerCase()
  if (name === 'containeruser') return 'ContainerUser'
  if (['', 'containeradministrator', 'administrator', 'system'].includes(name)) return 'ContainerAdministrator'
  throw new Refusal(
    `unable to find user ${user}: the user name or password is incorrect. (0x52e) (this machine has ContainerAdministrator and ContainerUser)`
  )
}

/** What init is to start for a config. `labels` name the services; the config's own are the user's alone. */
export function mainLaunch(config: WindowsConfig, labels: Record<string, string>): Launch {
  const commandLine = commandLineOf(config)
  refuseProgram(commandLine)
  const services = labels[SERVICES_LABEL]
  return {
    commandLine,
    cwd: normalizeWindowsPath(config.WorkingDir || 'C:\\'),
    user: accountOf(config.User ?? ''),
    env: config.Env ?? [],
    role: 'main',
    services: services === 'lean' || services === 'full' ? services : 'auto',
    state: MAIN_STATE
  }
}

/** The client's config as the Linux engine takes it: nothing in it that Linux would read in its own way. */
export function engineConfig(request: Json, config: WindowsConfig, labels: Record<string, string>): Json {
  const [, ...rest] = launchArguments(mainLaunch(config, labels))
  const patched: Json = {
    ...without(request, [
      'Shell',
      'ArgsEscaped',
      'OnBuild',
      'Volumes',
      'HostConfig',
      'NetworkingConfig',
      'Healthcheck'
    ]),
    Entrypoint: [INIT],
    Cmd: rest,
    Env: [],
    User: '',
    WorkingDir: '',
    StopSignal: engineSignal(config.StopSignal ?? ''),
    ExposedPorts: config.ExposedPorts ?? {},
    Labels: labels
  }
  const check = engineHealthcheck(objectOf(config.Healthcheck), config)
  if (check !== undefined) patched.Healthcheck = check
  return patched
}

/** The signal for init that stands for a client's: all but KILL ask the program to end. */
export function engineSignal(signal: string): string {
  return /^(sig)?kill$|^9$/i.test(signal) ? 'SIGKILL' : 'SIGTERM'
}

/** A health check runs a Windows program too, so it goes through init. */
function engineHealthcheck(check: Json, config: WindowsConfig): Json | undefined {
  const [kind, ...words] = wordsOf(check.Test) ?? []
  if (kind === undefined) return undefined
  if (kind === 'NONE') return { Test: ['NONE'] }
  const shell = config.Shell ?? SHELL
  const commandLine =
    kind === 'CMD-SHELL' ? `${commandLineOf({ Cmd: shell })} ${words.join(' ')}` : commandLineOf({ Cmd: words })
  const launch = launchArguments({
    commandLine,
    cwd: normalizeWindowsPath(config.WorkingDir || 'C:\\'),
    user: accountOf(config.User ?? ''),
    env: config.Env ?? [],
    role: 'exec',
    services: 'auto',
    state: execState('health')
  })
  return { ...check, Test: ['CMD', ...launch] }
}
