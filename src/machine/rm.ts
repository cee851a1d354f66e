import { stopAgent } from '#agent/start.ts'
import { driverNamed } from '#driver/drivers.ts'
import { Fault, messageOf } from '#lib/fault.ts'
import { removeObjects } from './containers.ts'
import { dropContext } from './context.ts'
import { LOCK_MS, lockMachine, type MachineRequest } from './machine-lock.ts'
import { parseSpec, recordedEngine } from './spec.ts'
import { machineEngine } from './stop.ts'
import { absent, type Machine, openMachine, readSpecText, removeFolders } from './store.ts'

export interface RemoveRequest extends MachineRequest {
  /** Go on when the machine is absent, or when its engine is out of reach and its containers must stay there. */
  force?: boolean
  /** Remove the base images from the engine as well. */
  images?: boolean
}

/**
 * Removes a machine: its containers, volumes and networks on the engine, its agent, its context and its folder. The base
 * images stay unless `images`. Fault 3 when there is no such machine and not `force`.
 */
export async function remove(request: RemoveRequest): Promise<void> {
  if ((await openMachine(request.name, request.env)) === undefined) {
    if (request.force) return
    throw absent(request.name)
  }
  await lockMachine(request, 'rm', LOCK_MS, async () => {
    const machine = await openMachine(request.name, request.env)
    // Another `rm` was faster.
    if (machine === undefined) return
    await removeFromEngine(machine, request)
    await stopAgent(machine.paths.agentSocket)
    await dropContext({ name: request.name, sockets: [machine.paths.dockerSocket] }, request.env)
    await removeFolders(machine.paths)
  })
}

async function removeFromEngine(machine: Machine, request: RemoveRequest): Promise<void> {
  const { name, report, env, signal } = request
  report({ type: 'stage', stage: 'containers', state: 'started' })
  try {
    const engine = await machineEngine(machine)
    if (engine !== undefined) {
      const { containers, volumes, networks } = await removeObjects(engine, name)
      const detail = `removed ${containers} containers, ${volumes} volumes, ${networks} networks`
      report({ type: 'stage', stage: 'containers', state: 'done', detail })
    } else report({ type: 'stage', stage: 'containers', state: 'done', detail: 'none' })
    const text = await readSpecText(machine.paths)
    const spec = text === undefined ? undefined : parseSpec(text, machine.paths.spec)
    if (request.images && spec?.engine !== undefined) {
      const driver = await driverNamed(spec.driver)
      const removed = await driver.removeImages(recordedEngine(spec.engine), { machine: name, env, signal, report })
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
