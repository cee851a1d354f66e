import { Fault } from '#lib/fault.ts'
import type { UpOptions } from './driver.ts'

/** How a person types each option. */
const FLAGS: Record<keyof UpOptions, string> = {
  engine: '--engine',
  windows: '--windows',
  edition: '--edition',
  iso: '--iso',
  sha256: '--sha256',
  cpus: '--cpus',
  memory: '--memory',
  disk: '--disk',
  isolation: '--isolation',
  accelerator: '--accel',
  locale: '--locale',
  keyboard: '--keyboard',
  timeZone: '--time-zone',
  provision: '--provision',
  engineArchive: '--engine-archive'
}

/** Fault 2 when an option was given that is none of `known`, the options of this driver. */
export function refuseOthers(driver: string, options: UpOptions, known: readonly (keyof UpOptions)[]): void {
  const strange = given(options).filter(option => !known.includes(option))
  if (strange.length === 0) return
  const [first] = strange
  throw new Fault(`the ${driver} driver has no ${strange.map(option => FLAGS[option]).join(', ')}.`, {
    exitCode: 2,
    hint:
      first === 'engine'
        ? 'It makes its own engine. On a Linux engine that is there already: oriel up NAME --driver wine --engine URL'
        : `It has: ${known.map(option => FLAGS[option]).join(', ')}. A Windows machine of its own: oriel up NAME --driver qemu`
  })
}

/** How a person types an option. */
export function flagOf(option: keyof UpOptions): string {
  return FLAGS[option]
}

function given(options: UpOptions): (keyof UpOptions)[] {
  return (Object.keys(FLAGS) as (keyof UpOptions)[]).filter(option => options[option] !== undefined)
}
