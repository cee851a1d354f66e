import type { Forward } from '#driver/driver.ts'
import { Fault } from '#lib/fault.ts'
import type { MachineRequest } from './machine-lock.ts'
import { openVm, withVm } from './vm.ts'

/** Opens a loopback port of the host that leads to a port of the guest. Without `hostPort` a free one is chosen. */
export async function addForward(
  request: MachineRequest,
  forward: { hostPort?: number; guestPort: number }
): Promise<Forward> {
  return withVm(request, 'forward', ({ vm, work }) => vm.forwards.add(forward, work))
}

/** Closes a port that `addForward` opened. Fault 3 when there is none. */
export async function removeForward(request: MachineRequest, hostPort: number): Promise<void> {
  await withVm(request, 'forward', async ({ vm, work }) => {
    const open = await vm.forwards.list(work.place)
    if (!open.some(forward => forward.hostPort === hostPort)) {
      throw new Fault(`port ${hostPort} is not forwarded to machine "${request.name}".`, {
        exitCode: 3,
        hint: `See those that are: oriel forward ls ${request.name}`
      })
    }
    await vm.forwards.remove(hostPort, work)
  })
}

/** The ports that are open, by number. */
export async function listForwards(request: MachineRequest): Promise<Forward[]> {
  const { vm, work } = await openVm(request)
  return (await vm.forwards.list(work.place)).sort((a, b) => a.hostPort - b.hostPort)
}

/** Reads `[HOSTPORT:]GUESTPORT`; undefined for what is not of that form. Fault 2 for a number that is no port. */
export function parseForward(text: string): { hostPort?: number; guestPort: number } | undefined {
  const [, host, guest] = /^(?:(\d+):)?(\d+)$/.exec(text) ?? []
  if (guest === undefined) return undefined
  const guestPort = parsePort(guest)
  return host === undefined ? { guestPort } : { hostPort: parsePort(host), guestPort }
}

/** Fault 2 for what is no number of a port. */
export function parsePort(text: string): number {
  const port = /^\d{1,5}$/.test(text) ? Number(text) : 0
  if (port >= 1 && port <= 65_535) return port
  throw new Fault(`"${text}" is not a port.`, { exitCode: 2, hint: 'A port is a number from 1 to 65535.' })
}
