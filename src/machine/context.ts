import { stat } from 'node:fs/promises'
import {
  dockerConfigDir,
  ownedBy,
  readContext,
  removeContext,
  useContext,
  writeContext
} from '#docker/context-store.ts'
import { Fault } from '#lib/fault.ts'
import { contextName } from './paths.ts'

/** A machine, as far as its context matters. `sockets` are all those that it has, or had when it was last up. */
export interface ContextOwner {
  name: string
  sockets: readonly string[]
}

/**
 * Fault 3 when the name of the machine's context is taken: by a context that Oriel did not make, or by that of a living
 * machine of the same name in another ORIEL_HOME.
 */
export async function checkContext(machine: ContextOwner, env: NodeJS.ProcessEnv): Promise<void> {
  const name = contextName(machine.name)
  const present = await readContext(dockerConfigDir(env), name)
  if (present === undefined) return
  const hint = `Remove it (docker context rm ${name}), or give the machine another name: oriel up NAME`
  if (ownedBy(present) !== machine.name) {
    throw new Fault(`there is a docker context "${name}" that Oriel did not make; it stays as it is.`, {
      exitCode: 3,
      hint
    })
  }
  const socket = present.host.replace(/^unix:\/\//, '')
  if (!machine.sockets.includes(socket) && (await isSocket(socket))) {
    throw new Fault(`the docker context "${name}" is that of another machine "${machine.name}", at ${socket}.`, {
      exitCode: 3,
      hint
    })
  }
}

/** Makes or corrects the machine's docker context. Gives words on what was done. Fault 3 as checkContext. */
export async function ensureContext(machine: ContextOwner, socket: string, env: NodeJS.ProcessEnv): Promise<string> {
  await checkContext(machine, env)
  const folder = dockerConfigDir(env)
  const name = contextName(machine.name)
  const host = `unix://${socket}`
  const present = await readContext(folder, name)
  if (present?.host === host) return `${name}, present`
  const description = `Windows containers (Oriel machine ${machine.name})`
  await writeContext(folder, { name, host, description, metadata: { oriel: { machine: machine.name } } })
  return present === undefined ? `${name}, made` : `${name}, corrected`
}

/** Makes the machine's context the docker client's current one. */
export async function switchContext(machine: string, env: NodeJS.ProcessEnv): Promise<void> {
  await useContext(dockerConfigDir(env), contextName(machine))
}

/** Removes the machine's context; one that leads elsewhere or that Oriel did not make stays. */
export async function dropContext(machine: ContextOwner, env: NodeJS.ProcessEnv): Promise<void> {
  const folder = dockerConfigDir(env)
  const name = contextName(machine.name)
  const present = await readContext(folder, name)
  if (present === undefined || ownedBy(present) !== machine.name) return
  if (machine.sockets.some(socket => present.host === `unix://${socket}`)) await removeContext(folder, name)
}

/** What a person should know about the context: missing, somebody else's, or pointing elsewhere. Undefined when it is sound. */
export async function contextTrouble(
  machine: string,
  socket: string,
  env: NodeJS.ProcessEnv
): Promise<string | undefined> {
  const name = contextName(machine)
  const present = await readContext(dockerConfigDir(env), name)
  if (present === undefined) return `the docker context "${name}" is missing`
  if (ownedBy(present) !== machine) return `the docker context "${name}" is not Oriel's`
  return present.host === `unix://${socket}` ? undefined : `the docker context "${name}" leads to ${present.host}`
}

function isSocket(path: string): Promise<boolean> {
  return stat(path).then(
    found => found.isSocket(),
    () => false
  )
}
