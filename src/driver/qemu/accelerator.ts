import { constants } from 'node:fs'
import { access, readFile, stat } from 'node:fs/promises'
import { release } from 'node:os'
import { join } from 'node:path'
import { makeFolder, readJsonFile, writeFileAtomic } from '#lib/atomic-file.ts'
import { Fault } from '#lib/fault.ts'
import { type HostFacts, sysctl } from './host.ts'
import { type Obstacle, probe } from './probe.ts'
import type { Accelerator, Qemu, VmSpec } from './vm-spec.ts'

export interface ChosenAccelerator {
  accelerator: Accelerator
  /** For people: why this one. */
  why: string
  /** What a person should know before a long wait. */
  warning?: string
}

/** What a choice needs to know. */
export interface AcceleratorWork {
  guest: VmSpec['guest']
  qemu: Pick<Qemu, 'program' | 'version'>
  host: Pick<HostFacts, 'os' | 'arch'>
  /** ORIEL_HOME: what was found is kept there until the next boot. */
  home: string
  env: NodeJS.ProcessEnv
  signal?: AbortSignal
}

/**
 * Chooses how the guest's processor is made: the accelerator asked for, or the best that works on this host. It is tried
 * with a guest of a few instructions, since a device that opens may hang all the same. Fault 4 when the one asked for
 * does not work.
 */
export async function chooseAccelerator(
  asked: 'auto' | Accelerator,
  work: AcceleratorWork
): Promise<ChosenAccelerator> {
  const native = nativeAccelerator(work.guest, work.host)
  const tried = native !== undefined && asked !== 'tcg' && (asked === 'auto' || asked === native)
  return decideAccelerator(asked, work.guest, work.host, tried ? await obstacleTo(native, work) : undefined)
}

/** The accelerator that a host of this kind may have for a guest; none for a guest of another architecture. */
export function nativeAccelerator(
  guest: VmSpec['guest'],
  host: Pick<HostFacts, 'os' | 'arch'>
): 'kvm' | 'hvf' | undefined {
  if ((guest === 'x86_64') !== (host.arch === 'x64')) return undefined
  return host.os === 'linux' ? 'kvm' : 'hvf'
}

/** The choice, given what stands in the way of the host's own accelerator. Fault 4 when the one asked for cannot be. */
export function decideAccelerator(
  asked: 'auto' | Accelerator,
  guest: VmSpec['guest'],
  host: Pick<HostFacts, 'os' | 'arch'>,
  obstacle: Obstacle | undefined
): ChosenAccelerator {
  const native = nativeAccelerator(guest, host)
  const slow = 'The guest runs in software emulation (TCG): expect everything to take ten times as long.'
  if (asked === 'tcg') return { accelerator: 'tcg', why: 'asked for', warning: slow }
  if (asked !== 'auto' && asked !== native) {
    const reason =
      native === undefined ? `a host of ${host.arch} emulates a guest of ${guest} in software` : `here it is ${native}`
    throw new Fault(`${asked} cannot be used on this host: ${reason}.`, {
      exitCode: 4,
      hint: 'Set accelerator: auto.'
    })
  }
  if (native === undefined) {
    const why = `no host of ${host.arch} accelerates a guest of ${guest}`
    return { accelerator: 'tcg', why, warning: slow }
  }
  if (obstacle === undefined) return { accelerator: native, why: `${native} works on this host` }
  if (asked === native)
    throw new Fault(`${native} cannot be used: ${obstacle.what}.`, { exitCode: 4, hint: obstacle.advice })
  const warning = `${slow} ${obstacle.advice}`
  return { accelerator: 'tcg', why: `${native} cannot be used: ${obstacle.what}`, warning }
}

async function obstacleTo(native: 'kvm' | 'hvf', work: AcceleratorWork): Promise<Obstacle | undefined> {
  const plain = native === 'kvm' ? await kvmObstacle() : hvfObstacle(await sysctl('kern.hv_support'))
  // Cheap to ask, and a person may have changed it since: not kept.
  if (plain !== undefined) return plain
  const key = await probeKey(native, work)
  const file = join(work.home, 'accelerators.json')
  const kept = keptObstacle(await readJsonFile(file).catch(() => undefined), key)
  if (kept !== 'unknown') return kept
  const obstacle = await probe(native, work)
  await makeFolder(work.home)
  await writeFileAtomic(file, `${JSON.stringify({ key, obstacle: obstacle ?? null }, undefined, 2)}\n`)
  return obstacle
}

/** What was found before under the same conditions: an obstacle, none (undefined), or not known. */
export function keptObstacle(json: unknown, key: string): Obstacle | undefined | 'unknown' {
  if (typeof json !== 'object' || json === null || !('key' in json) || json.key !== key || !('obstacle' in json)) {
    return 'unknown'
  }
  const { obstacle } = json
  if (obstacle === null) return undefined
  if (typeof obstacle !== 'object' || obstacle === null || !('what' in obstacle) || !('advice' in obstacle))
    return 'unknown'
  return { what: String(obstacle.what), advice: String(obstacle.advice) }
}

/** All that a result depends on: another QEMU, kernel or boot is tried anew. */
async function probeKey(native: Accelerator, { guest, qemu }: AcceleratorWork): Promise<string> {
  const boot =
    process.platform === 'linux'
      ? await readFile('/proc/sys/kernel/random/boot_id', 'utf8').catch(() => '')
      : ((await sysctl('kern.bootsessionuuid')) ?? '')
  const { mtimeMs } = await stat(qemu.program)
  return [native, guest, qemu.program, qemu.version.join('.'), mtimeMs, release(), boot.trim()].join(' ')
}

async function kvmObstacle(): Promise<Obstacle | undefined> {
  try {
    await access('/dev/kvm', constants.R_OK | constants.W_OK)
    return undefined
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') {
      return {
        what: 'there is no /dev/kvm',
        advice: 'Switch virtualization on in the firmware of this computer, or allow it in the hypervisor it runs on.'
      }
    }
    return {
      what: 'this user may not use /dev/kvm',
      advice: 'sudo usermod -aG kvm "$USER", then log in again.'
    }
  }
}

/** `support` is what `sysctl kern.hv_support` says. */
export function hvfObstacle(support: string | undefined): Obstacle | undefined {
  if (support === '1') return undefined
  return {
    what: 'this Mac has no hypervisor support (kern.hv_support)',
    advice: 'A macOS that itself runs in a virtual machine needs nested virtualization.'
  }
}
