import { createHash } from 'node:crypto'
import { Fault } from '#lib/fault.ts'

// The limit of NetBIOS. Windows Setup restarts for ever when it is given a longer one.
const LENGTH = 15

/**
 * The name that the guest of a machine gives itself: `ORIEL-WIN` for `win`. A name that is too long or has a character that
 * Windows does not allow is cut, and gets four digits of its own: `ORIEL-BUIL-7C41`.
 */
export function computerName(machine: string): string {
  const wanted = `ORIEL-${machine.toUpperCase()}`
  const allowed = wanted.replace(/[^A-Z0-9-]+/g, '-').replace(/-+$/, '')
  if (allowed === wanted && wanted.length <= LENGTH) return wanted
  const digits = createHash('sha256').update(machine).digest('hex').slice(0, 4).toUpperCase()
  return `${allowed.slice(0, LENGTH - 5).replace(/-+$/, '')}-${digits}`
}

/** Fault 2 when Windows does not take the name: letters, digits and inner hyphens, 15 at most, not only digits. */
export function checkComputerName(name: string): void {
  if (name.length > LENGTH || !/^[a-z0-9]([a-z0-9-]*[a-z0-9])?$/i.test(name) || /^[0-9]+$/.test(name)) {
    throw new Fault(
      `${JSON.stringify(name)} cannot be the name of a Windows computer: at most ${LENGTH} letters, digits and hyphens, not only digits.`,
      { exitCode: 2 }
    )
  }
}
