import { agentStatus } from '#agent/control.ts'
import { stopAgent } from '#agent/start.ts'
import { Engine } from '#docker/engine.ts'
import { endpointOf } from '#driver/driver.ts'
import { messageOf } from '#lib/fault.ts'
import { stopContainers } from './containers.ts'
import { LOCK_MS, lockMachine, type MachineRequest } from './machine-lock.ts'
import { parseSpec, recordedEngine } from './spec.ts'
import { writeState } from './state-file.ts'
import { existingMachine, type Machine, readSpecText } from './store.ts'

/** Stops the machine's containers and its host agent; its context and containers stay. Fault 3 when there is no such machine. */
export async function stop(request: MachineRequest): Promise<void> {
  await existingMachine(request.name, request.env)
  await lockMachine(request, 'stop', LOCK_MS, signal => stopLocked({ ...request, signal }))
}

/** As `stop`, for a caller that holds the lock. */
export async function stopLocked(request: MachineRequest): Promise<void> {
  const machine = await existingMachine(request.name, request.env)
  const { paths, state } = machine
  if (state !== undefined) await writeState(paths, { ...state, transition: 'stopping' })
  let resume = state?.resume
  try {
    request.report({ type: 'stage', stage: 'containers', state: 'started' })
    // A machine that is down has nothing running, and the list of what to start again is from when it was up.
    if (state?.wanted === 'running') resume = await endContainers(machine, request)
    request.report({ type: 'stage', stage: 'containers', state: 'done', detail: 'stopped' })
    request.report({ type: 'stage', stage: 'agent', state: 'started' })
    const was = await stopAgent(paths.agentSocket)
    request.report({ type: 'stage', stage: 'agent', state: 'done', detail: was ? 'stopped' : 'was not running' })
  } finally {
    const stopped = (await agentStatus(paths.agentSocket)) === undefined
    if (state !== undefined) {
      const { resume: _, ...rest } = state
      await writeState(paths, {
        ...rest,
        wanted: stopped ? 'stopped' : rest.wanted,
        ...(resume === undefined ? {} : { resume })
      })
    }
  }
}

async function endContainers(machine: Machine, request: MachineRequest): Promise<string[] | undefined> {
  try {
    const engine = await machineEngine(machine)
    return engine === undefined ? undefined : await stopContainers(engine, request.name)
  } catch (error) {
    // An engine that is gone runs nothing; the agent has to end all the same.
    request.report({ type: 'notice', text: `Containers could not be stopped: ${messageOf(error)}` })
    return undefined
  }
}

/** The engine that machine.yaml records; undefined for a machine that never had one. */
export async function machineEngine({ paths }: Machine): Promise<Engine | undefined> {
  const text = await readSpecText(paths)
  const spec = text === undefined ? undefined : parseSpec(text, paths.spec)
  return spec?.engine === undefined ? undefined : new Engine(await endpointOf(recordedEngine(spec.engine)))
}
