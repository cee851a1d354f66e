import { chmod, mkdir, open, readdir, rename, rm } from 'node:fs/promises'
import { uptime } from 'node:os'
import { join } from 'node:path'
import type { MachineWork } from '#driver/driver.ts'
import { writeFileAtomic } from '#lib/atomic-file.ts'
import { Fault } from '#lib/fault.ts'
import { sizeOf } from '#lib/hashed-file.ts'
import { answerFile } from '#windows/answer-file.ts'
import { writeDisc } from '#windows/disc/iso-writer.ts'
import { SETUP_LABEL, setupDiscFiles } from '#windows/disc/setup-disc.ts'
import { cloneWithoutPrompt } from '#windows/media/boot-patch.ts'
import { newPassword } from '#windows/password.ts'
import type { ProgressLine } from '#windows/progress-line.ts'
import { ProgressTail } from '#windows/progress-tail.ts'
import { bootVm, endVm, type Ground, goOn, halt, look, picture, pressEnter, vmGone, waitUntilGone } from './boot.ts'
import { type Build, type BuildFiles, buildFiles, readBuild, writeBuild } from './building.ts'
import { checkDisk, copyVars, createDisk } from './disk.ts'
import { DiskFull, followGuest } from './follow.ts'
import { GOLDEN_DISK_BYTES, type Golden, goldenFiles, readGolden } from './golden.ts'
import { machineFiles } from './machine-files.ts'
import { type Materials, type Plan, scriptsFolder } from './plan.ts'
import type { VmRecord } from './record.ts'
import type { QemuSettings } from './settings.ts'

export interface Installation {
  plan: Plan
  materials: Materials
  settings: QemuSettings
  ground: Ground
  record: VmRecord
  work: MachineWork
}

const STAGE = 'install'
/** A guest that has sealed itself has nothing left to do but to stop. */
const SEALED_MS = 5 * 60_000

/**
 * Makes the golden image of a plan: Windows Setup and our setup stages in a virtual machine, until the guest seals itself.
 * Goes on with what a killed or failed run has left. Interrupted, it halts the guest, to be gone on with.
 */
export async function install(installation: Installation): Promise<Golden> {
  const { plan, work, settings } = installation
  const files = buildFiles(work.place.home, plan.key)
  const build = await resume(installation, files)
  const tail = new ProgressTail(files.com1, build.offset)
  try {
    const outcome = await followGuest(
      {
        machine: work.machine,
        stage: STAGE,
        tail,
        look: () => look(build.qmp),
        ...(build.prompting ? { pressEnter: () => pressEnter(build.qmp) } : {}),
        screenshot: () => picture(build.qmp, machineFiles(work.place)),
        stallMs: settings.stallMinutes * 60_000,
        silentMs: settings.stallMinutes * 60_000 * 30,
        onLine: line => noteStages(files, build, line),
        signal: work.signal,
        report: work.report
      },
      line => line.stage === 'sealed' && line.state === 'done'
    )
    if (outcome === 'ended') {
      throw new Fault('the virtual machine ended in the middle of the installation.', {
        hint: `What QEMU said is in ${files.log}. Go on with: oriel up ${work.machine}`
      })
    }
    await waitUntilOff(build)
  } catch (error) {
    await leave(build, work, error)
    throw error
  }
  return finish(installation, files, build)
}

/** Finds the installation where it is: still running, to be started again, or to be begun. */
async function resume(installation: Installation, files: BuildFiles): Promise<Build> {
  const { work } = installation
  const build = await readBuild(files)
  if (build !== undefined) {
    if (!(await vmGone(build.qmp))) {
      work.report({ type: 'step', stage: STAGE, text: 'goes on' })
      await goOn(build.qmp)
      return build
    }
    const sameHostBoot = Math.abs(build.hostBootedAt - hostBootedAt()) < 120
    if (build.phase === 'stages' && sameHostBoot) {
      work.report({ type: 'step', stage: STAGE, text: 'starts the guest again' })
      return bootGuest(installation, files, { phase: 'stages', prompting: build.prompting, startedAt: build.startedAt })
    }
    work.report({ type: 'notice', text: 'Windows Setup was cut off and has to begin again.' })
  }
  return begin(installation, files)
}

async function begin(installation: Installation, files: BuildFiles): Promise<Build> {
  const { plan, materials, ground, work } = installation
  const startedAt = new Date().toISOString()
  await rm(files.folder, { recursive: true, force: true })
  await mkdir(files.folder, { recursive: true, mode: 0o700 })
  work.report({ type: 'step', stage: STAGE, text: 'prepares the discs' })
  const boot = await cloneWithoutPrompt(materials.iso, files.iso, materials.facts, work.signal, fraction =>
    work.report({ type: 'step', stage: STAGE, text: 'of the disc copied', fraction })
  )
  await writeSetupDisc(plan, materials, files.setup)
  await createDisk(files.disk, GOLDEN_DISK_BYTES)
  await copyVars(ground.firmware.varsTemplate, files.vars)
  return bootGuest(installation, files, { phase: 'setup', prompting: boot === 'prompting', startedAt })
}

async function writeSetupDisc(plan: Plan, materials: Materials, target: string): Promise<void> {
  const { release, isolation, locale, keyboard } = plan
  const answer = answerFile({
    architecture: release.architecture,
    imageName: materials.imageName,
    ...(materials.productKey === undefined ? {} : { productKey: materials.productKey }),
    uiLanguage: materials.facts.languages[0] ?? 'en-US',
    locale,
    keyboard,
    // Of the golden image alone: every machine gets its own.
    password: newPassword(),
    computerName: 'ORIEL-GOLDEN',
    client: release.name === '11-arm64'
  })
  const files = await setupDiscFiles({
    answerFile: answer,
    scriptsFolder: scriptsFolder(),
    release: release.name,
    isolation,
    engine: materials.engine,
    ...(materials.openssh === undefined ? {} : { openssh: materials.openssh })
  })
  await writeDisc(target, { label: SETUP_LABEL, files })
}

async function bootGuest(
  { settings, ground, record, work, plan }: Installation,
  files: BuildFiles,
  build: Pick<Build, 'phase' | 'prompting' | 'startedAt'>
): Promise<Build> {
  const whole: Build = {
    ...build,
    hostBootedAt: hostBootedAt(),
    qmp: join(work.place.socketFolder, 'install.sock'),
    offset: (await sizeOf(files.com1)) ?? 0
  }
  // Written first, so that whoever comes after a kill finds the machine that this starts.
  await writeBuild(files, whole)
  await bootVm({
    name: `${work.machine}-install`,
    ground,
    settings,
    client: plan.release.name === '11-arm64',
    disk: files.disk,
    vars: files.vars,
    com1: files.com1,
    log: files.log,
    qmp: whole.qmp,
    ports: record.ports,
    forwards: [],
    drives: [
      { id: 'install', file: files.iso },
      { id: 'disc', file: files.setup }
    ],
    // Nothing is kept of an installation that loses the host's cache.
    cache: 'unsafe'
  })
  return whole
}

async function noteStages(files: BuildFiles, build: Build, line: ProgressLine): Promise<void> {
  if (build.phase === 'stages' || line.stage !== 'copy' || line.state !== 'done') return
  build.phase = 'stages'
  await writeBuild(files, build)
}

async function waitUntilOff(build: Build): Promise<void> {
  if (await waitUntilGone(build.qmp, SEALED_MS)) return
  await endVm(build.qmp)
}

/** What becomes of the guest when `up` cannot go on with it. */
async function leave(build: Build, work: MachineWork, error: unknown): Promise<void> {
  // A full disk has halted it, which is the best that it can be until there is room.
  if (error instanceof DiskFull) return
  if (work.signal.aborted) {
    await halt(build.qmp).catch(() => undefined)
    const text = `The installation is halted. Go on: oriel up ${work.machine}   Give up: oriel rm ${work.machine}`
    if (!(await vmGone(build.qmp))) work.report({ type: 'notice', text })
    return
  }
  await endVm(build.qmp)
}

async function finish({ plan, materials, work }: Installation, files: BuildFiles, build: Build): Promise<Golden> {
  const { result, detail } = await checkDisk(files.disk)
  if (result === 'damaged') {
    throw new Fault(`the disk of the new installation is damaged: ${detail}`, {
      hint: `Install it anew: oriel rm ${work.machine}, then oriel up ${work.machine}`
    })
  }
  // The setup disc has the password of the image, and the clone is as large as all the rest.
  for (const name of await readdir(files.folder)) {
    if (!['disk.qcow2', 'vars.qcow2'].includes(name)) await rm(join(files.folder, name), { force: true })
  }
  for (const file of [files.disk, files.vars]) {
    await flush(file)
    await chmod(file, 0o400)
  }
  const golden: Golden = {
    key: plan.key,
    release: plan.release.name,
    edition: plan.edition,
    build: materials.facts.build,
    isolation: plan.isolation,
    engine: materials.engine.version,
    locale: plan.locale,
    madeAt: new Date().toISOString(),
    seconds: Math.round((Date.now() - Date.parse(build.startedAt)) / 1000),
    diskBytes: GOLDEN_DISK_BYTES
  }
  await writeFileAtomic(files.about, `${JSON.stringify(golden, null, 2)}\n`)
  await rename(files.folder, goldenFiles(work.place.home, plan.key).folder)
  const made = await readGolden(work.place.home, plan.key)
  if (made === undefined) throw new Fault('the golden image is gone right after it was made.')
  return made
}

/** Brings to disk what an installation with an unsafe cache has left in memory. */
async function flush(file: string): Promise<void> {
  const handle = await open(file, 'r+')
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}

function hostBootedAt(): number {
  return Math.round(Date.now() / 1000 - uptime())
}
