import { spawn } from 'node:child_process'
import { chmodSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { dirname, join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { diskInfo } from '#driver/qemu/disk.ts'
import { Qmp, withQmp } from '#driver/qemu/qmp.ts'
import { deleteSnapshot, saveSnapshot } from '#driver/qemu/snapshot.ts'
import {
  cpuSeconds,
  isAlive,
  killVm,
  powerDown,
  secondsOf,
  startVm,
  stateOf,
  vmPid,
  vmState,
  waitForExit
} from '#driver/qemu/vm-process.ts'
import type { VmSpec } from '#driver/qemu/vm-spec.ts'
import { writePowerButtonRom } from './power-button-rom.ts'
import { smallVm, temporaryFolder } from './vm.ts'

function logOf(spec: VmSpec): string {
  return join(dirname(spec.files.qmp), 'qemu.log')
}

async function start(spec: VmSpec): Promise<number> {
  return (await startVm(spec, logOf(spec))).pid
}

describe('a machine', () => {
  test('runs in a session of its own, with files for this user only, and can be found without a record', async () => {
    const spec = await smallVm()
    expect(await vmState(spec.files.qmp)).toBe('absent')
    expect(await vmPid(spec.files.qmp)).toBeUndefined()
    const pid = await start(spec)
    expect(await vmPid(spec.files.qmp)).toBe(pid)
    // proc_pid_stat(5): field 6 is the session.
    expect(readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ')[3]).toBe(String(pid))
    for (const file of [spec.files.qmp, spec.files.com1, logOf(spec)]) expect(statSync(file).mode & 0o077).toBe(0)
    expect(await vmState(spec.files.qmp)).toBe('paused')
    await withQmp(spec.files.qmp, qmp => qmp.execute('cont'))
    expect(await vmState(spec.files.qmp)).toBe('running')
    expect(await killVm(spec.files.qmp)).toBe(true)
    expect(isAlive(pid)).toBe(false)
    expect(await vmState(spec.files.qmp)).toBe('absent')
    expect(await killVm(spec.files.qmp)).toBe(false)
  })

  test('is not started twice', async () => {
    const spec = await smallVm()
    const pid = await start(spec)
    await expect(start(spec)).rejects.toMatchObject({
      exitCode: 3,
      message: `the machine runs already (process ${pid}).`
    })
    expect(await vmState(spec.files.qmp)).toBe('paused')
  })

  test('is silent when it hangs', async () => {
    const spec = await smallVm()
    const pid = await start(spec)
    process.kill(pid, 'SIGSTOP')
    expect(await vmState(spec.files.qmp, { timeoutMs: 200 })).toBe('silent')
    expect(await killVm(spec.files.qmp, pid)).toBe(true)
  })

  test('is not taken for a stranger', async () => {
    const stranger = spawn('sleep', ['60'])
    try {
      expect(await killVm('/nowhere/qmp.sock', stranger.pid)).toBe(false)
      expect(isAlive(stranger.pid ?? 0)).toBe(true)
      expect(await waitForExit(stranger.pid ?? 0, 100)).toBe(false)
    } finally {
      stranger.kill()
    }
    expect(await waitForExit(stranger.pid ?? 0, 5000)).toBe(true)
  })

  test('uses processor time', async () => {
    const spec = await smallVm({ paused: false })
    const pid = await start(spec)
    const first = (await cpuSeconds(pid)) ?? Number.NaN
    await expect.poll(() => cpuSeconds(pid), { timeout: 10_000 }).toBeGreaterThan(first + 0.1)
    await killVm(spec.files.qmp)
    expect(await cpuSeconds(pid)).toBeUndefined()
  })
})

describe('the power button', () => {
  test('is pressed again when the guest missed it', async () => {
    const spec = await smallVm()
    const rom = join(dirname(spec.files.qmp), 'rom.fd')
    writePowerButtonRom(rom)
    // Paused: the guest sees nothing of a press before it has run.
    const pid = await start({ ...spec, firmware: { ...spec.firmware, code: rom } })
    const qmp = await Qmp.connect(spec.files.qmp)
    expect(await powerDown(qmp, 15_000, { againMs: 300 })).toBe('shut down')
    expect(await waitForExit(pid, 5000)).toBe(true)
  })

  test('gives way to a cut of the power', async () => {
    const spec = await smallVm({ paused: false })
    const pid = await start(spec)
    const qmp = await Qmp.connect(spec.files.qmp)
    expect(await powerDown(qmp, 500, { againMs: 200 })).toBe('power cut')
    expect(await waitForExit(pid, 5000)).toBe(true)
  })
})

describe('a live snapshot', () => {
  test('is saved, survives the process, is loaded and removed', async () => {
    const spec = await smallVm({ paused: false, memoryMiB: 128 })
    await start(spec)
    await expect.poll(() => readFileSync(spec.files.com1, 'utf8'), { timeout: 30_000 }).toContain('Press')
    const states: string[] = []
    await withQmp(spec.files.qmp, async qmp => {
      for (const event of ['STOP', 'RESUME']) qmp.on(event, () => states.push(event))
      await saveSnapshot(qmp, 'here')
      expect(states).toEqual(['STOP', 'RESUME'])
      await expect(saveSnapshot(qmp, 'here')).rejects.toThrow(/already exists/)
      // After a failure the guest goes on, too.
      expect(states).toEqual(['STOP', 'RESUME', 'STOP', 'RESUME'])
      await saveSnapshot(qmp, 'last', { stayPaused: true })
      expect(states.at(-1)).toBe('STOP')
      expect(await stateOf(qmp)).toBe('paused')
      await deleteSnapshot(qmp, 'last')
    })
    expect((await diskInfo(spec.disk.file)).snapshots[0]?.memoryBytes).toBeGreaterThan(1024 ** 2)
    await killVm(spec.files.qmp)

    writeFileSync(spec.files.com1, '')
    await start({ ...spec, loadSnapshot: 'here' })
    expect(await vmState(spec.files.qmp)).toBe('running')
    await new Promise(resolve => setTimeout(resolve, 500))
    // It did not start afresh: the firmware would have written its first lines.
    expect(readFileSync(spec.files.com1, 'utf8')).not.toContain('BdsDxe')
    await withQmp(spec.files.qmp, qmp => deleteSnapshot(qmp, 'here'))
    expect((await diskInfo(spec.disk.file)).snapshots).toEqual([])
    expect((await diskInfo(spec.firmware.vars)).snapshots).toEqual([])
    await killVm(spec.files.qmp)

    await expect(start({ ...spec, loadSnapshot: 'here' })).rejects.toThrow(/here/)
    expect(await vmState(spec.files.qmp)).toBe('absent')
  })
})

describe('a machine that cannot start says why', () => {
  test('a port is taken', async () => {
    const server = createServer()
    await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
    const address = server.address()
    const port = typeof address === 'object' && address !== null ? address.port : 0
    try {
      const spec = await smallVm()
      const cases: [string, Partial<VmSpec>][] = [
        ['ports.engine', { ports: { ...spec.ports, engine: port } }],
        ['ports.ssh', { ports: { ...spec.ports, ssh: port } }],
        ['ports.vnc', { ports: { ...spec.ports, vnc: port } }],
        ['forwards', { forwards: [{ hostPort: port, guestPort: 80 }] }]
      ]
      for (const [key, changes] of cases) {
        await expect(start({ ...spec, ...changes })).rejects.toMatchObject({
          message: expect.stringMatching(
            new RegExp(`^port ${port} of this host, .* is taken by .*process ${process.pid}`)
          ),
          hint: expect.stringContaining(key)
        })
      }
    } finally {
      server.close()
    }
  })

  test('its disk is in use', async () => {
    const spec = await smallVm()
    await start(spec)
    const other = await smallVm()
    await expect(start({ ...other, disk: spec.disk })).rejects.toMatchObject({
      exitCode: 3,
      message: expect.stringContaining(`${spec.disk.file} is in use`)
    })
  })

  test('its firmware or disk is gone', async () => {
    const spec = await smallVm()
    const code = '/nowhere/OVMF_CODE.fd'
    await expect(start({ ...spec, firmware: { ...spec.firmware, code } })).rejects.toMatchObject({
      exitCode: 4,
      message: `QEMU cannot open the UEFI firmware, ${code}: No such file or directory.`
    })
    const disk = { ...spec.disk, file: '/nowhere/disk.qcow2' }
    await expect(start({ ...spec, disk })).rejects.toThrow(/cannot open a file, \/nowhere\/disk.qcow2/)
  })

  test('QEMU itself is missing, or says something new', async () => {
    const spec = await smallVm()
    const qemu = { ...spec.qemu, program: '/nowhere/qemu' }
    await expect(start({ ...spec, qemu })).rejects.toThrow(/QEMU did not start: .*\/nowhere\/qemu.*not found/)
    const program = join(temporaryFolder(), 'qemu')
    writeFileSync(
      program,
      '#!/bin/sh\necho "2026-01-01T00:00:00Z qemu: warning: nothing" >&2\necho out of luck >&2; exit 1\n'
    )
    chmodSync(program, 0o755)
    await expect(start({ ...spec, qemu: { ...qemu, program } })).rejects.toThrow('QEMU did not start: out of luck')
  })

  test('QEMU hangs, or the person gives up', async () => {
    const spec = await smallVm()
    const program = join(temporaryFolder(), 'qemu')
    writeFileSync(program, `#!${process.execPath}\nsetTimeout(() => {}, 60000)\n`)
    chmodSync(program, 0o755)
    const hanging = { ...spec, qemu: { ...spec.qemu, program } }
    await expect(startVm(hanging, logOf(spec), { timeoutMs: 500 })).rejects.toThrow(/did not answer .* within 0.5 s/)
    expect(await vmPid(spec.files.qmp)).toBeUndefined()
    const signal = AbortSignal.timeout(300)
    await expect(startVm(hanging, logOf(spec), { signal })).rejects.toMatchObject({ exitCode: 130 })
    expect(await vmPid(spec.files.qmp)).toBeUndefined()
  })
})

test('times of ps are read', () => {
  expect(secondsOf('   0:05.12\n')).toBe(5.12)
  expect(secondsOf('01:02:03')).toBe(3723)
  expect(secondsOf('2-01:02:03')).toBe(2 * 86_400 + 3723)
  expect(secondsOf('')).toBeUndefined()
})
