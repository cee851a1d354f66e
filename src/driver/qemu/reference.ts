import type { EngineReference, MachinePlace } from '#driver/driver.ts'
import { clientFolder } from '#pki/client-folder.ts'
import type { GuestAccess } from './guest.ts'
import { machineFiles } from './machine-files.ts'
import type { VmRecord } from './record.ts'

/** How a guest is reached by ssh. */
export function guestAccess(place: MachinePlace, record: VmRecord): GuestAccess {
  return { folder: machineFiles(place).ssh, port: record.ports.ssh }
}

/** How the engine is reached: a loopback port that leads to the guest's 2376, with mutual TLS. */
export function engineReference(place: MachinePlace, record: VmRecord): EngineReference {
  return { url: `tcp://127.0.0.1:${record.ports.engine}`, tlsFolder: clientFolder(machineFiles(place).pki) }
}
