import { LOCK_MS, lockMachine, type MachineRequest } from './machine-lock.ts'
import { stopLocked } from './stop.ts'
import { existingMachine } from './store.ts'
import { type UpResult, upLocked } from './up.ts'

/** Stops a machine and brings it up again under one lock. Fault 3 when there is no such machine. */
export async function restart(request: MachineRequest): Promise<UpResult> {
  await existingMachine(request.name, request.env)
  return lockMachine(request, 'restart', LOCK_MS, async signal => {
    await stopLocked({ ...request, signal })
    return upLocked({ ...request, signal })
  })
}
