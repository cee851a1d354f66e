import { Fault } from '#lib/fault.ts'
import type { Driver, VirtualMachine } from './driver.ts'

/** Drivers that this version has. */
export const DRIVERS = ['wine', 'qemu'] as const

/** Named in the documentation and not built in yet: a person who asks for one deserves a better answer than "unknown". */
const PLANNED = ['fusion', 'remote']

/** The driver of this name. Fault 4 for one that a later version brings, 2 for an unknown name. */
export async function driverNamed(name: string): Promise<Driver> {
  if (name === 'wine') return (await import('./wine/wine.ts')).wineDriver
  if (name === 'qemu') return (await import('./qemu/qemu.ts')).qemuDriver
  if (PLANNED.includes(name)) {
    throw new Fault(`the ${name} driver is not part of this version.`, {
      exitCode: 4,
      hint: `This version has: ${DRIVERS.join(', ')}.`
    })
  }
  throw new Fault(`there is no driver called "${name}".`, {
    exitCode: 2,
    hint: `This version has: ${DRIVERS.join(', ')}.`
  })
}

/** What a driver can do with its virtual machines. Undefined, and without loading the driver's code, when it has none. */
export async function virtualMachineOf(name: string): Promise<VirtualMachine<unknown> | undefined> {
  return name === 'wine' ? undefined : (await driverNamed(name)).vm
}
