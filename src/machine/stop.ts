import { agentStatus } from '#agent/control.ts'
import { Engine } from '#docker/engine.ts'
import { endpointOf, type VirtualMachine } from '#driver/driver.ts'
import { messageOf } from '#lib/fault.ts'
import { stopContainers } from './containers.ts'
import { LOCK_MS, lockMachine, type MachineRequest } from './machine-lock.ts'
import { placeOf } from './paths.ts'
import { loadSpec, type MachineSpec } from './spec.ts'
import { writeState } from './state-file.ts'
import { existingMachine, type Machine } from './store.ts'
import { asStage, isOn, machineWork } from './vm.ts'
import { WORLD } from './world.ts'

/**
 * Stops the machine: its containers and host agent, or its agent and guest. Its context and containers stay. Fault 3 when
 * there is no such machine.
 */
export async function stop(request: MachineRequest): Promise<void> {
  await existingMachine(request.name, request.env)
  await lockMachine(request, 'stop', LOCK_MS, signal => stopLocked({ ...request, signal }))
}

/** As `stop`, for a caller that holds the lock. */
export async function stopLocked(request: MachineRequest): Promise<void> {
  const machine = await existingMachine(request.name, request.env)
  const { paths, state } = machine
  const spec = await specToStop(machine, request)
  const vm = spec?.driver.vm
  if (state !== undefined) await writeState(paths, { ...state, transition: 'stopping' })
  let resume = state?.resume
  try {
    if (spec?.driver.sharedEngine !== undefined) {
      request.report({ type: 'stage', stage: 'containers', state: 'started' })
      // A machine that is down has nothing running, and the list of what to start again is from when it was up.
      if (state?.wanted === 'running') resume = await endContainers(machine, spec, request)
      request.report({ type: 'stage', stage: 'containers', state: 'done', detail: 'stopped' })
    }
    // Before the guest, which takes its engine along: nobody should be told of that as of a failure.
    await endAgent(machine, request)
    if (vm !== undefined) {
      await asStage(request, 'guest', async () => {
        // A suspended one stays so: `stop` is no order to lose its memory.
        if (!(await guestRuns(vm, machine, request))) return 'was not running'
        return vm.stop(spec?.settings, machineWork(machine, request))
      })
    }
  } finally {
    const up = (await agentStatus(paths.agentSocket)) !== undefined || (await guestRuns(vm, machine, request))
    if (state !== undefined) {
      const { resume: _, ...rest } = state
      await writeState(paths, {
        ...rest,
        wanted: up ? rest.wanted : 'stopped',
        ...(resume === undefined ? {} : { resume })
      })
    }
  }
}

// With a damaged machine.yaml the agent of a shared engine can end all the same; a guest cannot be shut down without it.
async function specToStop({ paths, state }: Machine, request: MachineRequest): Promise<MachineSpec | undefined> {
  const { driver } = request.world ?? WORLD
  try {
    return await loadSpec(paths, driver)
  } catch (error) {
    if (state === undefined || (await driver(state.driver)).vm !== undefined) throw error
    request.report({ type: 'notice', text: `Containers could not be stopped: ${messageOf(error)}` })
    return undefined
  }
}

/** Ends the host agent, and tells of it. */
export async function endAgent({ paths }: Machine, { report, world = WORLD }: MachineRequest): Promise<void> {
  report({ type: 'stage', stage: 'agent', state: 'started' })
  const was = await world.stopAgent(paths.agentSocket)
  report({ type: 'stage', stage: 'agent', state: 'done', detail: was ? 'stopped' : 'was not running' })
}

async function guestRuns(
  vm: VirtualMachine<unknown> | undefined,
  { paths }: Machine,
  { env }: MachineRequest
): Promise<boolean> {
  return isOn(await vm?.state(placeOf(paths, env)).catch(() => undefined))
}

async function endContainers(
  machine: Machine,
  spec: MachineSpec,
  request: MachineRequest
): Promise<string[] | undefined> {
  try {
    const engine = await machineEngine(machine, spec, request.env)
    return engine === undefined ? undefined : await stopContainers(engine, request.name)
  } catch (error) {
    // An engine that is gone runs nothing; the agent has to end all the same.
    request.report({ type: 'notice', text: `Containers could not be stopped: ${messageOf(error)}` })
    return undefined
  }
}

/** The engine of a machine, unasked; undefined for a machine that never had one. */
export async function machineEngine(
  { paths }: Machine,
  { driver, settings }: MachineSpec,
  env: NodeJS.ProcessEnv
): Promise<Engine | undefined> {
  const reference = await driver.reference(settings, placeOf(paths, env))
  return reference === undefined ? undefined : new Engine(await endpointOf(reference))
}
