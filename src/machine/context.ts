import {
  currentContextName,
  dockerConfigFolder,
  ownedBy,
  readContext,
  removeContext,
  useContext,
  writeContext
} from '#docker/context-store.ts'
import { Fault } from '#lib/fault.ts'
import { contextName } from './paths.ts'

const OWNER = 'dev.oriel.machine'

/** Fault 3 when the machine's context name is taken by a context that is not this machine's. */
export async function checkContext(machine: string, env: NodeJS.ProcessEnv): Promise<void> {
  const name = contextName(machine)
  const present = await readContext(dockerConfigFolder(env), name)
  if (present === undefined || ownedBy(present) === machine) return
  throw new Fault(`there is a docker context "${name}" that Oriel did not make; it stays as it is.`, {
    exitCode: 3,
    hint: `Remove it (docker context rm ${name}), or give the machine another name: oriel up NAME`
  })
}

/** Makes or corrects the machine's docker context. Gives words on what was done. Fault 3 for a foreign context. */
export async function ensureContext(machine: string, socket: string, env: NodeJS.ProcessEnv): Promise<string> {
  await checkContext(machine, env)
  const folder = dockerConfigFolder(env)
  const name = contextName(machine)
  const host = `unix://${socket}`
  const present = await readContext(folder, name)
  if (present?.host === host) return `${name}, present`
  const description = `Windows containers (Oriel machine ${machine})`
  await writeContext(folder, { name, host, description, metadata: { [OWNER]: machine } })
  return present === undefined ? `${name}, made` : `${name}, corrected`
}

/** Makes the machine's context the docker client's current one. */
export async function switchContext(machine: string, env: NodeJS.ProcessEnv): Promise<void> {
  await useContext(dockerConfigFolder(env), contextName(machine))
}

/** Removes the machine's context, never another's; the client goes back to its default when it was the current one. */
export async function dropContext(machine: string, env: NodeJS.ProcessEnv): Promise<void> {
  const folder = dockerConfigFolder(env)
  const name = contextName(machine)
  const present = await readContext(folder, name)
  if (present === undefined || ownedBy(present) !== machine) return
  const { DOCKER_CONTEXT: _, ...rest } = env
  if ((await currentContextName(folder, rest)) === name) await useContext(folder, 'default')
  await removeContext(folder, name)
}

/** What a person should know about the context: missing, somebody else's, or pointing elsewhere. Undefined when it is sound. */
export async function contextTrouble(
  machine: string,
  socket: string,
  env: NodeJS.ProcessEnv
): Promise<string | undefined> {
  const name = contextName(machine)
  const present = await readContext(dockerConfigFolder(env), name)
  if (present === undefined) return `the docker context "${name}" is missing`
  if (ownedBy(present) !== machine) return `the docker context "${name}" is not Oriel's`
  return present.host === `unix://${socket}` ? undefined : `the docker context "${name}" leads to ${present.host}`
}
