import { writeFileAtomic } from '#lib/atomic-file.ts'
import type { MachinePaths } from './paths.ts'
import type { MachineState } from './state.ts'

/** Writes state.json. The caller holds the machine's lock. */
export async function writeState(paths: MachinePaths, state: MachineState): Promise<void> {
  await writeFileAtomic(paths.state, `${JSON.stringify(state, null, 2)}\n`)
}
