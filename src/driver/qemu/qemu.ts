import { chmod, mkdir, readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import type {
  ConfigureWork,
  Driver,
  MachinePlace,
  MachineWork,
  Running,
  UpOptions,
  UpWork,
  VirtualMachine
} from '#driver/driver.ts'
import { Fault } from '#lib/fault.ts'
import { formatDuration } from '#lib/size.ts'
import { engineSettingProblems } from '#windows/daemon-json.ts'
import { serverRelease } from '#windows/server-releases.ts'
import { endVm, findGround, shutDown, vmGone, withQmp } from './boot.ts'
import { rearm, renewCertificates, upgrade, watchGuest } from './care.ts'
import { configureQemu } from './configure.ts'
import { screenshot, setVncPassword } from './devices.ts'
import { copyVars, createOverlay } from './disk.ts'
import { checkDriver } from './doctor.ts'
import { addForward, removeForward } from './forwards.ts'
import { goldenFiles, machinesOf, readGolden } from './golden.ts'
import { dropInstallation, endInstallation, install, installationLogs, installationOf } from './install.ts'
import { machineFiles } from './machine-files.ts'
import { checkPlan, gather, makePlan, type Plan } from './plan.ts'
import { allocatePorts } from './ports.ts'
import { changeRecord, madeRecord, readFacts, readRecord, type VmRecord, writeRecord } from './record.ts'
import { diskBytes, QemuSettings } from './settings.ts'
import { createSnapshot, discard, publicSnapshot, removeSnapshot, restoreSnapshot, suspend } from './snapshots.ts'
import { awaitEngine, engineReference, type Start, startGuest } from './start.ts'
import { vmState } from './vm-process.ts'

/** A guest that is asked to shut down may have containers to stop and updates to finish. */
const STOP_MS = 3 * 60_000
/** How long the password of `oriel view` lets a new viewer in. */
const VIEW_SECONDS = 600

/** Windows Server in a virtual machine of QEMU, Docker Engine inside. */
export const qemuDriver: Driver<QemuSettings> = {
  name: 'qemu',
  settings: QemuSettings,
  configure,
  bringUp,
  async reference(_settings, place) {
    const record = await readRecord(place)
    return record === undefined ? undefined : engineReference(place, record)
  },
  check: checkDriver,
  vm: virtualMachine()
}

async function bringUp(settings: QemuSettings, work: UpWork): Promise<Running> {
  const { place } = work
  const release = serverRelease(settings.windows)
  const ground = await work.stage('host', async inner => {
    const found = await findGround(settings, place, inner)
    return [`QEMU ${found.qemu.version.join('.')}, ${found.accelerator}: ${found.why}`, found]
  })
  const start: Start = { settings, ground, work }
  const record = await ensureRecord(settings, place)
  if (record.made) await checkOrigin(settings, record, work)
  else await makeMachine(start, record, work)
  await work.stage('provision', async inner => [await startGuest({ ...start, work: { ...work, ...inner } }), undefined])
  await work.stage('engine', async inner => [await awaitEngine({ ...start, work: { ...work, ...inner } }), undefined])
  return {
    reference: engineReference(place, await madeRecord(place, work.machine)),
    windows: { release: release.name, build: (await readFacts(place))?.build ?? release.build }
  }
}

/** A machine lives on the golden image that it was made of, and machine.yaml cannot make another Windows of it. */
async function checkOrigin(settings: QemuSettings, { golden: key }: VmRecord, work: MachineWork): Promise<void> {
  const golden = key === undefined ? undefined : await readGolden(work.place.home, key)
  if (golden === undefined) {
    throw new Fault(
      `the golden image of machine "${work.machine}" is gone: ${goldenFiles(work.place.home, key ?? '').folder}.`,
      {
        exitCode: 3,
        hint: `Bring it back, or remove the machine: oriel rm ${work.machine}`
      }
    )
  }
  const edition = settings.edition ?? serverRelease(settings.windows).defaultEdition
  const asked = `Windows ${settings.windows} ${edition}, isolation ${settings.isolation}`
  const made = `Windows ${golden.release} ${golden.edition}, isolation ${golden.isolation}`
  if (asked === made) return
  throw new Fault(`machine "${work.machine}" was made as ${made}; machine.yaml says ${asked}.`, {
    exitCode: 3,
    hint: `Put machine.yaml back (${join(work.place.folder, 'machine.yaml')}), or make another machine: oriel up OTHER --driver qemu`
  })
}

/** Media, installation and the machine's own disk, for a machine that has none yet. */
async function makeMachine({ settings, ground }: Start, record: VmRecord, work: UpWork): Promise<void> {
  const { place } = work
  const plan = await makePlan(settings, work.env)
  await changeRecord(place, former => ({ ...former, golden: plan.key }))
  const golden = await work.alone(`golden-${plan.key}`, async signal => {
    const present = await readGolden(place.home, plan.key)
    if (present !== undefined) {
      const made = `made ${present.madeAt.slice(0, 10)}`
      return work.stage('install', async () => [`golden image present, ${made}`, present])
    }
    const held = { ...work, signal }
    const materials = await work.stage('media', async inner => {
      const found = await gather(plan, settings, place, { ...inner, signal })
      return [`${found.facts.product}, build ${found.facts.build}, Docker Engine ${found.engine.version}`, found]
    })
    return work.stage('install', async inner => {
      const image = await install({
        plan,
        materials,
        settings,
        ground,
        record,
        work: { ...held, report: inner.report }
      })
      return [`golden image made in ${formatDuration(image.seconds * 1000)}`, image]
    })
  })
  await work.stage('disk', async () => {
    await makeDisk(settings, plan, golden.diskBytes, work)
    return ['made from the golden image', undefined]
  })
}

/** The machine's own disk and firmware variables. A half-made disk was never used, so it is made again. */
async function makeDisk(settings: QemuSettings, plan: Plan, least: number, work: MachineWork): Promise<void> {
  const files = machineFiles(work.place)
  const golden = goldenFiles(work.place.home, plan.key)
  await mkdir(files.folder, { recursive: true, mode: 0o700 })
  await rm(files.disk, { force: true })
  await rm(files.vars, { force: true })
  await createOverlay(files.disk, golden.disk, Math.max(diskBytes(settings), least))
  await copyVars(golden.vars, files.vars)
  // What is on the guest's disk is nobody else's business; qemu-img leaves that to the umask.
  for (const file of [files.disk, files.vars]) await chmod(file, 0o600)
  await changeRecord(work.place, former => ({ ...former, made: true }))
}

async function ensureRecord(settings: QemuSettings, place: MachinePlace): Promise<VmRecord> {
  const present = await readRecord(place)
  const ports = { ...(present?.ports ?? (await newPorts(place))), ...chosenPorts(settings) }
  const record: VmRecord = { forwards: [], snapshots: [], ...present, ports }
  if (JSON.stringify(present) !== JSON.stringify(record)) await writeRecord(place, record)
  return record
}

async function newPorts({ home }: MachinePlace): Promise<VmRecord['ports']> {
  // Machines that are off keep theirs.
  const taken: number[] = []
  for (const name of await readdir(join(home, 'machines')).catch(() => [])) {
    const other = await readRecord({ home, folder: join(home, 'machines', name), socketFolder: '' }).catch(
      () => undefined
    )
    if (other !== undefined) taken.push(...Object.values(other.ports))
  }
  const [engine = 0, ssh = 0, vnc = 0] = await allocatePorts(3, taken)
  return { engine, ssh, vnc }
}

function chosenPorts({ ports }: QemuSettings): Partial<VmRecord['ports']> {
  return Object.fromEntries(Object.entries(ports ?? {}).filter(([, port]) => port !== undefined))
}

async function configure(
  former: QemuSettings | undefined,
  options: UpOptions,
  work: ConfigureWork
): Promise<QemuSettings> {
  const made = (await readRecord(work.place))?.made === true
  const settings = await configureQemu(former, options, made)
  const problems = engineSettingProblems(settings.engine, settings.windows)
  if (problems.length > 0) {
    throw new Fault(
      `machine.yaml has settings for the engine that it would not start with:\n  ${problems.join('\n  ')}`,
      {
        exitCode: 3,
        hint: `Correct them in ${join(work.place.folder, 'machine.yaml')}.`
      }
    )
  }
  if (!made) {
    // All that can be wrong is told now, while there is nothing of the machine: its host, its settings, its disc.
    await findGround(settings, work.place, { ...work, report: () => undefined })
    await checkPlan(await makePlan(settings, work.env))
  }
  return settings
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
    suspend,
    discard,
    snapshots: {
      create: createSnapshot,
      restore: (name, _settings, work) => restoreSnapshot(name, work),
      list: async place => ((await readRecord(place))?.snapshots ?? []).map(publicSnapshot),
      remove: (name, _settings, work) => removeSnapshot(name, work)
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
      add: addForward,
      list: async place => (await readRecord(place))?.forwards ?? [],
      remove: removeForward
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
    renewCertificates: async (settings, work) => renewCertificates(await startOf(settings, work)),
    rearm: async (settings, work) => rearm(await startOf(settings, work)),
    upgrade: async (version, settings, work) => upgrade(version, await startOf(settings, work)),
    remove,
    watch: watchGuest
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
