import type { Forward, MachineWork } from '#driver/driver.ts'
import { Fault, messageOf } from '#lib/fault.ts'
import { vmGone, withQmp } from './boot.ts'
import { removeForward as closePort, addForward as openPort } from './devices.ts'
import { machineFiles } from './machine-files.ts'
import { allocatePorts, isFree, portHolder } from './ports.ts'
import { changeRecord, madeRecord } from './record.ts'

/**
 * Opens a loopback port of the host that leads to a port of the guest; kept over restarts. Without `hostPort` it is the
 * guest's own number when that can be had, else any free one.
 */
export async function addForward(asked: { hostPort?: number; guestPort: number }, work: MachineWork): Promise<Forward> {
  const { place, machine } = work
  const files = machineFiles(place)
  const { guestPort } = asked
  const { forwards } = await madeRecord(place, machine)
  const hostPort =
    asked.hostPort ?? forwards.find(each => each.guestPort === guestPort)?.hostPort ?? (await freeNear(guestPort))
  const forward: Forward = { hostPort, guestPort }
  for (const port of [hostPort, guestPort]) checkPort(port)
  const taken = forwards.find(each => each.hostPort === forward.hostPort)
  if (taken?.guestPort === forward.guestPort) return taken
  if (taken !== undefined) {
    throw new Fault(`port ${taken.hostPort} leads to port ${taken.guestPort} of machine "${machine}" already.`, {
      exitCode: 3,
      hint: `Close it first: oriel forward ${machine} --rm ${taken.hostPort}`
    })
  }
  if (!(await vmGone(files.qmp))) {
    await withQmp(files.qmp, qmp => openPort(qmp, hostPort, guestPort)).catch(async error => {
      throw await cannotOpen(forward, messageOf(error))
    })
  }
  await changeRecord(place, former => ({ ...former, forwards: [...former.forwards, forward] }))
  return forward
}

export async function removeForward(hostPort: number, work: MachineWork): Promise<void> {
  const { place, machine } = work
  const files = machineFiles(place)
  const { forwards } = await madeRecord(place, machine)
  if (!forwards.some(each => each.hostPort === hostPort)) {
    throw new Fault(`port ${hostPort} does not lead to machine "${machine}".`, {
      exitCode: 3,
      hint: `See those that do: oriel forward ls ${machine}`
    })
  }
  if (!(await vmGone(files.qmp))) {
    await withQmp(files.qmp, qmp => closePort(qmp, hostPort))
  }
  await changeRecord(place, former => ({
    ...former,
    forwards: former.forwards.filter(each => each.hostPort !== hostPort)
  }))
}

async function freeNear(port: number): Promise<number> {
  if (port >= 1024 && (await isFree(port))) return port
  const [free = 0] = await allocatePorts(1)
  return free
}

function checkPort(port: number): void {
  if (Number.isInteger(port) && port >= 1 && port <= 65_535) return
  throw new Fault(`${port} is not a port.`, { exitCode: 2, hint: 'Ports are 1 to 65535: oriel forward NAME 8080:80' })
}

async function cannotOpen({ hostPort, guestPort }: Forward, said: string): Promise<Fault> {
  const holder = await portHolder(hostPort).catch(messageOf)
  const why =
    hostPort < 1024 && process.getuid?.() !== 0 ? 'ports below 1024 are for root' : (holder ?? said.split('\n')[0])
  return new Fault(`port ${hostPort} on this host cannot be opened: ${why}`, {
    hint: `Choose another: oriel forward NAME ${hostPort + 8000 > 65_535 ? 8080 : hostPort + 8000}:${guestPort}`
  })
}
