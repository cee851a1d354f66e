import { mkdir, open, rm, stat } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import type { DriverWork, Forward, MachinePlace } from '#driver/driver.ts'
import { startDetached } from '#lib/child-process.ts'
import { Fault } from '#lib/fault.ts'
import { poll } from '#lib/wait.ts'
import { serverRelease } from '#windows/server-releases.ts'
import { chooseAccelerator } from './accelerator.ts'
import { swtpmArgv } from './argv.ts'
import { blockActivity, changeMedium, eject, screenshot } from './devices.ts'
import { findFirmware } from './firmware.ts'
import type { Activity } from './follow.ts'
import { findQemu, hostFacts } from './host.ts'
import type { MachineFiles } from './machine-files.ts'
import { withQmp as connectQmp, type Qmp } from './qmp.ts'
import type { Shape } from './record.ts'
import { memoryMiB, type QemuSettings } from './settings.ts'
import { cpuSeconds, killVm, powerDown, quit, startVm, vmPid, vmState } from './vm-process.ts'
import type { VmSpec } from './vm-spec.ts'

const QMP_MS = 10_000
const GONE_MS = 15_000

/** What this host gives a virtual machine. */
export interface Ground {
  host: VmSpec['host']
  qemu: VmSpec['qemu']
  cpuVendor: VmSpec['cpuVendor']
  firmware: { code: string; varsTemplate: string }
  accelerator: VmSpec['accelerator']
  /** Why this accelerator, for people. */
  why: string
}

/** What is particular to one start of one virtual machine. */
export interface Boot {
  name: string
  ground: Ground
  settings: QemuSettings
  /** What the guest was given before, when its memory is to go on; otherwise the settings count. */
  shape?: Shape
  client: boolean
  disk: string
  vars: string
  com1: string
  log: string
  qmp: string
  ports: VmSpec['ports']
  forwards: Forward[]
  drives: VmSpec['drives']
  cache: VmSpec['disk']['cache']
  loadSnapshot?: string
  paused?: boolean
}

/** Finds QEMU, its firmware and the best accelerator that works. Fault 4 when something is missing. */
export async function findGround(settings: QemuSettings, place: MachinePlace, work: DriverWork): Promise<Ground> {
  const { architecture } = serverRelease(settings.windows)
  const qemu = await findQemu(architecture, work.env)
  const firmware = await findFirmware(architecture, qemu.folder, work.env)
  const facts = await hostFacts()
  const { accelerator, why, warning } = await chooseAccelerator(settings.accelerator, {
    guest: architecture,
    qemu,
    host: facts,
    home: place.home,
    env: work.env,
    signal: work.signal
  })
  if (warning !== undefined) work.report({ type: 'notice', text: warning })
  const { os, arch, cpuVendor } = facts
  return { host: { os, arch }, qemu, cpuVendor, firmware, accelerator, why }
}

/** Starts a virtual machine that outlives this process. Fault when QEMU does not come up. */
export async function bootVm(boot: Boot): Promise<void> {
  const { ground, settings, shape, loadSnapshot } = boot
  const spec: VmSpec = {
    name: boot.name,
    host: ground.host,
    guest: serverRelease(settings.windows).architecture,
    accelerator: ground.accelerator,
    qemu: ground.qemu,
    ...(ground.cpuVendor === undefined ? {} : { cpuVendor: ground.cpuVendor }),
    cpus: shape?.cpus ?? settings.cpus,
    memoryMiB: shape?.memoryMiB ?? memoryMiB(settings),
    nested: settings.isolation === 'hyperv',
    client: boot.client,
    firmware: { code: ground.firmware.code, vars: boot.vars },
    disk: { file: boot.disk, discard: true, cache: boot.cache },
    drives: boot.drives,
    ports: boot.ports,
    forwards: boot.forwards,
    files: { qmp: boot.qmp, com1: boot.com1, log: boot.log, ...(boot.client ? { tpm: await startTpm(boot) } : {}) },
    ...(loadSnapshot === undefined ? {} : { loadSnapshot }),
    paused: boot.paused === true
  }
  await startVm(spec, boot.log)
}

/** Starts the TPM that Windows 11 wants; it ends with the virtual machine. Gives its socket. */
async function startTpm(boot: Boot): Promise<string> {
  const state = join(dirname(boot.disk), 'tpm')
  const socket = join(dirname(boot.qmp), 'tpm.sock')
  await mkdir(state, { recursive: true, mode: 0o700 })
  // Of a killed one: its being there would be taken for the new one's.
  await rm(socket, { force: true })
  const log = await open(boot.log, 'a', 0o600)
  try {
    await startDetached(swtpmArgv(state, socket), { cwd: '/', env: process.env, output: log.fd })
  } catch (error) {
    throw new Fault('swtpm is not installed, and Windows 11 wants a TPM.', {
      exitCode: 4,
      hint: 'On a Mac: brew install swtpm   On Debian: sudo apt-get install swtpm',
      cause: error
    })
  } finally {
    await log.close()
  }
  const there = await poll(async () => (await exists(socket)) || undefined, { limitMs: 10_000 })
  if (there === undefined) throw new Fault(`swtpm did not come up; what it said is in ${boot.log}.`)
  return socket
}

function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false
  )
}

/** Talks with the QEMU behind a control socket, and lets go of it: it serves one at a time. */
export async function withQmp<T>(socket: string, talk: (qmp: Qmp) => Promise<T>): Promise<T> {
  return connectQmp(socket, talk, { timeoutMs: QMP_MS })
}

export async function vmGone(socket: string): Promise<boolean> {
  return (await vmState(socket)) === 'absent'
}

/** Stops the guest's time. */
export async function halt(socket: string): Promise<void> {
  await withQmp(socket, qmp => qmp.execute('stop'))
}

/** Has the guest's time go on, if it stands. */
export async function goOn(socket: string): Promise<void> {
  await withQmp(socket, qmp => qmp.execute('cont'))
}

export async function waitUntilGone(socket: string, limitMs: number): Promise<boolean> {
  const gone = await poll(async () => (await vmGone(socket)) || undefined, { limitMs })
  return gone === true
}

/** Asks the guest to shut down, and cuts its power after `limitMs`. Gives words on which it was. */
export async function shutDown(socket: string, limitMs: number): Promise<string> {
  const how = await withQmp(socket, async qmp => {
    // Halted by a full disk, it may have room by now; if not, its power is cut after the time.
    await qmp.execute('cont').catch(() => undefined)
    return powerDown(qmp, limitMs)
  })
  return how === 'shut down' ? how : 'did not shut down in time, so its power was cut'
}

/** Ends a virtual machine at once, as a power cut does. */
export async function endVm(socket: string): Promise<void> {
  if (await vmGone(socket)) return
  await withQmp(socket, qmp => quit(qmp)).catch(() => undefined)
  if (!(await waitUntilGone(socket, GONE_MS))) await killVm(socket)
}

/** What the virtual machine is doing. */
export async function look(socket: string): Promise<Activity> {
  const state = await vmState(socket)
  const pid = await vmPid(socket)
  if (state === 'absent' || pid === undefined) return { state: 'absent', operations: 0, cpuSeconds: 0 }
  const operations = state === 'silent' ? 0 : await withQmp(socket, blockActivity).catch(() => 0)
  return { state, operations, cpuSeconds: (await cpuSeconds(pid)) ?? 0 }
}

/** Saves what is on the guest's screen beside the machine. */
export async function picture(socket: string, files: MachineFiles): Promise<string> {
  await mkdir(files.folder, { recursive: true, mode: 0o700 })
  await withQmp(socket, qmp => screenshot(qmp, files.screenshot))
  return files.screenshot
}

export async function pressEnter(socket: string): Promise<void> {
  await withQmp(socket, qmp => qmp.execute('send-key', { keys: [{ type: 'qcode', data: 'ret' }] }))
}

/** Puts a disc into the guest's second drive. */
export async function changeDisc(socket: string, file: string): Promise<void> {
  await withQmp(socket, qmp => changeMedium(qmp, 'disc', file))
}

export async function ejectDisc(socket: string): Promise<void> {
  await withQmp(socket, qmp => eject(qmp, 'disc'))
}
