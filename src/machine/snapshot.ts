import type { Snapshot } from '#driver/driver.ts'
import { Fault } from '#lib/fault.ts'
import type { MachineRequest } from './machine-lock.ts'
import { takeDown } from './suspend.ts'
import { asStage, openVm, withVm } from './vm.ts'

export type { Snapshot }

const NAME = /^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$/

/** Keeps the machine's disk, and its memory when it runs and can be kept so, under a name. Fault 3 for a name that is taken. */
export async function createSnapshot(request: MachineRequest, snapshot: string): Promise<void> {
  checkName(snapshot)
  await withVm(request, 'snapshot create', async ({ vm, settings, work }) => {
    if ((await vm.snapshots.list(work.place)).some(({ name }) => name === snapshot)) {
      throw new Fault(`machine "${request.name}" has a snapshot "${snapshot}" already.`, {
        exitCode: 3,
        hint: `Choose another name, or remove it first: oriel snapshot rm ${request.name} ${snapshot}`
      })
    }
    await asStage(request, 'snapshot', () => vm.snapshots.create(snapshot, settings, work))
  })
}

/** Puts the machine back to a snapshot and leaves it down. Fault 3 when it has none of this name; then nothing was touched. */
export async function restoreSnapshot(request: MachineRequest, snapshot: string): Promise<void> {
  checkName(snapshot)
  await withVm(request, 'snapshot restore', async open => {
    const { vm, settings, work } = open
    await checkPresent(request.name, snapshot, await vm.snapshots.list(work.place))
    const held = { ...request, signal: work.signal }
    await takeDown(open, held, () => asStage(held, 'restore', () => vm.snapshots.restore(snapshot, settings, work)))
  })
}

/** Removes a snapshot. Fault 3 when there is none of this name. */
export async function removeSnapshot(request: MachineRequest, snapshot: string): Promise<void> {
  checkName(snapshot)
  await withVm(request, 'snapshot rm', async ({ vm, settings, work }) => {
    await checkPresent(request.name, snapshot, await vm.snapshots.list(work.place))
    await vm.snapshots.remove(snapshot, settings, work)
  })
}

/** The machine's snapshots, oldest first. */
export async function listSnapshots(request: MachineRequest): Promise<Snapshot[]> {
  const { vm, work } = await openVm(request)
  return (await vm.snapshots.list(work.place)).sort((a, b) => a.madeAt.localeCompare(b.madeAt))
}

function checkName(snapshot: string): void {
  if (NAME.test(snapshot)) return
  throw new Fault(`"${snapshot}" is not a name for a snapshot.`, {
    exitCode: 2,
    hint: 'Use letters, digits, "_", "." and "-", at most 63, the first a letter or digit.'
  })
}

async function checkPresent(machine: string, snapshot: string, present: readonly Snapshot[]): Promise<void> {
  if (present.some(({ name }) => name === snapshot)) return
  throw new Fault(`machine "${machine}" has no snapshot "${snapshot}".`, {
    exitCode: 3,
    hint: present.length === 0 ? 'It has none.' : `It has: ${present.map(({ name }) => name).join(', ')}.`
  })
}
