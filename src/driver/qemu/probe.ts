import { spawn } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Fault } from '#lib/fault.ts'
import { interrupted } from '#lib/wait.ts'
import { cpuModel } from './argv.ts'
import type { VmSpec } from './vm-spec.ts'

/** Why an accelerator cannot be used, and what to do about it. */
export interface Obstacle {
  what: string
  advice: string
}

/** A good accelerator needs about a tenth of a second; the rest is for a host that is busy. */
const PROBE_MS = 10_000

interface ProbeWork {
  guest: VmSpec['guest']
  qemu: { program: string }
  env: NodeJS.ProcessEnv
  signal?: AbortSignal
  limitMs?: number
}

/**
 * Runs a guest of a few instructions, as an operating system begins with, under the accelerator; gives what stands in
 * the way. There are hosts whose /dev/kvm opens and runs a boot sector, and then fails at the first instruction of a
 * kind that their KVM has to emulate.
 */
export async function probe(accelerator: 'kvm' | 'hvf' | 'tcg', work: ProbeWork): Promise<Obstacle | undefined> {
  const folder = await mkdtemp(join(tmpdir(), 'oriel-probe-'))
  try {
    const file = join(folder, 'guest.bin')
    const { image, argv, exitCode } = work.guest === 'x86_64' ? x86Probe(file) : armProbe(file)
    await writeFile(file, image)
    const ended = await runProbe(
      [
        work.qemu.program,
        ...argv,
        '-accel',
        accelerator,
        '-cpu',
        cpuModel({ guest: work.guest, accelerator, nested: false })
      ],
      work
    )
    return probeObstacle(accelerator, ended, exitCode)
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

/** How the try of an accelerator ended; without an exit code it hung. */
export interface ProbeEnd {
  exitCode?: number
  said: string
}

/** What stands in the way, by the end of a try that should have given `expected`. */
export function probeObstacle(
  accelerator: string,
  { exitCode, said }: ProbeEnd,
  expected: number
): Obstacle | undefined {
  if (exitCode === expected) return undefined
  const advice =
    accelerator === 'kvm' ? 'Look into the messages of the kernel: sudo dmesg | grep -i kvm' : 'See: oriel doctor'
  if (/KVM internal error/.test(said)) {
    return { what: '/dev/kvm opens but cannot run what an operating system begins with (KVM internal error)', advice }
  }
  if (exitCode === undefined) return { what: `${accelerator} opens but a guest does not run`, advice }
  if (/HV_DENIED|HV_UNSUPPORTED/.test(said)) {
    return {
      what: 'QEMU lacks the entitlement com.apple.security.hypervisor',
      advice: 'Install QEMU with Homebrew, which signs it: brew reinstall qemu'
    }
  }
  if (/invalid accelerator/.test(said))
    return { what: `this QEMU was built without ${accelerator}`, advice: 'Install another build.' }
  const words = (said.trim().split('\n').at(-1) ?? '').replace(/^\S*qemu-system-\S+: /, '')
  return { what: `QEMU ended with code ${exitCode}${words === '' ? '' : `: ${words}`}`, advice }
}

const COMMON = ['-nodefaults', '-no-user-config', '-display', 'none', '-m', '64M']

interface Probe {
  image: Buffer
  argv: string[]
  exitCode: number
}

/**
 * Goes from real mode over 32-bit to 64-bit code with pages, and writes 10h to the port of isa-debug-exit, which ends
 * QEMU with 2 * 10h + 1. The firmware loads it to 7c00h.
 */
const BOOT_SECTOR = [
  'fa31c08ed88ec08ed0bc007c', // cli; ds = es = ss = 0; sp = 7c00h
  'fcbf00106631c0b9000c66f3ab', // clear 1000h to 3fffh
  '66c70600100320000066c7060020033000', // PML4 at 1000h, PDPT at 2000h, PD at 3000h:
  '0066c706003083000000', // the first 2 MiB as one page
  '0f0116b87c', // lgdt [7cb8h]
  '0f20c00c010f22c0ea467c0800', // CR0.PE; far jump into 32-bit code
  '66b810008ed88ed0', // ds = ss = 10h
  '9bdbe3', // fwait; fninit
  'b8010000000fa2', // cpuid
  'b8200600000f22e0b8001000000f22d8', // CR4 = PAE, OSFXSR, OSXMMEXCPT; CR3 = 1000h
  'b9800000c00f320d000100000f30', // EFER.LME
  '0f20c00d000000800f22c0ea887c00001800', // CR0.PG; far jump into 64-bit code
  '66480f6ec4', // movq xmm0, rsp
  '66baf400b010ee', // out 0f4h, 10h
  'f4ebfd90', // hlt, for ever
  '0000000000000000', // GDT at 7c98h:
  'ffff0000009bcf00', // 08h: 32-bit code
  'ffff00000093cf00', // 10h: data
  'ffff0000009baf00', // 18h: 64-bit code
  '1f00987c0000' // its limit and address, at 7cb8h
].join('')

function x86Probe(file: string): Probe {
  // The disk is larger than its sector, or SeaBIOS does not boot it.
  const image = Buffer.alloc(1024 ** 2)
  Buffer.from(BOOT_SECTOR, 'hex').copy(image)
  image.writeUInt16LE(0xaa55, 510)
  const argv = [
    ...COMMON,
    ...['-machine', 'q35', '-device', 'isa-debug-exit,iobase=0xf4,iosize=0x4'],
    ...['-blockdev', JSON.stringify({ driver: 'raw', 'node-name': 'probe', file: { driver: 'file', filename: file } })],
    ...['-device', 'ide-hd,drive=probe,bootindex=1']
  ]
  return { image, argv, exitCode: 33 }
}

/** A kernel that asks PSCI to switch off (SYSTEM_OFF, Arm DEN0022): mov w0, #0x84000008; hvc #0; b . */
function armProbe(file: string): Probe {
  const image = Buffer.alloc(16)
  for (const [index, word] of [0x52800100, 0x72b08000, 0xd4000002, 0x14000000].entries()) {
    image.writeUInt32LE(word, index * 4)
  }
  return { image, argv: [...COMMON, '-machine', 'virt', '-kernel', file], exitCode: 0 }
}

function runProbe(argv: [string, ...string[]], { env, signal, limitMs = PROBE_MS }: ProbeWork): Promise<ProbeEnd> {
  const [program, ...args] = argv
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { env, stdio: ['ignore', 'ignore', 'pipe'] })
    let said = ''
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      said = (said + text).slice(-4096)
      // QEMU stays, with the guest stopped.
      if (/KVM internal error/.test(said)) end()
    })
    const stop = () => {
      settle()
      // Not waited for: a process that hangs in the kernel may outlive even this.
      child.kill('SIGKILL')
      child.stderr.destroy()
      child.unref()
    }
    const abort = () => {
      stop()
      reject(interrupted())
    }
    const end = () => {
      stop()
      resolve({ said })
    }
    const timer = setTimeout(end, limitMs)
    const settle = () => {
      clearTimeout(timer)
      signal?.removeEventListener('abort', abort)
    }
    signal?.addEventListener('abort', abort, { once: true })
    if (signal?.aborted) abort()
    child.once('error', error => {
      settle()
      reject(new Fault(`${program} could not be started: ${error.message}`, { exitCode: 4 }))
    })
    child.once('close', (code, killedBy) => {
      settle()
      resolve({ exitCode: code ?? 128, said: killedBy === null ? said : `${said}\nended by ${killedBy}` })
    })
  })
}
