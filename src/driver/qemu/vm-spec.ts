export type Accelerator = 'kvm' | 'hvf' | 'tcg'

export interface Qemu {
  program: string
  version: readonly [number, number, number]
  /** Whether this build can give up system calls that it does not need (Linux). */
  sandbox: boolean
}

/** One virtual machine as QEMU is to run it. Paths are absolute. */
export interface VmSpec {
  /** Shown in process lists: -name oriel-NAME */
  name: string
  host: { os: 'linux' | 'darwin'; arch: 'x64' | 'arm64' }
  guest: 'x86_64' | 'aarch64'
  accelerator: Accelerator
  qemu: Qemu
  cpuVendor?: 'intel' | 'amd' | 'apple'
  cpus: number
  memoryMiB: number
  /** Hyper-V isolation is asked for: the guest sees vmx or svm (KVM only). */
  nested: boolean
  /** A client release (Windows 11): it wants a TPM, which swtpm plays at `files.tpm`. */
  client: boolean
  /** `code` is raw and never written; `vars` is the machine's own copy, qcow2. */
  firmware: { code: string; vars: string }
  /** qcow2. `unsafe` ignores the guest's flushes: only for a disk that is made anew after a crash. */
  disk: { file: string; discard: boolean; cache: 'writeback' | 'unsafe' }
  /** CD drives, in this order; one without a file is empty. The medium can be changed while the machine runs. */
  drives: { id: DriveId; file?: string }[]
  /** On the host's loopback. */
  ports: { engine: number; ssh: number; vnc: number }
  forwards: { hostPort: number; guestPort: number }[]
  /** `qmp` and `tpm` are unix sockets, `com1` is appended to, `log` is QEMU's own log (`-D`). */
  files: { qmp: string; com1: string; log?: string; tpm?: string }
  /** Go on from this live snapshot. */
  loadSnapshot?: string
  /** Do not let the guest run yet. */
  paused: boolean
}

export type DriveId = 'install' | 'disc'

/** Names of the block nodes whose state a snapshot holds; the guest's memory goes into the first. */
export const SNAPSHOT_NODES = ['disk', 'vars'] as const

/** The name of the block node of a medium that was in the drive from the start. */
export function mediumNode(drive: DriveId): string {
  return `${drive}-medium`
}

/** What `query-name` answers for a machine. */
export function vmName(machine: string): string {
  return `oriel-${machine}`
}

/**
 * Why the memory of such a machine cannot be saved; undefined where it can.
 * UTM's documentation (utmapp/UTM#5844) names HVF on Intel and NVMe, the latter being QEMU's own refusal.
 */
export function suspendObstacle(spec: Pick<VmSpec, 'guest' | 'accelerator'>): string | undefined {
  if (spec.guest === 'aarch64') return 'QEMU cannot save the state of the NVMe disk that Windows on ARM boots from'
  if (spec.accelerator === 'hvf') return 'QEMU cannot save the state of a processor under HVF on Intel'
  return undefined
}
