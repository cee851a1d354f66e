import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, vi } from 'vitest'
import { copyVars, createDisk } from '#driver/qemu/disk.ts'
import { allocatePorts } from '#driver/qemu/ports.ts'
import { killVm } from '#driver/qemu/vm-process.ts'
import type { VmSpec } from '#driver/qemu/vm-spec.ts'

// QEMU emulates a processor here, beside the other tests.
vi.setConfig({ testTimeout: 60_000 })

const folders: string[] = []
const sockets: string[] = []

afterEach(async () => {
  for (const socket of sockets.splice(0)) await killVm(socket)
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true })
})

/** A folder that goes after the test. */
export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'oriel-vm-'))
  folders.push(folder)
  return folder
}

/** A small machine with an empty disk, that QEMU of this host can really run; it stops in the UEFI shell. Ends with the test. */
export async function smallVm(changes: Partial<VmSpec> = {}): Promise<VmSpec> {
  const folder = temporaryFolder()
  const [engine, ssh, vnc] = (await allocatePorts(3)) as [number, number, number]
  const spec: VmSpec = {
    name: 'test',
    host: { os: 'linux', arch: 'x64' },
    guest: 'x86_64',
    accelerator: 'tcg',
    qemu: { program: 'qemu-system-x86_64', version: [7, 2, 0], sandbox: true },
    cpus: 2,
    memoryMiB: 128,
    nested: false,
    client: false,
    firmware: { code: '/usr/share/OVMF/OVMF_CODE_4M.fd', vars: join(folder, 'vars.qcow2') },
    disk: { file: join(folder, 'disk.qcow2'), discard: true, cache: 'writeback' },
    drives: [{ id: 'install' }, { id: 'disc' }],
    ports: { engine, ssh, vnc },
    forwards: [],
    files: { qmp: join(folder, 'qmp.sock'), com1: join(folder, 'com1.log') },
    paused: true,
    ...changes
  }
  await createDisk(spec.disk.file, 64 * 1024 ** 2)
  await copyVars('/usr/share/OVMF/OVMF_VARS_4M.fd', spec.firmware.vars)
  sockets.push(spec.files.qmp)
  return spec
}
