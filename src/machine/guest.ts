import { Fault } from '#lib/fault.ts'
import type { MachineRequest } from './machine-lock.ts'
import { asStage, withVm } from './vm.ts'

/** Renews the evaluation period of the guest's Windows. Fault 3 when the machine does not run or it cannot be renewed. */
export async function rearm(request: MachineRequest): Promise<void> {
  await withVm(request, 'rearm', async ({ vm, settings, work }) => {
    await asStage(request, 'rearm', () => vm.rearm(settings, work))
  })
}

/** Replaces the guest's Docker Engine by another version. Fault 2 for what is no version, 3 when the machine does not run. */
export async function upgradeEngine(request: MachineRequest, version: string): Promise<void> {
  if (!/^\d+\.\d+(\.\d+)?(-[\w.]+)?$/.test(version)) {
    throw new Fault(`"${version}" is not a version of Docker Engine.`, {
      exitCode: 2,
      hint: `For example: oriel upgrade ${request.name} --engine 29.7.2`
    })
  }
  await withVm(request, 'upgrade', async ({ vm, settings, work }) => {
    await asStage(request, 'upgrade', () => vm.upgrade(version, settings, work))
  })
}
