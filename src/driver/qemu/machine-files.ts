import { join } from 'node:path'
import type { MachinePlace } from '#driver/driver.ts'

/** Every name that a virtual machine has on disk. */
export interface MachineFiles {
  /** All of it; `rm` removes this folder. */
  folder: string
  /** Overlay on the golden image. */
  disk: string
  /** The firmware's variables, qcow2 since internal snapshots need it. */
  vars: string
  /** What the guest wrote to its first serial port. */
  com1: string
  /** What QEMU itself said. */
  log: string
  /** What Oriel knows of the machine (record.ts). */
  record: string
  /** What the guest last told of itself. */
  facts: string
  /** Password of the guest's Administrator. */
  password: string
  /** The disc that the guest applies at its first start; there only while it is needed. */
  disc: string
  screenshot: string
  pki: string
  ssh: string
  /** QEMU's control socket (0600). */
  qmp: string
}

export function machineFiles(place: MachinePlace): MachineFiles {
  const folder = join(place.folder, 'vm')
  return {
    folder,
    disk: join(folder, 'disk.qcow2'),
    vars: join(folder, 'vars.qcow2'),
    com1: join(folder, 'com1.log'),
    log: join(folder, 'qemu.log'),
    record: join(folder, 'vm.json'),
    facts: join(folder, 'facts.json'),
    password: join(folder, 'password'),
    disc: join(folder, 'machine.iso'),
    screenshot: join(folder, 'screenshot.png'),
    pki: join(place.folder, 'pki'),
    ssh: join(place.folder, 'ssh'),
    qmp: join(place.socketFolder, 'qmp.sock')
  }
}
