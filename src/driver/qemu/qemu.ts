import { rm } from 'node:fs/promises'
import type { Driver, MachinePlace, MachineWork, VirtualMachine } from '#driver/driver.ts'
import { Fault } from '#lib/fault.ts'
import { endVm, findGround, shutDown, vmGone, withQmp } from './boot.ts'
import { dropInstallation, endInstallation, installationLogs, installationOf } from './building.ts'
import { screenshot, setVncPassword } from './devices.ts'
import { machinesOf } from './golden.ts'
import { machineFiles } from './machine-files.ts'
import { readFacts, readRecord, type VmRecord } from './record.ts'
import { engineReference } from './reference.ts'
import { QemuSettings } from './settings.ts'
import type { Start } from './start.ts'
import { vmState } from './vm-process.ts'

// What only some commands need is loaded when it is called, since every command loads this.
const bringUp = () => import('./bring-up.ts')
const care = () => import('./care.ts')
const snapshots = () => import('./snapshots.ts')
const forwards = () => import('./forwards.ts')

/** A guest that is asked to shut down may have containers to stop and updates to finish. */
const STOP_MS = 3 * 60_000
/** How long the password of `oriel view` lets a new viewer in. */
const VIEW_SECONDS = 600

/** Windows Server in a virtual machine of QEMU, Docker Engine inside. */
export const qemuDriver: Driver<QemuSettings> = {
  name: 'qemu',
  settings: QemuSettings,
  configure: async (former, options, work) => (await bringUp()).configure(former, options, work),
  bringUp: async (settings, work) => (await bringUp()).bringUp(settings, work),
  async reference(_settings, place) {
    const record = await readRecord(place)
    return record === undefined ? undefined : engineReference(place, record)
  },
  check: async (settings, work) => (await import('./doctor.ts')).checkDriver(settings, work),
  vm: virtualMachine()
}

function virtualMachine(): VirtualMachine<QemuSettings> {
  return {
    async state(place) {
      const record = await readRecord(place)
      if (record === undefined) return 'absent'
      if (!record.made) return installationState(place, record)
      const status = await vmState(machineFiles(place).qmp)
      if (status === 'absent') return record.suspended === undefined ? 'off' : 'suspended'
      return status === 'running' ? 'running' : 'paused'
    },
    stop,
    suspend: async (settings, work) => (await snapshots()).suspend(settings, work),
    discard: async work => (await snapshots()).discard(work),
    snapshots: {
      create: async (...given) => (await snapshots()).createSnapshot(...given),
      restore: async (name, _settings, work) => (await snapshots()).restoreSnapshot(name, work),
      list: async place => ((await readRecord(place))?.snapshots ?? []).map((await snapshots()).publicSnapshot),
      remove: async (name, _settings, work) => (await snapshots()).removeSnapshot(name, work)
    },
    async screenshot(file, work) {
      await withQmp(await screenOf(work), qmp => screenshot(qmp, file))
    },
    async view(work) {
      const password = await withQmp(await screenOf(work), qmp => setVncPassword(qmp, VIEW_SECONDS))
      const record = await readRecord(work.place)
      return { host: '127.0.0.1', port: record?.ports.vnc ?? 0, password }
    },
    forwards: {
      add: async (...given) => (await forwards()).addForward(...given),
      list: async place => (await readRecord(place))?.forwards ?? [],
      remove: async (...given) => (await forwards()).removeForward(...given)
    },
    facts: readFacts,
    async logs(place) {
      const record = await readRecord(place)
      const golden = record?.made ? undefined : record?.golden
      const installation = golden === undefined ? undefined : installationLogs(place.home, golden)
      const { com1, log } = machineFiles(place)
      return installation ?? { guest: com1, hypervisor: log }
    },
    async tls(place) {
      const record = await readRecord(place)
      if (record?.made) return engineReference(place, record)
      throw new Fault('the machine is not installed yet.', { exitCode: 3, hint: 'Install it with: oriel up NAME' })
    },
    renewCertificates: async (settings, work) => (await care()).renewCertificates(await startOf(settings, work)),
    rearm: async (settings, work) => (await care()).rearm(await startOf(settings, work)),
    upgrade: async (version, settings, work) => (await care()).upgrade(version, await startOf(settings, work)),
    remove,
    watch: async (...given) => (await import('./watch.ts')).watchGuest(...given)
  }
}

/** A machine without a disk of its own is as its installation is: that, too, runs and can be stopped. */
async function installationState(place: MachinePlace, { golden }: VmRecord): Promise<'off' | 'running' | 'paused'> {
  const installation = golden === undefined ? undefined : await installationOf(place.home, golden)
  if (installation === undefined) return 'off'
  return (await vmState(installation.qmp)) === 'running' ? 'running' : 'paused'
}

async function startOf(settings: QemuSettings, work: MachineWork): Promise<Start> {
  return { settings, work, ground: await findGround(settings, work.place, work) }
}

async function stop(_settings: QemuSettings, work: MachineWork): Promise<string> {
  const { place } = work
  const files = machineFiles(place)
  const record = await readRecord(place)
  if (record === undefined) return 'was never started'
  if (!record.made) {
    const ended = record.golden !== undefined && (await endInstallation(place.home, record.golden))
    return ended ? 'its installation was ended' : 'was not running'
  }
  return (await vmGone(files.qmp)) ? 'was not running' : shutDown(files.qmp, STOP_MS)
}

/** The control socket of the guest whose screen a person would see: the machine's, or that of the installation it waits for. */
async function screenOf({ place, machine }: MachineWork): Promise<string> {
  const files = machineFiles(place)
  if (!(await vmGone(files.qmp))) return files.qmp
  const golden = (await readRecord(place))?.golden
  const installation = golden === undefined ? undefined : await installationOf(place.home, golden)
  if (installation !== undefined) return installation.qmp
  throw new Fault(`machine "${machine}" is not running, so it has no screen.`, {
    exitCode: 3,
    hint: `Start it: oriel up ${machine}`
  })
}

async function remove(place: MachinePlace): Promise<void> {
  const files = machineFiles(place)
  const record = await readRecord(place).catch(() => undefined)
  await endVm(files.qmp)
  const { golden } = record ?? {}
  // An installation that nobody else waits for would run on for nobody.
  if (golden !== undefined && (await machinesOf(place.home, golden)).length <= 1) {
    await dropInstallation(place.home, golden)
  }
  await rm(files.folder, { recursive: true, force: true })
}
