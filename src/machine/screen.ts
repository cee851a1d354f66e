import { resolve } from 'node:path'
import { run } from '#lib/child-process.ts'
import type { MachineRequest } from './machine-lock.ts'
import { openVm } from './vm.ts'

// Neither takes the machine's lock: a guest that hangs is looked at while `oriel up` still waits for it.

/** Writes a PNG of the guest's screen, and gives its path. Fault 3 when the machine does not run. */
export async function screenshot(request: MachineRequest, file: string | undefined): Promise<string> {
  const { vm, work } = await openVm(request)
  const path = resolve(file ?? `${request.name}-${new Date().toISOString().replace(/[:.]/g, '-')}.png`)
  await vm.screenshot(path, work)
  return path
}

/** Where a VNC client finds the guest's screen, with a password that is new. Fault 3 when the machine does not run. */
export async function view(request: MachineRequest): Promise<{ host: string; port: number; password: string }> {
  const { vm, work } = await openVm(request)
  return vm.view(work)
}

/** Opens the screen where the system has a VNC client of its own, which is on a Mac; elsewhere does nothing. */
export async function openScreen(screen: { host: string; port: number }, env: NodeJS.ProcessEnv): Promise<void> {
  if (process.platform === 'darwin')
    await run(['open', `vnc://${screen.host}:${screen.port}`], { env, timeoutMs: 10_000 })
}
