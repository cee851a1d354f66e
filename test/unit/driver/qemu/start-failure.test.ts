import { describe, expect, test } from 'vitest'
import { startFailure } from '#driver/qemu/start-failure.ts'
import type { VmSpec } from '#driver/qemu/vm-spec.ts'

const spec: VmSpec = {
  name: 'win',
  host: { os: 'linux', arch: 'x64' },
  guest: 'x86_64',
  accelerator: 'kvm',
  qemu: { program: '/usr/bin/qemu-system-x86_64', version: [10, 0, 0], sandbox: true },
  cpus: 2,
  memoryMiB: 65_536,
  nested: false,
  client: false,
  firmware: { code: '/code.fd', vars: '/vars.qcow2' },
  disk: { file: '/disk.qcow2', discard: true, cache: 'writeback' },
  drives: [],
  ports: { engine: 22376, ssh: 22022, vnc: 25900 },
  forwards: [],
  files: { qmp: '/qmp', com1: '/com1' },
  paused: false
}

/** What QEMU writes where it cannot be tried here: from its source and from reports. */
const CASES: [said: string, message: RegExp, exitCode: number, hint: RegExp][] = [
  [
    'Could not access KVM kernel module: Permission denied\nqemu-system-x86_64: -accel kvm: failed to initialize kvm: Permission denied',
    /may not use \/dev\/kvm/,
    4,
    /usermod -aG kvm/
  ],
  [
    'Could not access KVM kernel module: No such file or directory\nqemu-system-x86_64: -accel kvm: failed to initialize kvm: No such file or directory',
    /KVM cannot be used: No such file/,
    4,
    /firmware of this computer/
  ],
  [
    'qemu-system-aarch64: -accel hvf: Error: ret = HV_DENIED (0xfae94007, at ../accel/hvf/hvf-accel-ops.c:334)',
    /com.apple.security.hypervisor/,
    4,
    /brew reinstall/
  ],
  [
    "qemu-system-x86_64: kernel doesn't allow setting HyperV VP_INDEX",
    /Hyper-V enlightenments/,
    4,
    /CONFIG_KVM_HYPERV/
  ],
  ['qemu-system-aarch64: -accel hvf: invalid accelerator hvf', /built without hvf/, 4, /another build/],
  [
    'qemu-system-x86_64: -blockdev {}: Could not write: No space left on device',
    /disk of this host is full/,
    4,
    /Free/
  ],
  ["qemu-system-x86_64: cannot set up guest memory 'pc.ram': Cannot allocate memory", /no 65536 MiB/, 4, /--memory/]
]

describe('what QEMU says when it does not start', () => {
  test.each(CASES)('%s', async (said, message, exitCode, hint) => {
    const fault = await startFailure(spec, said, '', async () => undefined)
    expect(fault.message).toMatch(message)
    expect(fault.exitCode).toBe(exitCode)
    expect(fault.hint).toMatch(hint)
  })

  test('is not needed', async () => {
    expect((await startFailure(spec, ' \n', 'QEMU ended at once.', async () => undefined)).message).toBe(
      'QEMU did not start: QEMU ended at once.'
    )
  })
})
