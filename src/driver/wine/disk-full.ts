import { Fault } from '#lib/fault.ts'

/** True for what an engine, apt or tar say when the disk is full. */
export function isDiskFull(text: string): boolean {
  return /no space left on device|you don't have enough free space/i.test(text)
}

/** `dataRoot` is the folder of the engine's data on its own host. */
export function diskFull(dataRoot: string): Fault {
  return new Fault(`the disk of the engine is full: no space left in ${dataRoot} for the Wine base.`, {
    exitCode: 4,
    hint: 'Free 2 GB there, for example with: docker system prune; then run oriel up again.'
  })
}
