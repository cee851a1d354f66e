import type { MachineWork, Snapshot } from '#driver/driver.ts'
import { Fault } from '#lib/fault.ts'
import { serverRelease } from '#windows/server-releases.ts'
import { endVm, vmGone, withQmp } from './boot.ts'
import { offlineSnapshotCreate, offlineSnapshotDelete, offlineSnapshotRestore } from './disk.ts'
import { machineFiles } from './machine-files.ts'
import { changeRecord, madeRecord, type RecordedSnapshot, type Shape } from './record.ts'
import type { QemuSettings } from './settings.ts'
import { deleteSnapshot, saveSnapshot } from './snapshot.ts'
import { dropSuspended, SUSPENDED } from './start.ts'
import { suspendObstacle } from './vm-spec.ts'

/** Saves the memory of a running machine and ends it; the next start goes on from there. */
export async function suspend(settings: QemuSettings, work: MachineWork): Promise<string> {
  const { place, machine } = work
  const files = machineFiles(place)
  const { shape, suspended } = await madeRecord(place, machine)
  if (await vmGone(files.qmp)) {
    if (suspended !== undefined) return 'was suspended'
    throw new Fault(`machine "${machine}" is not running.`, { exitCode: 3, hint: `Start it: oriel up ${machine}` })
  }
  const saved = checkLive(shape, settings, machine)
  await withQmp(files.qmp, qmp => saveSnapshot(qmp, SUSPENDED, { stayPaused: true }))
  await changeRecord(place, former => ({ ...former, suspended: { tag: SUSPENDED, shape: saved } }))
  await endVm(files.qmp)
  return 'its memory is on disk'
}

/** Gives up the saved memory of a suspended machine: it starts from its disk, as after a power cut. */
export async function discard(work: MachineWork): Promise<string> {
  const { suspended } = await madeRecord(work.place, work.machine)
  if (suspended === undefined) {
    throw new Fault(`machine "${work.machine}" is not suspended.`, {
      exitCode: 3,
      hint: `See: oriel status ${work.machine}`
    })
  }
  await dropSuspended(work)
  return 'its saved memory is gone'
}

/** Makes a snapshot: of the running machine with its memory where the accelerator can, else of its disk. */
export async function createSnapshot(name: string, settings: QemuSettings, work: MachineWork): Promise<string> {
  const { place, machine } = work
  const files = machineFiles(place)
  const { shape, suspended, applied, engine } = await madeRecord(place, machine)
  if (name === SUSPENDED) throw new Fault(`"${name}" is the name of Oriel's own snapshots.`, { exitCode: 2 })
  if (suspended !== undefined) {
    throw new Fault(`machine "${machine}" is suspended.`, {
      exitCode: 3,
      hint: `Resume it (oriel up ${machine}) or give up its memory (oriel suspend ${machine} --discard) first.`
    })
  }
  const live = !(await vmGone(files.qmp))
  const made: RecordedSnapshot = {
    name,
    madeAt: new Date().toISOString(),
    live,
    ...(live ? { shape: checkLive(shape, settings, machine) } : {}),
    ...(applied === undefined ? {} : { applied }),
    ...(engine === undefined ? {} : { engine })
  }
  if (live) {
    await withQmp(files.qmp, qmp => saveSnapshot(qmp, name))
  } else await offlineSnapshotCreate([files.disk, files.vars], name)
  await changeRecord(place, former => ({ ...former, snapshots: [...former.snapshots, made] }))
  return live ? 'with its memory' : 'of its disk'
}

/** Puts the disk back, and has the next start go on with the memory of a live snapshot. What was since then is gone. */
export async function restoreSnapshot(name: string, work: MachineWork): Promise<string> {
  const { place } = work
  const files = machineFiles(place)
  const found = await findSnapshot(name, work)
  await endVm(files.qmp)
  await dropSuspended(work)
  // Recorded before the disk is touched: a kill in between leaves a machine that the next `restore` puts right, and whose
  // next start applies what this record says it may lack.
  await changeRecord(place, former => {
    const { applied: _, engine: __, ...rest } = former
    return {
      ...rest,
      ...(found.applied === undefined ? {} : { applied: found.applied }),
      ...(found.engine === undefined ? {} : { engine: found.engine })
    }
  })
  await offlineSnapshotRestore([files.disk, files.vars], name)
  const { shape } = found
  if (!found.live || shape === undefined) return 'its disk is as it was'
  await changeRecord(place, former => ({ ...former, suspended: { tag: name, shape } }))
  return 'its disk and memory are as they were'
}

export async function removeSnapshot(name: string, work: MachineWork): Promise<void> {
  const { place, machine } = work
  const files = machineFiles(place)
  await findSnapshot(name, work)
  if ((await madeRecord(place, machine)).suspended?.tag === name) {
    throw new Fault(`machine "${machine}" is about to go on from the snapshot "${name}".`, {
      exitCode: 3,
      hint: `Start it first: oriel up ${machine}`
    })
  }
  if (await vmGone(files.qmp)) await offlineSnapshotDelete([files.disk, files.vars], name)
  else await withQmp(files.qmp, qmp => deleteSnapshot(qmp, name))
  await changeRecord(place, former => ({
    ...former,
    snapshots: former.snapshots.filter(snapshot => snapshot.name !== name)
  }))
}

export function publicSnapshot({ name, madeAt, live }: RecordedSnapshot): Snapshot {
  return { name, madeAt, live }
}

async function findSnapshot(name: string, { place, machine }: MachineWork): Promise<RecordedSnapshot> {
  const found = (await madeRecord(place, machine)).snapshots.find(each => each.name === name)
  if (found !== undefined) return found
  throw new Fault(`machine "${machine}" has no snapshot "${name}".`, { exitCode: 3 })
}

/** What the running machine was given. Fault 3 where its memory cannot be saved. */
function checkLive(shape: Shape | undefined, settings: QemuSettings, machine: string): Shape {
  if (shape === undefined)
    throw new Fault(`it is not known what machine "${machine}" was started with.`, { exitCode: 3 })
  const { architecture } = serverRelease(settings.windows)
  const obstacle = suspendObstacle({ guest: architecture, accelerator: shape.accelerator })
  if (obstacle === undefined) return shape
  throw new Fault(`the memory of machine "${machine}" cannot be saved: ${obstacle}.`, {
    exitCode: 3,
    hint: `Stop it (oriel stop ${machine}); of a stopped machine a snapshot can be made: oriel snapshot create`
  })
}
