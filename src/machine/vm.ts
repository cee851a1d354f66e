import type { Driver, MachineWork, VirtualMachine } from '#driver/driver.ts'
import { Fault } from '#lib/fault.ts'
import { LOCK_MS, lockMachine, type MachineRequest } from './machine-lock.ts'
import { placeOf } from './paths.ts'
import { loadSpec } from './spec.ts'
import { absent, existingMachine, type Machine } from './store.ts'
import { WORLD } from './world.ts'

export type VmState = Awaited<ReturnType<VirtualMachine<unknown>['state']>>

/** A machine that is a virtual one, and all that its driver's verbs want. */
export interface OpenVm {
  machine: Machine
  driver: Driver
  vm: VirtualMachine<unknown>
  settings: unknown
  work: MachineWork
}

/** What a driver's verbs are given of a machine. */
export function machineWork({ paths }: Machine, { name, env, signal, report }: MachineRequest): MachineWork {
  return { machine: name, env, signal, report, place: placeOf(paths, env) }
}

/** Opens a machine for a verb that changes nothing of it. Fault 3 when it is absent or its driver makes no virtual machines. */
export async function openVm(request: MachineRequest): Promise<OpenVm> {
  const { name, env, world = WORLD } = request
  const machine = await existingMachine(name, env)
  const spec = await loadSpec(machine.paths, world.driver)
  if (spec === undefined) throw absent(name)
  const { driver, settings } = spec
  if (driver.vm === undefined) {
    throw new Fault(
      `machine "${name}" has no virtual machine: the ${driver.name} driver runs its programs on a Linux engine.`,
      { exitCode: 3, hint: 'A machine with one is made by: oriel up NAME --driver qemu' }
    )
  }
  return { machine, driver, vm: driver.vm, settings, work: machineWork(machine, request) }
}

/** As `openVm`, with the machine's lock held while `work` goes on. */
export async function withVm<T>(request: MachineRequest, verb: string, work: (open: OpenVm) => Promise<T>): Promise<T> {
  // Said before anybody waits for the lock.
  await openVm(request)
  return lockMachine(request, verb, LOCK_MS, async signal => work(await openVm({ ...request, signal })))
}

/** Whether a virtual machine in this state has a process. */
export function isOn(state: VmState | undefined): boolean {
  return state === 'running' || state === 'paused'
}

/** Runs what a driver does in one go as a stage, so that a person sees it begin and end. */
export async function asStage(request: MachineRequest, stage: string, run: () => Promise<string>): Promise<string> {
  request.report({ type: 'stage', stage, state: 'started' })
  try {
    const detail = await run()
    request.report({ type: 'stage', stage, state: 'done', detail })
    return detail
  } catch (error) {
    request.report({ type: 'stage', stage, state: 'failed' })
    throw error
  }
}
