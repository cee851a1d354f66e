import { rm } from 'node:fs/promises'
import type { MachineWork } from '#driver/driver.ts'
import { Fault } from '#lib/fault.ts'
import { ensurePki } from '#pki/store.ts'
import { writeDisc } from '#windows/disc/iso-writer.ts'
import { ENGINE_LABEL, engineDiscFiles } from '#windows/disc/setup-disc.ts'
import { mediaFolder } from '#windows/media/cache.ts'
import { engineArchive, serverRelease } from '#windows/server-releases.ts'
import { changeDisc, ejectDisc, shutDown, vmGone } from './boot.ts'
import { rearmGuest, upgradeEngine } from './guest.ts'
import { wantedDisc } from './machine-disc.ts'
import { machineFiles } from './machine-files.ts'
import { engineOf, fetchEngine, type Plan } from './plan.ts'
import { changeRecord, madeRecord } from './record.ts'
import { guestAccess } from './reference.ts'
import type { QemuSettings } from './settings.ts'
import { applyWhileRunning, awaitEngine, type Start, startGuest } from './start.ts'
import { askFacts } from './watch.ts'

const UPGRADE_MS = 10 * 60_000
const REARM_STOP_MS = 5 * 60_000

/** New certificates for server and clients, in the guest at once when it runs, else at its next start. */
export async function renewCertificates(start: Start): Promise<string> {
  const { work, settings } = start
  const files = machineFiles(work.place)
  await madeRecord(work.place, work.machine)
  const { serverExpires } = await ensurePki(files.pki, { machine: work.machine, renew: true })
  const until = `valid until ${serverExpires.toISOString().slice(0, 10)}`
  if (await vmGone(files.qmp)) return `${until}; the guest gets them when it starts`
  await applyWhileRunning(start, await wantedDisc(settings, work))
  await awaitEngine(start)
  return until
}

/** Renews the guest's evaluation period, and restarts the guest when that needs it. */
export async function rearm(start: Start): Promise<string> {
  const { work } = start
  const record = await running(work)
  const { daysLeft, rearmsLeft, reboot } = await rearmGuest(guestAccess(work.place, record), work.signal)
  const files = machineFiles(work.place)
  if (reboot) {
    work.report({ type: 'step', stage: 'rearm', text: 'restarts the guest' })
    await shutDown(files.qmp, REARM_STOP_MS)
    await startGuest(start)
  } else await askFacts(work.place, guestAccess(work.place, record), work.signal)
  return `${daysLeft ?? 'an unknown number of'} days left, can be done ${rearmsLeft ?? 'an unknown number of'} more times`
}

/** Puts another Docker Engine into the guest. The guest goes back to its old one when the new one does not answer. */
export async function upgrade(version: string, start: Start): Promise<string> {
  const { work, settings } = start
  const { place } = work
  const record = await running(work)
  const engine = await fetchEngine(engineFor(version, settings), mediaFolder(place.home), {
    stage: 'upgrade',
    ...work
  })
  const files = machineFiles(place)
  const disc = `${files.disc}.engine`
  await writeDisc(disc, { label: ENGINE_LABEL, files: engineDiscFiles(engine) })
  try {
    await changeDisc(files.qmp, disc)
    work.report({ type: 'step', stage: 'upgrade', text: `the guest takes Docker Engine ${version}` })
    const answers = await upgradeEngine(guestAccess(place, record), UPGRADE_MS, work.signal)
    await changeRecord(place, former => ({ ...former, engine: answers }))
    await awaitEngine(start)
    await askFacts(place, guestAccess(place, record), work.signal)
    return `Docker Engine ${answers}`
  } finally {
    await ejectDisc(files.qmp)
    await rm(disc, { force: true })
  }
}

function engineFor(version: string, settings: QemuSettings): Plan['engine'] {
  const release = serverRelease(settings.windows)
  // The person's own archive, when machine.yaml names one of this version.
  if (settings.engineArchive !== undefined) {
    const own = engineOf(settings, release)
    if (own.version === version) return own
  }
  const { url, sha256 } = engineArchive(version, release)
  return { version, download: { file: `docker-${version}.zip`, sources: [url], kind: 'zip', sha256 } }
}

async function running(work: MachineWork) {
  const record = await madeRecord(work.place, work.machine)
  if (!(await vmGone(machineFiles(work.place).qmp))) return record
  throw new Fault(`machine "${work.machine}" is not running.`, {
    exitCode: 3,
    hint: `Start it: oriel up ${work.machine}`
  })
}
