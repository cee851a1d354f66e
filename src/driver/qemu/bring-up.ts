import { chmod, mkdir, readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import type { ConfigureWork, MachinePlace, MachineWork, Running, UpOptions, UpWork } from '#driver/driver.ts'
import { Fault } from '#lib/fault.ts'
import { formatDuration } from '#lib/size.ts'
import { engineSettingProblems } from '#windows/daemon-json.ts'
import { serverRelease } from '#windows/server-releases.ts'
import { findGround } from './boot.ts'
import { configureQemu } from './configure.ts'
import { copyVars, createOverlay } from './disk.ts'
import { goldenFiles, readGolden } from './golden.ts'
import { install } from './install.ts'
import { machineFiles } from './machine-files.ts'
import { checkPlan, gather, makePlan, type Plan } from './plan.ts'
import { allocatePorts } from './ports.ts'
import { changeRecord, madeRecord, readFacts, readRecord, type VmRecord, writeRecord } from './record.ts'
import { engineReference } from './reference.ts'
import { diskBytes, type QemuSettings } from './settings.ts'
import { awaitEngine, type Start, startGuest } from './start.ts'

/** Brings a machine into service: its media, installation, disk, guest and engine, each only where it is missing. */
export async function bringUp(settings: QemuSettings, work: UpWork): Promise<Running> {
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

/** The settings of a machine that is to be brought up, checked. A Fault for what could not work here. */
export async function configure(
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
