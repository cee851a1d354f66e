import { homedir, tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import type { MachinePlace } from '#driver/driver.ts'
import { Fault } from '#lib/fault.ts'

/** Every name that Oriel has on disk for one machine. */
export interface MachinePaths {
  name: string
  /** 0700: what is in it can control the engine. */
  folder: string
  /** What the person wants; may be edited. YAML, so that comments survive. */
  spec: string
  /** What Oriel has done so far; nobody edits it. Removed and remade freely. */
  state: string
  /** What the host agent was started with. */
  agentConfig: string
  /** JSON lines of the host agent; the former log is `agent.log.1`. */
  agentLog: string
  /** Everything that long steps of a driver said, such as the build of the base images, for when one fails. */
  buildLog: string
  /** Where the agent answers the command line (0600). Bound by one process, so it is also what makes it single. */
  agentSocket: string
  /** Where docker clients connect (0600). */
  dockerSocket: string
  /** Taken by every command that changes the machine. Outside of the folder, which `rm` removes. */
  lock: string
}

/** ORIEL_HOME, or `.oriel` in the home folder. */
export function orielHome(env: NodeJS.ProcessEnv): string {
  return env.ORIEL_HOME !== undefined && env.ORIEL_HOME !== '' ? env.ORIEL_HOME : join(homedir(), '.oriel')
}

/** The folder with one folder a machine. */
export function machinesFolder(env: NodeJS.ProcessEnv): string {
  return join(orielHome(env), 'machines')
}

const NAME = /^[a-z0-9][a-z0-9_.-]{0,62}$/

export const DEFAULT_MACHINE = 'default'

/** Gives the name back when a machine may be called so; usage Fault otherwise. The name is part of paths and context names. */
export function checkMachineName(name: string): string {
  if (NAME.test(name)) return name
  throw new Fault(`"${name}" is not a machine name.`, {
    exitCode: 2,
    hint: 'Use lower-case letters, digits, "_", "." and "-", at most 63, the first a letter or digit.'
  })
}

/** The name of the machine's docker context. */
export function contextName(machine: string): string {
  return machine === DEFAULT_MACHINE ? 'oriel' : `oriel-${machine}`
}

// sockaddr_un.sun_path holds 104 bytes on macOS and 108 on Linux, the NUL included.
const SOCKET_PATH_BYTES = process.platform === 'darwin' ? 103 : 107

/** All paths of a machine. Sockets move to a short private folder when the machine's own is too deep for them. */
export function machinePaths(name: string, env: NodeJS.ProcessEnv): MachinePaths {
  const home = orielHome(env)
  const folder = join(home, 'machines', checkMachineName(name))
  const sockets = fitsSocket(join(folder, 'docker.sock')) ? folder : shortFolder(folder, env)
  return {
    name,
    folder,
    spec: join(folder, 'machine.yaml'),
    state: join(folder, 'state.json'),
    agentConfig: join(folder, 'agent.json'),
    agentLog: join(folder, 'agent.log'),
    buildLog: join(folder, 'build.log'),
    agentSocket: join(sockets, 'agent.sock'),
    dockerSocket: join(sockets, 'docker.sock'),
    lock: join(home, 'locks', name)
  }
}

/** Lock of something that machines share: an engine, a golden image. No machine can have such a name. */
export function sharedLock(key: string, env: NodeJS.ProcessEnv): string {
  return join(orielHome(env), 'locks', `.shared-${shortHash(key)}`)
}

/** Where the driver keeps what belongs to a machine. */
export function placeOf(paths: MachinePaths, env: NodeJS.ProcessEnv): MachinePlace {
  return { home: orielHome(env), folder: paths.folder, socketFolder: dirname(paths.dockerSocket) }
}

/** True when a unix socket can be bound at this path on this system. */
export function fitsSocket(path: string): boolean {
  return Buffer.byteLength(path) <= SOCKET_PATH_BYTES
}

function shortFolder(folder: string, env: NodeJS.ProcessEnv): string {
  const id = shortHash(folder)
  const user = process.getuid?.() ?? 0
  for (const base of [env.XDG_RUNTIME_DIR, tmpdir(), '/tmp']) {
    if (base === undefined || base === '') continue
    const short = join(base, `oriel-${user}-${id}`)
    if (fitsSocket(join(short, 'docker.sock'))) return short
  }
  throw new Fault(`no folder is short enough for a socket of ${folder}.`, {
    hint: 'Set ORIEL_HOME to a shorter path, for example: export ORIEL_HOME=/tmp/oriel'
  })
}

// FNV-1a. It only has to tell folders apart, and node:crypto would cost `oriel status` some milliseconds.
function shortHash(text: string): string {
  let hash = 0xcbf29ce484222325n
  for (const byte of Buffer.from(text)) hash = BigInt.asUintN(64, (hash ^ BigInt(byte)) * 0x100000001b3n)
  return hash.toString(16)
}
