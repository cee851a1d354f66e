import { startAgent } from './host-agent.ts'
import type { MachineRequest } from './machine-lock.ts'
import { placeOf } from './paths.ts'
import { writeState } from './state-file.ts'
import { endAgent } from './stop.ts'
import { asStage, isOn, type OpenVm, withVm } from './vm.ts'

/**
 * Writes the running machine's memory to its disk and ends it; the next `up` goes on from there. Fault 3 when it does not run,
 * or cannot be suspended: then it goes on running.
 */
export async function suspend(request: MachineRequest): Promise<void> {
  await withVm(request, 'suspend', async open => {
    const { vm, settings, work } = open
    const held = { ...request, signal: work.signal }
    await takeDown(open, held, () => asStage(held, 'suspend', () => vm.suspend(settings, work)))
  })
}

/** Gives up the saved memory of a suspended machine: its next start is one from its disk. Fault 3 when it is not suspended. */
export async function discardMemory(request: MachineRequest): Promise<void> {
  await withVm(request, 'suspend', async ({ vm, work }) => {
    await asStage(request, 'discard', () => vm.discard(work))
  })
}

/**
 * Does something that ends the guest: without the host agent, so that nobody takes it for a failure of the engine, and with
 * state.json true after it. When the guest goes on running all the same, so does the agent.
 */
export async function takeDown<T>(open: OpenVm, request: MachineRequest, work: () => Promise<T>): Promise<T> {
  const { machine, driver, vm, settings } = open
  const { paths, state } = machine
  const place = placeOf(paths, request.env)
  if (state !== undefined) await writeState(paths, { ...state, transition: 'stopping' })
  let down = false
  try {
    await endAgent(machine, request)
    const result = await work()
    down = true
    return result
  } finally {
    const runs = !down && isOn(await vm.state(place).catch(() => undefined))
    if (runs && state?.wanted === 'running') {
      const reference = await driver.reference(settings, place)
      // Ctrl-C must not keep the machine from being whole again.
      const again = { ...request, signal: AbortSignal.timeout(AGENT_MS) }
      if (reference !== undefined) await startAgent(again, paths, driver.name, reference).catch(() => undefined)
    }
    if (state !== undefined) await writeState(paths, { ...state, wanted: runs ? state.wanted : 'stopped' })
  }
}

const AGENT_MS = 20_000
