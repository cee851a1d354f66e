import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { readJsonFile, writeFileAtomic } from '#lib/atomic-file.ts'
import { endVm, vmGone } from './boot.ts'
import { filesIn, type GoldenFiles, goldenFolder } from './golden.ts'

/** An image in the making: `build.json` in its folder. */
export interface Build {
  /** Windows Setup cannot go on after a power cut, so it starts over; our own stages go on where they were. */
  phase: 'setup' | 'stages'
  startedAt: string
  /** When the host was booted (s since 1970): its disk cache, which the installation trusts, is gone with it. */
  hostBootedAt: number
  /** Keys have to be pressed at the boot prompt. */
  prompting: boolean
  qmp: string
  /** Where in the log of the serial port the last start of the guest begins. */
  offset: number
}

/** Names on disk of an image in the making. */
export interface BuildFiles extends GoldenFiles {
  build: string
  com1: string
  log: string
  /** Clone of the installation disc that boots without a key. */
  iso: string
  /** The setup disc. */
  setup: string
}

export function buildFiles(home: string, key: string): BuildFiles {
  const files = filesIn(join(goldenFolder(home), `${key}.building`))
  return {
    ...files,
    build: join(files.folder, 'build.json'),
    com1: join(files.folder, 'com1.log'),
    log: join(files.folder, 'qemu.log'),
    iso: join(files.folder, 'install.iso'),
    setup: join(files.folder, 'setup.iso')
  }
}

/** Where the installation that a machine waits for has its control socket and its serial log; undefined when none runs. */
export async function installationOf(home: string, key: string): Promise<{ qmp: string; com1: string } | undefined> {
  const files = buildFiles(home, key)
  const build = await readBuild(files)
  return build === undefined || (await vmGone(build.qmp)) ? undefined : { qmp: build.qmp, com1: files.com1 }
}

/** Where an installation writes what its guest and its QEMU say. */
export function installationLogs(home: string, key: string): { guest: string; hypervisor: string } {
  const { com1, log } = buildFiles(home, key)
  return { guest: com1, hypervisor: log }
}

/** Ends a running or halted installation; what it made so far stays. False when none ran. */
export async function endInstallation(home: string, key: string): Promise<boolean> {
  const files = buildFiles(home, key)
  const build = await readBuild(files)
  if (build === undefined || (await vmGone(build.qmp))) return false
  await endVm(build.qmp)
  return true
}

/** Ends an installation and removes what it made so far. */
export async function dropInstallation(home: string, key: string): Promise<void> {
  const files = buildFiles(home, key)
  const build = await readBuild(files)
  if (build !== undefined) await endVm(build.qmp)
  await rm(files.folder, { recursive: true, force: true })
}

export async function readBuild(files: BuildFiles): Promise<Build | undefined> {
  return (await readJsonFile(files.build).catch(() => undefined)) as Build | undefined
}

export async function writeBuild(files: BuildFiles, build: Build): Promise<void> {
  await writeFileAtomic(files.build, `${JSON.stringify(build, null, 2)}\n`)
}
