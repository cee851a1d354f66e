import { readFile, statfs } from 'node:fs/promises'
import { dirname } from 'node:path'
import type { Check } from '#driver/driver.ts'
import { run } from '#lib/child-process.ts'
import { Fault, messageOf } from '#lib/fault.ts'
import { formatBytes } from '#lib/size.ts'
import { type ChosenAccelerator, chooseAccelerator } from './accelerator.ts'
import { findFirmware } from './firmware.ts'
import { type FoundQemu, findProgram, findQemu, type HostFacts, hostFacts, packages } from './host.ts'
import { knownTroubles } from './known-troubles.ts'
import type { Accelerator, VmSpec } from './vm-spec.ts'

export interface CheckedMachine {
  guest: VmSpec['guest']
  accelerator: 'auto' | Accelerator
  memoryMiB: number
  /** What the machine's disk may come to take on the host. */
  diskBytes: number
  /** Hyper-V isolation. */
  nested: boolean
  /** Windows 11: needs swtpm. */
  client: boolean
}

interface CheckWork {
  /** ORIEL_HOME */
  home: string
  env: NodeJS.ProcessEnv
  signal: AbortSignal
}

/** What the qemu driver needs on this host, for `oriel doctor`. Never throws; changes nothing but the note of what was tried. */
export async function checkHost(machine: CheckedMachine, work: CheckWork): Promise<Check[]> {
  let host: HostFacts
  try {
    host = await hostFacts()
  } catch (error) {
    return [failed('host', error)]
  }
  const checks: Check[] = []
  const qemu = await collect(checks, 'qemu', async () => {
    const found = await findQemu(machine.guest, work.env)
    return [`${found.version.join('.')} (${found.program})`, found]
  })
  if (qemu !== undefined) checks.push(...(await checkQemu(qemu, host, machine, work)))
  checks.push(...(await checkTools(machine, work)))
  checks.push(checkMemory(machine.memoryMiB, host.memoryMiB))
  const disk = await freeBytes(work.home)
  if (disk !== undefined) checks.push(checkSpace(machine.diskBytes, disk, work.home))
  return checks
}

async function checkQemu(
  qemu: FoundQemu,
  host: HostFacts,
  machine: CheckedMachine,
  { home, env, signal }: CheckWork
): Promise<Check[]> {
  const checks: Check[] = []
  if (qemu.qemuImg === undefined) {
    const advice = (await packages()) === 'debian' ? 'sudo apt-get install qemu-utils' : 'Install qemu-img.'
    checks.push({ name: 'qemu-img', result: 'missing', detail: 'not installed', advice })
  } else checks.push({ name: 'qemu-img', result: 'ok', detail: qemu.qemuImg })
  await collect(checks, 'firmware', async () => {
    const { code } = await findFirmware(machine.guest, qemu.folder, env)
    return [code, code]
  })
  let chosen: ChosenAccelerator | undefined
  try {
    chosen = await chooseAccelerator(machine.accelerator, { guest: machine.guest, qemu, host, home, env, signal })
    checks.push(acceleratorCheck(chosen))
  } catch (error) {
    checks.push(failed('accelerator', error))
  }
  if (machine.nested) checks.push(checkNested(chosen?.accelerator, await nestedParameter()))
  if (host.os === 'darwin') checks.push(...(await checkBinary(qemu.program, host)))
  const accelerator = chosen?.accelerator ?? 'tcg'
  checks.push(
    ...knownTroubles({ host, guest: machine.guest, accelerator, version: qemu.version, client: machine.client })
  )
  return checks
}

function acceleratorCheck({ accelerator, why, warning }: ChosenAccelerator): Check {
  const detail = `${accelerator}: ${why}`
  if (warning === undefined) return { name: 'accelerator', result: 'ok', detail }
  return { name: 'accelerator', result: 'warning', detail, advice: warning }
}

/** `parameter` is what the KVM module says of nesting: `Y` or `1`. */
export function checkNested(accelerator: Accelerator | undefined, parameter: string | undefined): Check {
  const name = 'nested virtualization'
  if (accelerator !== 'kvm') {
    const advice = 'Use process isolation, or a host with KVM.'
    return { name, result: 'missing', detail: 'Hyper-V isolation needs KVM', advice }
  }
  if (parameter === 'Y' || parameter === '1') return { name, result: 'ok', detail: 'the KVM module allows it' }
  return {
    name,
    result: 'missing',
    detail: 'the KVM module does not allow it',
    advice: 'Load kvm_intel or kvm_amd with nested=1, for example by a line in /etc/modprobe.d/kvm.conf.'
  }
}

async function nestedParameter(): Promise<string | undefined> {
  for (const kvm of ['kvm_intel', 'kvm_amd']) {
    const text = await readFile(`/sys/module/${kvm}/parameters/nested`, 'utf8').catch(() => undefined)
    if (text !== undefined) return text.trim()
  }
  return undefined
}

/** What macOS says of QEMU's file: is it signed for the hypervisor, is it made for this processor. */
async function checkBinary(program: string, host: HostFacts): Promise<Check[]> {
  const text = async (argv: readonly [string, ...string[]]) =>
    (await run(argv, { timeoutMs: 20_000 }).catch(() => undefined))?.stdout ?? ''
  return binaryChecks(
    host.arch,
    await text(['codesign', '-d', '--entitlements', '-', '--xml', program]),
    await text(['lipo', '-archs', program])
  )
}

/** Judges what `codesign -d --entitlements` and `lipo -archs` say of QEMU's file. */
export function binaryChecks(arch: HostFacts['arch'], entitlements: string, archs: string): Check[] {
  const checks: Check[] = []
  const name = 'entitlement'
  if (/com\.apple\.security\.hypervisor/.test(entitlements)) {
    checks.push({ name, result: 'ok', detail: 'QEMU may use the hypervisor' })
  } else {
    checks.push({
      name,
      result: 'missing',
      detail: 'QEMU lacks com.apple.security.hypervisor (lima#1742)',
      advice: 'Install QEMU with Homebrew, which signs it: brew reinstall qemu'
    })
  }
  if (arch === 'arm64' && archs.trim() !== '' && !/\barm64\b/.test(archs)) {
    checks.push({
      name: 'qemu binary',
      result: 'warning',
      detail: 'this QEMU is made for Intel and runs under Rosetta, several times slower (nixpkgs#148768)',
      advice: 'Install QEMU with the Homebrew of /opt/homebrew.'
    })
  }
  return checks
}

async function checkTools(machine: CheckedMachine, { env }: CheckWork): Promise<Check[]> {
  const checks: Check[] = []
  const ssh = await findProgram('ssh', env)
  if (ssh !== undefined) checks.push({ name: 'ssh', result: 'ok', detail: ssh })
  else {
    const advice = 'Install the OpenSSH client, for example: sudo apt-get install openssh-client'
    checks.push({ name: 'ssh', result: 'missing', detail: 'not installed; the guest is looked after with it', advice })
  }
  if (!machine.client) return checks
  const swtpm = await findProgram('swtpm', env)
  if (swtpm !== undefined) checks.push({ name: 'swtpm', result: 'ok', detail: swtpm })
  else {
    const advice = { brew: 'brew install swtpm', debian: 'sudo apt-get install swtpm' } as Record<string, string>
    checks.push({
      name: 'swtpm',
      result: 'missing',
      detail: 'not installed; Windows 11 asks for a TPM',
      advice: advice[await packages()] ?? 'Install swtpm.'
    })
  }
  return checks
}

/** Whether a machine's memory leaves enough to the host. */
export function checkMemory(wantedMiB: number, hostMiB: number): Check {
  const name = 'memory'
  const detail = `${wantedMiB} MiB for the machine, of ${hostMiB} MiB`
  if (wantedMiB <= hostMiB * 0.75) return { name, result: 'ok', detail }
  return {
    name,
    result: wantedMiB >= hostMiB ? 'missing' : 'warning',
    detail,
    advice: `Give the machine less: oriel up --memory ${Math.max(2, Math.floor((hostMiB * 0.5) / 1024))}GiB`
  }
}

/** A machine takes about this much once it is installed and has a base image. */
const INSTALLED_BYTES = 30_000_000_000

/** Whether the host's disk has room for a machine, now and when the guest has filled its disk. */
export function checkSpace(diskBytes: number, free: number, folder: string): Check {
  const name = 'disk'
  const detail = `${formatBytes(free)} free in ${folder}`
  if (free >= diskBytes) return { name, result: 'ok', detail }
  const needed = Math.min(INSTALLED_BYTES, diskBytes)
  if (free < needed) {
    const advice = `Free at least ${formatBytes(needed)}, or set ORIEL_HOME to a folder on another disk.`
    return { name, result: 'missing', detail, advice }
  }
  return {
    name,
    result: 'warning',
    detail: `${detail}; the machine's disk may grow to ${formatBytes(diskBytes)}`,
    advice: 'When the disk is full, the machine stands still until there is room again.'
  }
}

/** Of the file system that a folder is on, or will be. */
async function freeBytes(folder: string): Promise<number | undefined> {
  for (let path = folder; ; path = dirname(path)) {
    const found = await statfs(path).catch(() => undefined)
    if (found !== undefined) return found.bavail * found.bsize
    if (path === dirname(path)) return undefined
  }
}

async function collect<T>(
  checks: Check[],
  name: string,
  find: () => Promise<[detail: string, T]>
): Promise<T | undefined> {
  try {
    const [detail, found] = await find()
    checks.push({ name, result: 'ok', detail })
    return found
  } catch (error) {
    checks.push(failed(name, error))
    return undefined
  }
}

function failed(name: string, error: unknown): Check {
  const hint = error instanceof Fault ? error.hint : undefined
  return { name, result: 'missing', detail: messageOf(error), ...(hint === undefined ? {} : { advice: hint }) }
}
