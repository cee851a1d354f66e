import { lstat, readdir } from 'node:fs/promises'
import { join } from 'node:path'
import type { VirtualMachine } from '#driver/driver.ts'
import { Fault, messageOf } from '#lib/fault.ts'
import { formatBytes } from '#lib/size.ts'
import { removeObjects } from './containers.ts'
import { dropContext } from './context.ts'
import { LOCK_MS, lockMachine, type MachineRequest } from './machine-lock.ts'
import { placeOf } from './paths.ts'
import { loadSpec } from './spec.ts'
import { machineEngine } from './stop.ts'
import { absent, existingMachine, type Machine, openMachine, removeFolders } from './store.ts'
import { WORLD, type World } from './world.ts'

export interface RemoveRequest extends MachineRequest {
  /** Go on when the machine is absent, or when its engine is out of reach and its containers must stay there. */
  force?: boolean
  /** Remove the base images from the engine as well. */
  images?: boolean
}

/**
 * Removes a machine: its containers, volumes and networks on a shared engine, or its virtual machine with the disks; its
 * agent, its context and its folder. Base images stay unless `images`. Fault 3 when there is no such machine and not `force`.
 */
export async function remove(request: RemoveRequest): Promise<void> {
  const { name, env, world = WORLD } = request
  if ((await openMachine(name, env)) === undefined) {
    if (request.force) return
    throw absent(name)
  }
  await lockMachine(request, 'rm', LOCK_MS, async () => {
    const machine = await openMachine(name, env)
    // Another `rm` was faster.
    if (machine === undefined) return
    const vm = await virtualMachine(machine, world, request.force === true)
    if (vm === undefined) await removeFromEngine(machine, request)
    await world.stopAgent(machine.paths.agentSocket)
    if (vm !== undefined) await vm.remove(placeOf(machine.paths, env))
    await dropContext({ name, sockets: [machine.paths.dockerSocket] }, env)
    await removeFolders(machine.paths)
  })
}

/** What a person is asked before the machine is removed. Fault 3 when there is none. */
export async function removalQuestion(name: string, env: NodeJS.ProcessEnv, world: World = WORLD): Promise<string> {
  const machine = await existingMachine(name, env)
  const vm = await virtualMachine(machine, world, true)
  if (vm === undefined) return `Remove machine "${name}" with all its containers and volumes?`
  return `Remove machine "${name}" with its disk (${formatBytes(await allocatedBytes(machine.paths.folder))})?`
}

/** By the recorded state, so that a machine whose machine.yaml is damaged can be removed with its disks. */
async function virtualMachine(
  { paths, state }: Machine,
  world: World,
  force: boolean
): Promise<VirtualMachine<unknown> | undefined> {
  try {
    return state === undefined
      ? (await loadSpec(paths, world.driver))?.driver.vm
      : (await world.driver(state.driver)).vm
  } catch (error) {
    if (!force) throw error
    return undefined
  }
}

// Blocks rather than sizes: a disk image is sparse.
async function allocatedBytes(folder: string): Promise<number> {
  const entries = await readdir(folder, { withFileTypes: true }).catch(() => [])
  const sizes = entries.map(async entry => {
    const path = join(folder, entry.name)
    if (entry.isDirectory()) return allocatedBytes(path)
    return lstat(path).then(
      ({ blocks }) => blocks * 512,
      () => 0
    )
  })
  return (await Promise.all(sizes)).reduce((sum, size) => sum + size, 0)
}

async function removeFromEngine(machine: Machine, request: RemoveRequest): Promise<void> {
  const { name, report, env, signal, world = WORLD } = request
  report({ type: 'stage', stage: 'containers', state: 'started' })
  try {
    const spec = await loadSpec(machine.paths, world.driver)
    const engine = spec === undefined ? undefined : await machineEngine(machine, spec, env)
    if (engine !== undefined) {
      const { containers, volumes, networks } = await removeObjects(engine, name)
      const detail = `removed ${containers} containers, ${volumes} volumes, ${networks} networks`
      report({ type: 'stage', stage: 'containers', state: 'done', detail })
    } else report({ type: 'stage', stage: 'containers', state: 'done', detail: 'none' })
    const reference = await spec?.driver.reference(spec.settings, placeOf(machine.paths, env))
    const shared = spec?.driver.sharedEngine
    if (request.images && reference !== undefined && shared !== undefined) {
      const removed = await shared.removeImages(reference, { machine: name, env, signal, report })
      report({
        type: 'notice',
        text: removed.length === 0 ? 'No base image was removed.' : `Removed ${removed.join(', ')}.`
      })
    }
  } catch (error) {
    if (!request.force) {
      throw new Fault(`the containers of machine "${name}" cannot be removed: ${messageOf(error)}`, {
        exitCode: 3,
        hint: `Start its engine, or leave them there: oriel rm --force ${name}`,
        cause: error
      })
    }
    report({ type: 'notice', text: `Containers, volumes and networks stay on the engine: ${messageOf(error)}` })
  }
}
