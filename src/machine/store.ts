import { mkdir, readdir, readFile, rm, stat } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { Fault } from '#lib/fault.ts'
import { type MachinePaths, machinePaths, machinesFolder } from './paths.ts'
import { type MachineState, readState } from './state.ts'

/** What is known of a machine from its folder. */
export interface Machine {
  paths: MachinePaths
  state: MachineState | undefined
}

/**
 * Opens a machine; undefined when there is none of this name. Its sockets are where they were last put, even when this
 * process would choose another place (XDG_RUNTIME_DIR differs between a terminal and a cron job).
 */
export async function openMachine(name: string, env: NodeJS.ProcessEnv): Promise<Machine | undefined> {
  const paths = machinePaths(name, env)
  const state = await readState(paths.state)
  if (state === undefined && !(await exists(paths.spec))) return undefined
  if (state === undefined) return { paths, state }
  const sockets = dirname(state.socket)
  return { paths: { ...paths, agentSocket: join(sockets, 'agent.sock'), dockerSocket: state.socket }, state }
}

/** As openMachine; Fault 3 when there is none. */
export async function existingMachine(name: string, env: NodeJS.ProcessEnv): Promise<Machine> {
  const machine = await openMachine(name, env)
  if (machine === undefined) throw absent(name)
  return machine
}

export function absent(name: string): Fault {
  return new Fault(`there is no machine called "${name}".`, {
    exitCode: 3,
    hint: `Make it with: oriel up${name === 'default' ? '' : ` ${name}`}; see those that exist with: oriel ls`
  })
}

/** Names of all machines, sorted. */
export async function machineNames(env: NodeJS.ProcessEnv): Promise<string[]> {
  const entries = await readdir(machinesFolder(env), { withFileTypes: true }).catch(() => [])
  return entries
    .filter(entry => entry.isDirectory())
    .map(entry => entry.name)
    .sort()
}

/** Makes the machine's folder and that of its sockets, private to their owner. */
export async function makeFolders(paths: MachinePaths): Promise<void> {
  for (const folder of [paths.folder, dirname(paths.dockerSocket)]) {
    await mkdir(folder, { recursive: true, mode: 0o700 })
    // In a shared folder such as /tmp somebody else may have made it first, and would see all traffic.
    const { uid, mode } = await stat(folder)
    if (uid !== process.getuid?.() || (mode & 0o022) !== 0) {
      throw new Fault(`${folder} belongs to somebody else, or others may write to it.`, {
        hint: `Remove it or correct it (chmod 700 ${folder}).`
      })
    }
  }
}

/** Removes everything of the machine from the disk. */
export async function removeFolders(paths: MachinePaths): Promise<void> {
  const sockets = dirname(paths.dockerSocket)
  await rm(paths.folder, { recursive: true, force: true })
  if (sockets !== paths.folder) await rm(sockets, { recursive: true, force: true })
}

export async function readSpecText(paths: MachinePaths): Promise<string | undefined> {
  return readFile(paths.spec, 'utf8').catch(() => undefined)
}

function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false
  )
}
