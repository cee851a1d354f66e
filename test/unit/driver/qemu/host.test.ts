import { chmodSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import {
  chooseAccelerator,
  decideAccelerator,
  hvfObstacle,
  keptObstacle,
  nativeAccelerator
} from '#driver/qemu/accelerator.ts'
import { findFirmware, firmwareOf } from '#driver/qemu/firmware.ts'
import { findProgram, findQemu, hostFacts, installHint, packagesOf, parseVersion, vendorOf } from '#driver/qemu/host.ts'
import { binaryChecks, checkHost, checkMemory, checkNested, checkSpace } from '#driver/qemu/host-checks.ts'
import { type Circumstances, knownTroubles } from '#driver/qemu/known-troubles.ts'
import { probe, probeObstacle } from '#driver/qemu/probe.ts'
import { temporaryFolder } from './vm.ts'

const LINUX = { os: 'linux', arch: 'x64' } as const
const INTEL_MAC = { os: 'darwin', arch: 'x64' } as const
const APPLE = { os: 'darwin', arch: 'arm64' } as const

/** A program of this name in a folder of its own; gives the PATH with it. */
function fakeProgram(name: string, script: string): { PATH: string; file: string } {
  const folder = temporaryFolder()
  const file = join(folder, name)
  writeFileSync(file, `#!/bin/sh\n${script}\n`)
  chmodSync(file, 0o755)
  return { PATH: folder, file }
}

describe('this host', () => {
  test('is described', async () => {
    const host = await hostFacts()
    expect(host).toMatchObject({ os: process.platform, cpus: expect.any(Number) })
    expect(host.memoryMiB).toBeGreaterThan(256)
    expect(host.cpuVendor).toMatch(/^(intel|amd|apple)$/)
  })

  test('has a processor by somebody', () => {
    expect(vendorOf('Intel(R) Core(TM) i7-8750H CPU @ 2.20GHz')).toBe('intel')
    expect(vendorOf('AMD EPYC 7B12')).toBe('amd')
    expect(vendorOf('Common KVM processor AuthenticAMD')).toBe('amd')
    expect(vendorOf(' HygonGenuine')).toBe('amd')
    expect(vendorOf('Apple M3 Pro')).toBe('apple')
    expect(vendorOf('Neoverse-N1')).toBeUndefined()
  })
})

describe('QEMU', () => {
  test('is found, with what belongs to it', async () => {
    const qemu = await findQemu('x86_64', process.env)
    expect(qemu.program).toMatch(/\/qemu-system-x86_64$/)
    expect(qemu.version[0]).toBeGreaterThanOrEqual(7)
    expect(qemu.sandbox).toBe(process.platform === 'linux')
    expect(existsSync(qemu.qemuImg ?? '')).toBe(true)
  })

  test('is used by its place on PATH, and what it cannot do is seen', async () => {
    const { PATH, file } = fakeProgram(
      'qemu-system-x86_64',
      'case "$1" in --version) echo "QEMU emulator version 11.0.1 (Homebrew)";; *) echo no sandbox >&2; exit 1;; esac'
    )
    expect(await findQemu('x86_64', { PATH })).toMatchObject({
      program: file,
      version: [11, 0, 1],
      sandbox: false,
      folder: PATH
    })
    expect(await findProgram('no-such-program', { PATH })).toBeUndefined()
  })

  test('that does not run is named', async () => {
    const { PATH } = fakeProgram('qemu-system-x86_64', 'echo "dyld: Library not loaded: libfoo" >&2; exit 6')
    await expect(findQemu('x86_64', { PATH })).rejects.toMatchObject({
      exitCode: 4,
      message: expect.stringContaining('Library not loaded')
    })
  })

  test('has a version', () => {
    expect(parseVersion('QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7+deb12u18+b3)\nCopyright')).toEqual([
      7, 2, 22
    ])
    expect(parseVersion('QEMU emulator version 11.1.50 (v11.1.0-1-g12)')).toEqual([11, 1, 50])
    expect(parseVersion('qemu-img version 7.2')).toBeUndefined()
  })

  test('is installed by the package manager of the host', () => {
    expect(packagesOf('NAME="Debian GNU/Linux"\nID=debian\n')).toBe('debian')
    expect(packagesOf('ID=linuxmint\nID_LIKE="ubuntu debian"')).toBe('debian')
    expect(packagesOf('ID="rocky"\nID_LIKE="rhel centos fedora"')).toBe('fedora')
    expect(packagesOf('ID="opensuse-tumbleweed"\nID_LIKE="opensuse suse"')).toBe('suse')
    expect(packagesOf('ID=arch')).toBe('arch')
    expect(packagesOf('ID=searchlight')).toBe('unknown')
    expect(installHint('debian', 'x86_64')).toBe('sudo apt-get install qemu-system-x86 ovmf qemu-utils')
    expect(installHint('fedora', 'aarch64')).toContain('edk2-aarch64')
    expect(installHint('brew', 'x86_64')).toContain('brew install qemu')
  })
})

/** As QEMU installs it on a Mac (60-edk2-x86_64.json), with what a test changes. */
function descriptor(
  code: string,
  vars: string,
  changes: { features?: string[]; mapping?: object; machines?: string[] } = {}
) {
  return JSON.stringify({
    description: 'UEFI firmware for x86_64',
    'interface-types': ['uefi'],
    mapping: {
      device: 'flash',
      executable: { filename: code, format: 'raw' },
      'nvram-template': { filename: vars, format: 'raw' },
      ...changes.mapping
    },
    targets: [{ architecture: 'x86_64', machines: changes.machines ?? ['pc-i440fx-*', 'pc-q35-*'] }],
    features: changes.features ?? ['acpi-s3', 'amd-sev', 'verbose-dynamic'],
    tags: []
  })
}

describe('firmware', () => {
  test('of this host is found', async () => {
    const { folder } = await findQemu('x86_64', process.env)
    const { code, varsTemplate } = await findFirmware('x86_64', folder, process.env)
    expect(existsSync(code) && existsSync(varsTemplate)).toBe(true)
    expect(code).not.toMatch(/secboot|\.ms\.|snakeoil/)
  })

  test('is read from a descriptor when it fits', () => {
    const found = { code: '/code.fd', varsTemplate: '/vars.fd' }
    const read = (changes = {}) => firmwareOf(descriptor('/code.fd', '/vars.fd', changes), 'x86_64')
    expect(read()).toEqual(found)
    expect(read({ mapping: { mode: 'split' } })).toEqual(found)
    expect(read({ features: ['acpi-s3', 'secure-boot', 'requires-smm'] })).toBeUndefined()
    expect(read({ mapping: { mode: 'stateless' } })).toBeUndefined()
    expect(read({ mapping: { device: 'memory' } })).toBeUndefined()
    expect(read({ mapping: { executable: { filename: '/code.qcow2', format: 'qcow2' } } })).toBeUndefined()
    expect(read({ machines: ['microvm'] })).toBeUndefined()
    expect(firmwareOf(descriptor('/a', '/b'), 'aarch64')).toBeUndefined()
    expect(firmwareOf('{', 'x86_64')).toBeUndefined()
    expect(firmwareOf('{}', 'x86_64')).toBeUndefined()
  })

  test("beside QEMU's own program is found, a person's own first, one that is not there passed over", async () => {
    const prefix = temporaryFolder()
    const [bin, share, config] = ['bin', 'share/qemu/firmware', 'config/qemu/firmware'].map(path =>
      join(prefix, path)
    ) as [string, string, string]
    for (const folder of [bin, share, config]) mkdirSync(folder, { recursive: true })
    const [code, vars] = [join(prefix, 'code.fd'), join(prefix, 'vars.fd')]
    for (const file of [code, vars]) writeFileSync(file, '')
    // Sorted before whatever this host has.
    writeFileSync(join(share, '00-oriel.json'), descriptor(code, vars))
    const env = { XDG_CONFIG_HOME: join(prefix, 'config') }
    expect(await findFirmware('x86_64', bin, env)).toEqual({ code, varsTemplate: vars })
    const own = join(prefix, 'own.fd')
    writeFileSync(join(config, '00-oriel.json'), descriptor(own, vars))
    // The same name in the first folder hides the other; its file is not there yet.
    expect((await findFirmware('x86_64', bin, env)).code).not.toBe(code)
    writeFileSync(own, '')
    expect((await findFirmware('x86_64', bin, env)).code).toBe(own)
  })
})

describe('an accelerator', () => {
  test('is native to a host and a guest of one architecture', () => {
    expect(nativeAccelerator('x86_64', LINUX)).toBe('kvm')
    expect(nativeAccelerator('x86_64', INTEL_MAC)).toBe('hvf')
    expect(nativeAccelerator('aarch64', APPLE)).toBe('hvf')
    expect(nativeAccelerator('x86_64', APPLE)).toBeUndefined()
    expect(nativeAccelerator('aarch64', LINUX)).toBeUndefined()
  })

  test('is chosen by itself where it works', () => {
    expect(decideAccelerator('auto', 'x86_64', LINUX, undefined)).toEqual({
      accelerator: 'kvm',
      why: 'kvm works on this host'
    })
    expect(decideAccelerator('hvf', 'aarch64', APPLE, undefined).accelerator).toBe('hvf')
  })

  test('gives way to emulation with a warning', () => {
    const obstacle = { what: 'there is no /dev/kvm', advice: 'Switch it on.' }
    const chosen = decideAccelerator('auto', 'x86_64', LINUX, obstacle)
    expect(chosen.accelerator).toBe('tcg')
    expect(chosen.why).toContain('there is no /dev/kvm')
    expect(chosen.warning).toMatch(/ten times as long\. Switch it on/)
    expect(decideAccelerator('auto', 'x86_64', APPLE, undefined)).toMatchObject({
      accelerator: 'tcg',
      warning: expect.stringContaining('ten times')
    })
    expect(decideAccelerator('tcg', 'x86_64', LINUX, undefined)).toMatchObject({ accelerator: 'tcg', why: 'asked for' })
  })

  test('that was asked for and cannot be is a fault', () => {
    const obstacle = { what: 'this user may not use /dev/kvm', advice: 'sudo usermod -aG kvm "$USER"' }
    const thrown = (work: () => unknown) => {
      try {
        work()
      } catch (error) {
        return error
      }
      return undefined
    }
    expect(thrown(() => decideAccelerator('kvm', 'x86_64', LINUX, obstacle))).toMatchObject({
      exitCode: 4,
      hint: obstacle.advice
    })
    expect(thrown(() => decideAccelerator('kvm', 'x86_64', INTEL_MAC, undefined))).toMatchObject({ exitCode: 4 })
    expect(thrown(() => decideAccelerator('hvf', 'x86_64', APPLE, undefined))).toMatchObject({
      message: 'hvf cannot be used on this host: a host of arm64 emulates a guest of x86_64 in software.'
    })
  })

  test('is judged by how its try ended', () => {
    expect(probeObstacle('kvm', { exitCode: 33, said: 'warning' }, 33)).toBeUndefined()
    expect(probeObstacle('kvm', { said: '' }, 33)?.what).toContain('a guest does not run')
    expect(probeObstacle('hvf', { exitCode: 1, said: 'Error: HV_DENIED' }, 0)?.advice).toContain('brew reinstall')
    expect(probeObstacle('hvf', { exitCode: 1, said: 'invalid accelerator hvf' }, 0)?.what).toContain('built without')
    expect(probeObstacle('kvm', { exitCode: 1, said: 'a\nb\n' }, 33)?.what).toBe('QEMU ended with code 1: b')
    expect(probeObstacle('kvm', { said: 'KVM internal error. Suberror: 1' }, 33)?.what).toContain('KVM internal error')
    expect(hvfObstacle('1')).toBeUndefined()
    expect(hvfObstacle('0')?.what).toContain('kern.hv_support')
    expect(hvfObstacle(undefined)?.what).toContain('kern.hv_support')
  })

  test('that works passes its try, a QEMU that fails or hangs does not', async () => {
    const qemu = await findQemu('x86_64', process.env)
    expect(await probe('tcg', { guest: 'x86_64', qemu, env: process.env })).toBeUndefined()
    const failing = { guest: 'x86_64', qemu: { program: '/bin/false' }, env: process.env } as const
    expect(await probe('kvm', failing)).toMatchObject({ what: 'QEMU ended with code 1' })
    const { file } = fakeProgram('qemu', 'exec sleep 60')
    const hanging = { ...failing, qemu: { program: file } }
    expect((await probe('kvm', { ...hanging, limitMs: 200 }))?.what).toContain('a guest does not run')
    await expect(probe('kvm', { ...hanging, signal: AbortSignal.timeout(100) })).rejects.toMatchObject({
      exitCode: 130
    })
    const stopped = fakeProgram('qemu', 'echo "KVM internal error. Suberror: 1" >&2; exec sleep 60')
    expect((await probe('kvm', { ...failing, qemu: { program: stopped.file } }))?.what).toContain('KVM internal error')
    await expect(probe('kvm', { ...failing, qemu: { program: '/nowhere/qemu' } })).rejects.toMatchObject({
      exitCode: 4
    })
  })

  test('is tried once a boot', () => {
    const obstacle = { what: 'it hangs', advice: 'dmesg' }
    expect(keptObstacle({ key: 'a', obstacle }, 'a')).toEqual(obstacle)
    expect(keptObstacle({ key: 'a', obstacle: null }, 'a')).toBeUndefined()
    expect(keptObstacle({ key: 'a', obstacle }, 'b')).toBe('unknown')
    for (const rubbish of [undefined, null, 'a', {}, { key: 'a' }, { key: 'a', obstacle: 1 }]) {
      expect(keptObstacle(rubbish, 'a')).toBe('unknown')
    }
  })

  test.runIf(process.platform === 'linux' && existsSync('/dev/kvm'))(
    'that opens is tried for real, and the result is kept',
    async () => {
      const host = await hostFacts()
      const guest = host.arch === 'x64' ? 'x86_64' : 'aarch64'
      const qemu = await findQemu(guest, process.env)
      const home = join(temporaryFolder(), 'home')
      const work = { guest, qemu, host, home, env: process.env } as const
      const first = await chooseAccelerator('auto', work)
      expect(first.accelerator).toMatch(/kvm|tcg/)
      const file = join(home, 'accelerators.json')
      if (!existsSync(file)) return expect(first.why).toContain('this user may not')
      const kept = readFileSync(file, 'utf8')
      const before = Date.now()
      expect(await chooseAccelerator('auto', work)).toEqual(first)
      expect(Date.now() - before).toBeLessThan(2000)
      expect(readFileSync(file, 'utf8')).toBe(kept)
      if (first.accelerator === 'tcg') {
        await expect(chooseAccelerator('kvm', work)).rejects.toMatchObject({ exitCode: 4 })
      }
      // Another QEMU is tried anew.
      await chooseAccelerator('auto', {
        ...work,
        qemu: { ...qemu, version: [99, 0, 0] },
        signal: AbortSignal.timeout(50)
      }).catch((error: unknown) => expect(error).toMatchObject({ exitCode: 130 }))
      return undefined
    }
  )
})

describe('known troubles', () => {
  const good: Circumstances = {
    host: { ...LINUX, osVersion: '6.12.0', cpuModel: 'AMD EPYC' },
    guest: 'x86_64',
    accelerator: 'kvm',
    version: [10, 0, 2],
    client: false
  }
  const mac: Circumstances = {
    host: { ...APPLE, osVersion: '15.5', cpuModel: 'Apple M3 Pro' },
    guest: 'aarch64',
    accelerator: 'hvf',
    version: [10, 2, 2],
    client: true
  }
  const issues = (about: Circumstances) => knownTroubles(about).map(({ detail }) => /\(([^)]*)\)$/.exec(detail)?.[1])

  test('are none on a good host', () => {
    expect(knownTroubles(good)).toEqual([])
    expect(knownTroubles({ ...good, version: [7, 2, 0] })).toEqual([])
    expect(knownTroubles({ ...mac, accelerator: 'tcg', guest: 'x86_64', client: false })).toEqual([])
  })

  test('depend on the version', () => {
    expect(knownTroubles({ ...good, version: [5, 2, 0] })).toMatchObject([{ result: 'missing' }])
    expect(knownTroubles({ ...good, version: [6, 2, 0] })).toMatchObject([{ result: 'warning' }])
    expect(issues({ ...good, version: [11, 0, 1] })).toEqual(['qemu#3565'])
    expect(issues({ ...mac, version: [11, 0, 0] })).toContain('qemu#3433')
    expect(issues({ ...mac, version: [11, 0, 2] })).not.toContain('qemu#3433')
    expect(issues({ ...good, version: [11, 0, 0] })).toEqual([])
  })

  test('depend on the Mac', () => {
    expect(issues(mac)).toEqual(['qemu#2312, UTM#4176'])
    const m1 = { ...mac, host: { ...APPLE, osVersion: '26.1', cpuModel: 'Apple M1 Max' } }
    expect(issues({ ...m1, version: [11, 1, 0] })).toContain('qemu#3533')
    expect(issues({ ...m1, version: [10, 2, 0] })).not.toContain('qemu#3533')
    expect(issues({ ...m1, host: { ...m1.host, cpuModel: 'Apple M10' }, version: [11, 1, 0] })).not.toContain(
      'qemu#3533'
    )
    expect(issues({ ...m1, host: { ...m1.host, osVersion: '12.3.1' } })).toContain('lima#795')
    expect(issues({ ...m1, host: { ...m1.host, osVersion: '12.4' } })).not.toContain('lima#795')
    const newest = { ...mac, host: { ...mac.host, osVersion: '27.0' } }
    expect(issues({ ...newest, version: [11, 1, 1] })).toContain('lima#5511')
    expect(issues({ ...newest, version: [11, 1, 1], client: false })).not.toContain('lima#5511')
    const intel: Circumstances = {
      ...mac,
      host: { ...INTEL_MAC, osVersion: '15.5', cpuModel: 'Intel' },
      guest: 'x86_64'
    }
    expect(issues(intel)).toEqual(['UTM#2368, UTM#5844'])
    for (const about of [mac, m1, newest, intel]) {
      for (const check of knownTroubles(about)) expect(check.advice).toBeTruthy()
    }
  })
})

describe('a check', () => {
  test('of the program on a Mac', () => {
    const plist = '<dict><key>com.apple.security.hypervisor</key><true/></dict>'
    expect(binaryChecks('arm64', plist, 'arm64\n').map(({ result }) => result)).toEqual(['ok'])
    expect(binaryChecks('arm64', plist, 'x86_64\n').map(({ result }) => result)).toEqual(['ok', 'warning'])
    expect(binaryChecks('x64', '', 'x86_64')).toMatchObject([
      { result: 'missing', advice: expect.stringContaining('brew') }
    ])
  })

  test('of memory and disk', () => {
    expect(checkMemory(4096, 16_384).result).toBe('ok')
    expect(checkMemory(14_000, 16_384)).toMatchObject({ result: 'warning', advice: expect.stringContaining('8GiB') })
    expect(checkMemory(16_384, 16_384).result).toBe('missing')
    expect(checkSpace(64e9, 100e9, '/home').result).toBe('ok')
    expect(checkSpace(64e9, 40e9, '/home').result).toBe('warning')
    expect(checkSpace(64e9, 20e9, '/home')).toMatchObject({
      result: 'missing',
      advice: expect.stringContaining('30 GB')
    })
  })

  test('of nested virtualization', () => {
    expect(checkNested('kvm', 'Y').result).toBe('ok')
    expect(checkNested('kvm', '0')).toMatchObject({ result: 'missing', advice: expect.stringContaining('nested=1') })
    expect(checkNested('tcg', 'Y').result).toBe('missing')
  })

  test('of this host says something of everything, and never throws', async () => {
    const machine = {
      guest: 'x86_64',
      accelerator: 'tcg',
      memoryMiB: 1024,
      diskBytes: 1e6,
      nested: false,
      client: false
    } as const
    const work = { home: join(temporaryFolder(), 'not', 'yet'), env: process.env, signal: new AbortController().signal }
    const checks = await checkHost(machine, work)
    expect(checks.map(({ name }) => name)).toEqual(
      expect.arrayContaining(['qemu', 'qemu-img', 'firmware', 'accelerator', 'memory', 'disk'])
    )
    expect(checks.find(({ name }) => name === 'accelerator')).toMatchObject({ result: 'warning' })
    for (const check of checks) expect(check.result === 'ok' || check.advice !== undefined).toBe(true)
    const { PATH } = fakeProgram('qemu-system-x86_64', 'exit 1')
    const broken = await checkHost({ ...machine, client: true, nested: true }, { ...work, env: { PATH } })
    expect(broken.find(({ name }) => name === 'qemu')).toMatchObject({ result: 'missing' })
  })
})
