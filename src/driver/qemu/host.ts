import { constants } from 'node:fs'
import { access, readFile, realpath } from 'node:fs/promises'
import { availableParallelism, cpus, release, totalmem } from 'node:os'
import { delimiter, dirname, join } from 'node:path'
import { run } from '#lib/child-process.ts'
import { Fault, messageOf } from '#lib/fault.ts'
import type { Qemu, VmSpec } from './vm-spec.ts'

type Guest = VmSpec['guest']

/** The computer that Oriel runs on. */
export interface HostFacts {
  os: 'linux' | 'darwin'
  /** Of the processor, also when Node runs under Rosetta. */
  arch: 'x64' | 'arm64'
  /** Of macOS (`26.1`), or of the Linux kernel. */
  osVersion: string
  /** `Apple M1`, `Intel(R) Core(TM) i7-8750H CPU @ 2.20GHz`. */
  cpuModel: string
  cpuVendor?: 'intel' | 'amd' | 'apple'
  cpus: number
  memoryMiB: number
}

/** Looks at this host. Fault 4 on a system that the qemu driver does not know. */
export async function hostFacts(): Promise<HostFacts> {
  const { platform } = process
  if ((platform !== 'linux' && platform !== 'darwin') || (process.arch !== 'x64' && process.arch !== 'arm64')) {
    throw new Fault(`the qemu driver runs on macOS and Linux, on x64 and arm64, not on ${platform} ${process.arch}.`, {
      exitCode: 4
    })
  }
  const translated = platform === 'darwin' && (await sysctl('sysctl.proc_translated')) === '1'
  const arch = translated ? 'arm64' : process.arch
  const cpuModel =
    platform === 'darwin' ? ((await sysctl('machdep.cpu.brand_string')) ?? '') : (cpus()[0]?.model.trim() ?? '')
  const vendorId =
    platform === 'linux' ? (/^vendor_id\s*:\s*(\S+)/m.exec(await readFile('/proc/cpuinfo', 'utf8'))?.[1] ?? '') : ''
  const vendor = vendorOf(`${cpuModel} ${vendorId}`)
  return {
    os: platform,
    arch,
    osVersion: platform === 'darwin' ? await macosVersion() : release(),
    cpuModel,
    ...(vendor === undefined ? {} : { cpuVendor: vendor }),
    cpus: availableParallelism(),
    memoryMiB: Math.floor(totalmem() / 1024 ** 2)
  }
}

/** Who made a processor, by its model and vendor id. */
export function vendorOf(text: string): 'intel' | 'amd' | 'apple' | undefined {
  if (/intel/i.test(text)) return 'intel'
  // Hygon's processors are AMD's.
  if (/amd|hygon/i.test(text)) return 'amd'
  return /^apple/i.test(text) ? 'apple' : undefined
}

/** A value of the system on macOS; undefined when there is none of this name. */
export async function sysctl(name: string): Promise<string | undefined> {
  const result = await run(['sysctl', '-n', name], { timeoutMs: 5000 }).catch(() => undefined)
  return result?.exitCode === 0 ? result.stdout.trim() : undefined
}

async function macosVersion(): Promise<string> {
  const result = await run(['sw_vers', '-productVersion'], { timeoutMs: 5000 }).catch(() => undefined)
  return result?.stdout.trim() ?? ''
}

export interface FoundQemu extends Qemu {
  /** Where the program is, links followed: `share/qemu` lies beside it. */
  folder: string
  /** qemu-img of the same installation, else the one on PATH; undefined when there is none. */
  qemuImg?: string
}

// A background process of macOS has a PATH without these.
const FOLDERS = ['/opt/homebrew/bin', '/usr/local/bin', '/opt/local/bin', '/usr/bin']

/** Finds QEMU for a guest on PATH or where package managers put it. Fault 4 with the command that installs it. */
export async function findQemu(guest: Guest, env: NodeJS.ProcessEnv): Promise<FoundQemu> {
  const name = `qemu-system-${guest}`
  const program = await findProgram(name, env)
  if (program === undefined) {
    throw new Fault(`${name} is not installed.`, { exitCode: 4, hint: installHint(await packages(), guest) })
  }
  const result = await run([program, '--version'], { env, timeoutMs: 20_000 }).catch((error: unknown) => {
    throw new Fault(`${program} does not run: ${messageOf(error)}`, { exitCode: 4 })
  })
  const version = parseVersion(result.stdout)
  if (version === undefined) {
    throw new Fault(`${program} does not run: ${(result.stderr || result.stdout).trim()}`, {
      exitCode: 4,
      hint: `Install it again. ${installHint(await packages(), guest)}`
    })
  }
  const folder = dirname(await realpath(program))
  const qemuImg = (await executable(join(folder, 'qemu-img'))) ?? (await findProgram('qemu-img', env))
  return {
    program,
    version,
    sandbox: await hasSandbox(program, env),
    folder,
    ...(qemuImg === undefined ? {} : { qemuImg })
  }
}

/** The version in what `qemu-system-… --version` prints. */
export function parseVersion(text: string): readonly [number, number, number] | undefined {
  const found = /^QEMU emulator version (\d+)\.(\d+)(?:\.(\d+))?/m.exec(text)
  return found === null ? undefined : [Number(found[1]), Number(found[2]), Number(found[3] ?? 0)]
}

async function hasSandbox(program: string, env: NodeJS.ProcessEnv): Promise<boolean> {
  if (process.platform !== 'linux') return false
  // Options are read from the left: without seccomp QEMU refuses the first before it comes to the list of machines.
  const options = ['-sandbox', 'on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny']
  const result = await run([program, ...options, '-machine', 'help'], { env, timeoutMs: 20_000 }).catch(() => undefined)
  return result?.exitCode === 0
}

/** The full path of a program, on PATH or in a usual folder. */
export async function findProgram(name: string, env: NodeJS.ProcessEnv): Promise<string | undefined> {
  for (const folder of [...(env.PATH ?? '').split(delimiter), ...FOLDERS]) {
    if (folder.startsWith('/')) {
      const found = await executable(join(folder, name))
      if (found !== undefined) return found
    }
  }
  return undefined
}

async function executable(file: string): Promise<string | undefined> {
  return access(file, constants.X_OK).then(
    () => file,
    () => undefined
  )
}

export type Packages = 'brew' | 'debian' | 'fedora' | 'suse' | 'arch' | 'unknown'

/** Which package manager this host has. */
export async function packages(): Promise<Packages> {
  if (process.platform === 'darwin') return 'brew'
  return packagesOf(await readFile('/etc/os-release', 'utf8').catch(() => ''))
}

/** The package manager of a distribution, by its os-release file. */
export function packagesOf(osRelease: string): Packages {
  const ids = [...osRelease.matchAll(/^(?:ID|ID_LIKE)=(.*)$/gm)].map(match => match[1] ?? '').join(' ')
  if (/\b(debian|ubuntu)\b/.test(ids)) return 'debian'
  if (/\b(fedora|rhel|centos)\b/.test(ids)) return 'fedora'
  if (/\b(suse|opensuse)\b/.test(ids)) return 'suse'
  return /\barch\b/.test(ids) ? 'arch' : 'unknown'
}

/** How to install QEMU, qemu-img and the UEFI firmware for a guest. */
export function installHint(kind: Packages, guest: Guest): string {
  const arm = guest === 'aarch64'
  switch (kind) {
    case 'brew':
      return 'brew install qemu (or, with MacPorts: sudo port install qemu)'
    case 'debian':
      return `sudo apt-get install ${arm ? 'qemu-system-arm qemu-efi-aarch64' : 'qemu-system-x86 ovmf'} qemu-utils`
    case 'fedora':
      return `sudo dnf install ${arm ? 'qemu-system-aarch64-core edk2-aarch64' : 'qemu-system-x86-core edk2-ovmf'} qemu-img`
    case 'suse':
      return `sudo zypper install ${arm ? 'qemu-arm qemu-uefi-aarch64' : 'qemu-x86 qemu-ovmf-x86_64'} qemu-tools`
    case 'arch':
      return `sudo pacman -S ${arm ? 'qemu-system-aarch64 edk2-aarch64' : 'qemu-system-x86 edk2-ovmf'} qemu-img`
    case 'unknown':
      return `Install QEMU (qemu-system-${guest}), qemu-img and the UEFI firmware (EDK II) with your package manager.`
  }
}
