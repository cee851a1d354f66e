import { rm } from 'node:fs/promises'
import { Engine } from '#docker/engine.ts'
import { endpointOf, type MachineWork } from '#driver/driver.ts'
import { Fault, messageOf } from '#lib/fault.ts'
import { sizeOf } from '#lib/hashed-file.ts'
import { poll } from '#lib/wait.ts'
import { ProgressTail } from '#windows/progress-tail.ts'
import {
  bootVm,
  changeDisc,
  ejectDisc,
  endVm,
  type Ground,
  goOn,
  look,
  picture,
  shutDown,
  vmGone,
  withQmp
} from './boot.ts'
import { checkDisk, diskInfo, growDisk, offlineSnapshotDelete } from './disk.ts'
import { DiskFull, followGuest } from './follow.ts'
import { GOLDEN_DISK_BYTES } from './golden.ts'
import { applyDisc, extendGuestDisk, type GuestAccess, guestFacts, setGuestClock } from './guest.ts'
import { type WantedDisc, wantedDisc, writeMachineDisc } from './machine-disc.ts'
import { type MachineFiles, machineFiles } from './machine-files.ts'
import { changeRecord, madeRecord, type Shape, type VmRecord, writeFacts } from './record.ts'
import { engineReference, guestAccess } from './reference.ts'
import { diskBytes, memoryMiB, type QemuSettings } from './settings.ts'
import { deleteSnapshot } from './snapshot.ts'

/** The snapshot that `oriel suspend` makes; a person's own cannot have this name. */
export const SUSPENDED = 'oriel-suspended'

const STAGE = 'provision'
const ENGINE_MS = 120_000
/** sshd of a guest that has just gone on. */
const SSH_MS = 60_000
/** Larger differences break certificates and builds; smaller ones are NTP's business. */
const CLOCK_MS = 2000
/** A guest that cannot be used is given so long to end by itself. */
const LEAVE_MS = 60_000

export interface Start {
  settings: QemuSettings
  ground: Ground
  work: MachineWork
}

/**
 * Brings the guest of an installed machine up, with the settings of now. Gives words on how. When that fails the guest is
 * off, or halted when only the host's disk is full; the next start goes on from there.
 */
export async function startGuest(start: Start): Promise<string> {
  const { work, settings } = start
  const { place, machine } = work
  const files = machineFiles(place)
  const disc = await wantedDisc(settings, work)
  const record = await madeRecord(place, machine)
  try {
    if (!(await vmGone(files.qmp))) {
      // Halted by a full disk, or by a `suspend` that was killed: it goes on as if nothing had been.
      await goOn(files.qmp)
      await changeRecord(place, withoutSuspended)
      await awaitReady(start, record.bootOffset ?? 0)
      return `was running${await bringUpToDate(start, disc)}`
    }
    if (record.suspended !== undefined) {
      await resumeGuest(start, record.suspended)
      return `resumed${await bringUpToDate(start, disc)}`
    }
    await coldStart(start, record, disc)
    return `started${await bringUpToDate(start, disc)}`
  } catch (error) {
    await leave(start, error)
    throw error
  }
}

async function coldStart(start: Start, record: VmRecord, disc: WantedDisc): Promise<void> {
  const { settings, ground, work } = start
  const files = machineFiles(work.place)
  // A killed QEMU may leave clusters that nothing refers to; anything worse is told before the guest meets it.
  const { result, detail } = await checkDisk(files.disk)
  if (result === 'damaged') {
    throw new Fault(`the disk of machine "${work.machine}" is damaged: ${detail}`, {
      hint: `Go back to a snapshot (oriel snapshot ls ${work.machine}), or look yourself: qemu-img check ${files.disk}`
    })
  }
  const wanted = diskBytes(settings)
  if ((await diskInfo(files.disk)).virtualBytes < wanted) await growDisk(files.disk, wanted)
  const offset = (await sizeOf(files.com1)) ?? 0
  const shape: Shape = { cpus: settings.cpus, memoryMiB: memoryMiB(settings), accelerator: ground.accelerator }
  await changeRecord(work.place, former => ({ ...former, bootOffset: offset, shape }))
  const apply = record.applied !== disc.id
  const drive = apply ? { id: 'disc' as const, file: await writeMachineDisc(disc, work) } : { id: 'disc' as const }
  await boot(start, record, shape, { drives: [drive] })
  // A guest may be ready before it has seen the disc in its drive; it then says the id of the former one.
  await awaitReady(start, offset)
  await takeDiscOut(files)
}

async function resumeGuest(start: Start, suspended: { tag: string; shape: Shape }): Promise<void> {
  const { ground, work } = start
  const { place, machine } = work
  const files = machineFiles(place)
  const { tag, shape } = suspended
  if (shape.accelerator !== ground.accelerator) {
    throw new Fault(
      `machine "${machine}" was suspended under ${shape.accelerator} and cannot go on under ${ground.accelerator}.`,
      { exitCode: 3, hint: `Give up its memory, as after a power cut: oriel suspend ${machine} --discard` }
    )
  }
  const record = await madeRecord(place, machine)
  await boot(start, record, shape, { drives: [{ id: 'disc' }], loadSnapshot: tag, paused: true })
  // From here on its disk moves on, and its memory in the snapshot would be one of another time.
  await changeRecord(place, former => ({ ...withoutSuspended(former), shape }))
  await goOn(files.qmp)
  // Its clock stands where it was suspended, when today's certificates may not have been valid yet.
  await retrySsh(start, access => setGuestClock(access, work.signal))
  if (tag === SUSPENDED) await withQmp(files.qmp, qmp => deleteSnapshot(qmp, tag))
}

function boot(
  { settings, ground, work }: Start,
  record: VmRecord,
  shape: Shape,
  how: { drives: { id: 'install' | 'disc'; file?: string }[]; loadSnapshot?: string; paused?: boolean }
): Promise<void> {
  const files = machineFiles(work.place)
  return bootVm({
    name: work.machine,
    ground,
    settings,
    shape,
    client: settings.windows === '11-arm64',
    disk: files.disk,
    vars: files.vars,
    com1: files.com1,
    log: files.log,
    qmp: files.qmp,
    ports: record.ports,
    forwards: record.forwards,
    cache: 'writeback',
    ...how
  })
}

/** Follows the guest's words since `offset` until it is ready, and keeps which disc it has applied. */
async function awaitReady({ settings, work }: Start, offset: number): Promise<void> {
  const files = machineFiles(work.place)
  let applied: string | undefined
  const outcome = await followGuest(
    {
      machine: work.machine,
      stage: STAGE,
      tail: new ProgressTail(files.com1, offset),
      look: () => look(files.qmp),
      screenshot: () => picture(files.qmp, files),
      stallMs: settings.stallMinutes * 60_000,
      silentMs: settings.stallMinutes * 60_000 * 3,
      signal: work.signal,
      report: work.report
    },
    line => {
      if (line.stage !== 'ready' || line.state !== 'done') return false
      applied = line.id
      return true
    }
  )
  if (outcome === 'ended' || applied === undefined) {
    throw new Fault('the virtual machine ended while its guest was starting.', {
      hint: `What QEMU said is in ${files.log}. Start it again with: oriel up ${work.machine}`
    })
  }
  const now = applied
  await changeRecord(work.place, former => ({ ...former, applied: now }))
}

/** What can change without a start: the disc's content, the disk's size, the clock. Gives words on what was done. */
async function bringUpToDate(start: Start, disc: WantedDisc): Promise<string> {
  const { settings, work } = start
  const { place, machine } = work
  const done: string[] = []
  const access = guestAccess(place, await madeRecord(place, machine))
  if ((await madeRecord(place, machine)).applied !== disc.id) {
    await applyWhileRunning(start, disc)
    done.push('new settings applied')
  }
  await awaitEngine(start)
  const told = await retrySsh(start, () => guestFacts(access, work.signal))
  const drift = Math.abs(Date.parse(told.time) - Date.now())
  if (!(drift < CLOCK_MS)) {
    await setGuestClock(access, work.signal)
    done.push('clock set')
  }
  const { time: _, ...facts } = told
  await writeFacts(place, { ...facts, at: new Date().toISOString() })
  const bytes = (await diskInfo(machineFiles(place).disk)).virtualBytes
  if (bytes > ((await madeRecord(place, machine)).extended ?? GOLDEN_DISK_BYTES)) {
    await extendGuestDisk(access, work.signal)
    await changeRecord(place, former => ({ ...former, extended: bytes }))
    done.push('disk extended')
  }
  if (bytes < diskBytes(settings)) {
    work.report({ type: 'notice', text: `The disk grows when the machine is started next: oriel restart ${machine}` })
  }
  return done.map(words => `, ${words}`).join('')
}

/** Has a running guest apply a new disc: renewed certificates, other engine settings. */
export async function applyWhileRunning(start: Start, disc: WantedDisc): Promise<void> {
  const { work, settings } = start
  const { place, machine } = work
  const files = machineFiles(place)
  await changeDisc(files.qmp, await writeMachineDisc(disc, work))
  try {
    const record = await madeRecord(place, machine)
    const limit = settings.stallMinutes * 60_000
    const { id, reboot } = await applyDisc(guestAccess(place, record), limit, work.signal)
    if (reboot) {
      // The guest leaves that to the host, which also puts the disc in again.
      await shutDown(files.qmp, LEAVE_MS)
      await coldStart(start, record, disc)
    }
    const applied = reboot ? (await madeRecord(place, machine)).applied : id
    if (applied !== disc.id) {
      throw new Fault('the guest did not take its new settings.', {
        hint: `Start it again with: oriel restart ${machine}`
      })
    }
    await changeRecord(place, former => ({ ...former, applied }))
  } finally {
    await takeDiscOut(files)
  }
}

/** The disc holds a password and a key; once it is applied nobody needs it. */
async function takeDiscOut(files: MachineFiles): Promise<void> {
  await ejectDisc(files.qmp)
  await rm(files.disc, { force: true })
}

/** Waits until the engine answers on its port, with the certificates of the machine. */
export async function awaitEngine({ work }: Start): Promise<string> {
  const { place, machine, signal } = work
  const reference = engineReference(place, await madeRecord(place, machine))
  let last = 'no answer'
  const answered = await poll(
    async () => {
      try {
        const engine = new Engine(await endpointOf(reference))
        const { status, body } = await engine.request('GET', '/_ping', { timeoutMs: 5000, signal })
        body.resume()
        if (status === 200) return true
        last = `it answered ${status}`
      } catch (error) {
        last = messageOf(error)
      }
      return undefined
    },
    { limitMs: ENGINE_MS, everyMs: 1000, signal }
  )
  if (answered) return `answers on ${reference.url}`
  throw new Fault(`the guest is ready, but its engine cannot be reached: ${last}`, {
    hint: `Start the guest again with: oriel restart ${machine}`
  })
}

/** sshd may come up after the engine, and a guest that has just gone on needs a moment. */
async function retrySsh<T>({ work }: Start, ask: (access: GuestAccess) => Promise<T>): Promise<T> {
  const access = guestAccess(work.place, await madeRecord(work.place, work.machine))
  let last: unknown
  const answer = await poll(
    async () => {
      try {
        return { value: await ask(access) }
      } catch (error) {
        last = error
        return undefined
      }
    },
    { limitMs: SSH_MS, everyMs: 1000, signal: work.signal }
  )
  if (answer === undefined) throw last
  return answer.value
}

/** A guest that is of no use is not left running behind the person's back. */
async function leave({ work }: Start, error: unknown): Promise<void> {
  const files = machineFiles(work.place)
  if (error instanceof DiskFull || (await vmGone(files.qmp))) return
  // A machine that cannot even resume keeps its memory where it is.
  const { suspended } = await madeRecord(work.place, work.machine)
  if (suspended !== undefined) await endVm(files.qmp)
  else await shutDown(files.qmp, LEAVE_MS)
  await rm(files.disc, { force: true })
}

/** Gives up the memory of a suspended machine; its disk stays as it was then. */
export async function dropSuspended(work: MachineWork): Promise<void> {
  const files = machineFiles(work.place)
  const { suspended } = await madeRecord(work.place, work.machine)
  await changeRecord(work.place, withoutSuspended)
  if (suspended?.tag === SUSPENDED) await offlineSnapshotDelete([files.disk, files.vars], SUSPENDED)
}

function withoutSuspended({ suspended: _, ...rest }: VmRecord): VmRecord {
  return rest
}
