import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { qemuArgv, swtpmArgv } from '#driver/qemu/argv.ts'
import { withQmp } from '#driver/qemu/qmp.ts'
import { startVm } from '#driver/qemu/vm-process.ts'
import { type Accelerator, suspendObstacle, type VmSpec } from '#driver/qemu/vm-spec.ts'
import { smallVm } from './vm.ts'

const folder = '/home/ann/.oriel/machines/win'

function specOf(changes: Partial<VmSpec> = {}): VmSpec {
  return {
    name: 'win',
    host: { os: 'linux', arch: 'x64' },
    guest: 'x86_64',
    accelerator: 'kvm',
    qemu: { program: '/usr/bin/qemu-system-x86_64', version: [10, 0, 2], sandbox: true },
    cpuVendor: 'intel',
    cpus: 4,
    memoryMiB: 6144,
    nested: false,
    client: false,
    firmware: { code: '/usr/share/OVMF/OVMF_CODE_4M.fd', vars: `${folder}/vars.qcow2` },
    disk: { file: `${folder}/disk.qcow2`, discard: true, cache: 'writeback' },
    drives: [{ id: 'install', file: '/home/ann/.oriel/media/2025.iso' }, { id: 'disc' }],
    ports: { engine: 22376, ssh: 22022, vnc: 25900 },
    forwards: [],
    files: { qmp: `${folder}/qmp.sock`, com1: `${folder}/com1.log` },
    paused: false,
    ...changes
  }
}

type Host = { os: 'linux' | 'darwin'; arch: 'x64' | 'arm64'; vendor: 'intel' | 'amd' | 'apple' | undefined }

const HOSTS: Record<string, Host> = {
  'linux-x64-intel': { os: 'linux', arch: 'x64', vendor: 'intel' },
  'linux-x64-amd': { os: 'linux', arch: 'x64', vendor: 'amd' },
  'linux-arm64': { os: 'linux', arch: 'arm64', vendor: undefined },
  'darwin-x64': { os: 'darwin', arch: 'x64', vendor: 'intel' },
  'darwin-arm64': { os: 'darwin', arch: 'arm64', vendor: 'apple' }
}

const SERVER: [Accelerator, string][] = [
  ['kvm', 'linux-x64-intel'],
  ['kvm', 'linux-x64-amd'],
  ['tcg', 'linux-x64-intel'],
  ['tcg', 'linux-arm64'],
  ['hvf', 'darwin-x64'],
  ['tcg', 'darwin-x64'],
  ['tcg', 'darwin-arm64']
]
const CLIENT: [Accelerator, string][] = [
  ['hvf', 'darwin-arm64'],
  ['kvm', 'linux-arm64'],
  ['tcg', 'linux-x64-intel']
]

const RELEASES: Record<string, [Accelerator, string][]> = {
  '2016': SERVER,
  '2019': SERVER,
  '2022': SERVER,
  '2025': SERVER,
  '11-arm64': CLIENT
}

const CASES = Object.entries(RELEASES).flatMap(([release, combinations]) =>
  combinations.map(([accelerator, host]): [string, Accelerator, string] => [release, accelerator, host])
)

function goldenSpec(release: string, accelerator: Accelerator, hostName: string): VmSpec {
  const { os, arch, vendor } = HOSTS[hostName] as Host
  const arm = release === '11-arm64'
  const program = `qemu-system-${arm ? 'aarch64' : 'x86_64'}`
  const prefix = os === 'linux' ? '/usr' : arch === 'arm64' ? '/opt/homebrew' : '/usr/local'
  const code = arm
    ? { linux: '/usr/share/AAVMF/AAVMF_CODE.fd', darwin: `${prefix}/share/qemu/edk2-aarch64-code.fd` }
    : { linux: '/usr/share/OVMF/OVMF_CODE_4M.fd', darwin: `${prefix}/share/qemu/edk2-x86_64-code.fd` }
  const home = os === 'linux' ? '/home/ann/.oriel' : '/Users/ann/.oriel'
  const machine = `${home}/machines/win`
  const base = specOf()
  return {
    ...base,
    host: { os, arch },
    guest: arm ? 'aarch64' : 'x86_64',
    accelerator,
    qemu: { ...base.qemu, program: `${prefix}/bin/${program}`, sandbox: os === 'linux' },
    ...(vendor === undefined ? {} : { cpuVendor: vendor }),
    client: arm,
    firmware: { code: code[os], vars: `${machine}/vars.qcow2` },
    disk: { ...base.disk, file: `${machine}/disk.qcow2` },
    drives: [
      { id: 'install', file: `${home}/media/${release}.iso` },
      { id: 'disc', file: `${machine}/setup.iso` }
    ],
    files: {
      qmp: `${machine}/qmp.sock`,
      com1: `${machine}/com1.log`,
      ...(arm ? { tpm: `${machine}/tpm.sock` } : {})
    }
  }
}

describe('reviewed command lines', () => {
  test.each(CASES)('%s %s %s', async (release, accelerator, host) => {
    const argv = qemuArgv(goldenSpec(release, accelerator, host))
    await expect(`${argv.join('\n')}\n`).toMatchFileSnapshot(
      join(import.meta.dirname, `../../../fixtures/qemu-argv/${release}-${accelerator}-${host}.txt`)
    )
  })

  test('of Hyper-V isolation', async () => {
    const argv = qemuArgv({ ...goldenSpec('2019', 'kvm', 'linux-x64-amd'), nested: true })
    await expect(`${argv.join('\n')}\n`).toMatchFileSnapshot(
      join(import.meta.dirname, '../../../fixtures/qemu-argv/2019-kvm-linux-x64-amd-hyperv.txt')
    )
  })
})

/** The values that follow an option, e.g. all of `-device`. */
function valuesOf(argv: readonly string[], option: string): string[] {
  return argv.filter((_, index) => argv[index - 1] === option)
}

describe('a command line', () => {
  test('has enlightenments of Hyper-V under KVM only', () => {
    expect(valuesOf(qemuArgv(specOf()), '-cpu')[0]).toMatch(/^host,vmx=off,hv_relaxed,/)
    for (const accelerator of ['hvf', 'tcg'] as const) {
      expect(qemuArgv(specOf({ accelerator })).join(' ')).not.toContain('hv_')
    }
  })

  test('lets nothing in that would forbid to save the memory', () => {
    expect(qemuArgv(specOf()).join(' ')).not.toMatch(/invtsc|hv.passthrough|hv.reenlightenment|migratable/)
  })

  test('refuses to nest where nothing can', () => {
    expect(valuesOf(qemuArgv(specOf({ nested: true })), '-cpu')[0]).toContain('vmx=on')
    expect(() => qemuArgv(specOf({ nested: true, accelerator: 'hvf' }))).toThrow(/Hyper-V isolation needs KVM/)
    expect(() => qemuArgv(specOf({ nested: true, guest: 'aarch64' }))).toThrow(/Hyper-V isolation needs KVM/)
  })

  test('listens on loopback only', () => {
    const argv = qemuArgv(specOf({ forwards: [{ hostPort: 28080, guestPort: 80 }] }))
    expect(valuesOf(argv, '-netdev')[0]?.match(/hostfwd=[^,]*/g)).toEqual([
      'hostfwd=tcp:127.0.0.1:22376-:2376',
      'hostfwd=tcp:127.0.0.1:22022-:22',
      'hostfwd=tcp:127.0.0.1:28080-:80'
    ])
    expect(valuesOf(argv, '-vnc')).toEqual(['127.0.0.1:20000,password=on'])
    expect(() => qemuArgv(specOf({ ports: { engine: 1, ssh: 2, vnc: 5899 } }))).toThrow(/5900/)
  })

  test('boots the disk first and the installation disc second', () => {
    const bootable = valuesOf(qemuArgv(specOf()), '-device').filter(device => device.includes('bootindex'))
    expect(bootable.map(device => [device.split(',')[0], /bootindex=(\d)/.exec(device)?.[1]])).toEqual([
      ['ide-hd', '1'],
      ['ide-cd', '2']
    ])
  })

  test('keeps paths with commas and spaces whole', () => {
    const file = '/home/a, b/x.sock'
    const argv = qemuArgv(specOf({ files: { qmp: file, com1: file }, disk: { file, discard: false, cache: 'unsafe' } }))
    expect(argv).toContain('socket,id=qmp,path=/home/a,, b/x.sock,server=on,wait=off')
    expect(argv).toContain('file,id=com1,path=/home/a,, b/x.sock,append=on')
    const disk = valuesOf(argv, '-blockdev').find(node => node.includes('"disk"'))
    expect(JSON.parse(disk ?? '')).toEqual({
      driver: 'qcow2',
      'node-name': 'disk',
      cache: { direct: false, 'no-flush': true },
      file: { driver: 'file', filename: file, aio: 'threads' }
    })
  })

  test('has a TPM for a client release with one', () => {
    const files = { ...specOf().files, tpm: '/run/tpm' }
    expect(qemuArgv(specOf({ client: true, files }))).toContain('tpm-tis,tpmdev=tpm0')
    expect(qemuArgv(specOf({ client: false, files })).join(' ')).not.toContain('tpm')
    expect(swtpmArgv('/state', '/run/tpm').join(' ')).toContain('--ctrl type=unixio,path=/run/tpm')
  })

  test('is of a machine whose memory can be saved, or it is known why not', () => {
    expect(suspendObstacle({ guest: 'x86_64', accelerator: 'kvm' })).toBeUndefined()
    expect(suspendObstacle({ guest: 'x86_64', accelerator: 'tcg' })).toBeUndefined()
    expect(suspendObstacle({ guest: 'x86_64', accelerator: 'hvf' })).toContain('Intel')
    expect(suspendObstacle({ guest: 'aarch64', accelerator: 'hvf' })).toContain('NVMe')
  })

  test('waits for a snapshot to be loaded, rather than starting afresh', () => {
    expect(qemuArgv(specOf())).not.toContain('-S')
    expect(qemuArgv(specOf({ loadSnapshot: 'a' }))).toContain('-S')
    expect(qemuArgv(specOf({ loadSnapshot: 'a' })).join(' ')).not.toContain('loadvm')
  })
})

describe('with the QEMU of this host', () => {
  test('every x86-64 golden names devices, machine and processor that exist', () => {
    const known = (option: string) =>
      execFileSync('qemu-system-x86_64', [option, 'help'], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] })
    const [devices, cpus, machines] = [known('-device'), known('-cpu'), known('-machine')]
    for (const [release, accelerator, host] of CASES) {
      if (release === '11-arm64') continue
      const argv = qemuArgv(goldenSpec(release, accelerator, host))
      for (const device of valuesOf(argv, '-device')) expect(devices).toContain(`name "${device.split(',')[0]}"`)
      expect(cpus).toContain(` ${valuesOf(argv, '-cpu')[0]?.split(',')[0]} `)
      expect(machines).toContain(`${valuesOf(argv, '-machine')[0]?.split(',')[0]} `)
    }
  })

  test('starts, answers, and listens on nothing but loopback', async () => {
    const spec = await smallVm()
    const log = `${spec.files.com1}.qemu`
    const { pid } = await startVm(spec, log)
    const machine = await withQmp(spec.files.qmp, async qmp => ({
      name: await qmp.execute('query-name'),
      status: await qmp.execute<{ status: string }>('query-status'),
      drives: await qmp.execute<{ qdev?: string }[]>('query-block')
    }))
    expect(machine.name).toEqual({ name: 'oriel-test' })
    expect(machine.status.status).toBe('prelaunch')
    expect(machine.drives.map(drive => drive.qdev)).toEqual(expect.arrayContaining(['disk0', 'install', 'disc']))
    const listeners = listenersOf(pid)
    expect(listeners.map(({ port }) => port).sort()).toEqual(Object.values(spec.ports).sort())
    expect(new Set(listeners.map(({ address }) => address))).toEqual(new Set(['0100007F']))
    // Not a word of trouble, such as of a feature of the processor that TCG lacks.
    expect(readFileSync(log, 'utf8')).toBe('')
  })
})

/** Listening TCP sockets of a process; addresses as the kernel writes them. */
function listenersOf(pid: number): { address: string; port: number }[] {
  const inodes = new Set(
    execFileSync('ls', ['-l', `/proc/${pid}/fd`], { encoding: 'utf8' })
      .match(/socket:\[\d+\]/g)
      ?.map(text => /\d+/.exec(text)?.[0])
  )
  return ['tcp', 'tcp6']
    .flatMap(table => readFileSync(`/proc/net/${table}`, 'utf8').split('\n').slice(1))
    .map(line => line.trim().split(/\s+/))
    .filter(fields => fields[3] === '0A' && inodes.has(fields[9]))
    .map(fields => {
      const [address, port] = (fields[1] ?? '').split(':')
      return { address: address ?? '', port: Number.parseInt(port ?? '', 16) }
    })
}
