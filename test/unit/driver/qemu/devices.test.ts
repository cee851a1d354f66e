import { execFileSync } from 'node:child_process'
import { readFileSync, statSync, writeFileSync } from 'node:fs'
import { createConnection, type Socket } from 'node:net'
import { dirname, join } from 'node:path'
import { crc32, inflateSync } from 'node:zlib'
import { describe, expect, test } from 'vitest'
import {
  addForward,
  blockActivity,
  changeMedium,
  eject,
  removeForward,
  screenshot,
  setVncPassword
} from '#driver/qemu/devices.ts'
import { readPpm, writePng } from '#driver/qemu/png.ts'
import { allocatePorts, isFree } from '#driver/qemu/ports.ts'
import { type Qmp, withQmp } from '#driver/qemu/qmp.ts'
import { startVm } from '#driver/qemu/vm-process.ts'
import type { VmSpec } from '#driver/qemu/vm-spec.ts'
import { smallVm } from './vm.ts'

async function withVm(work: (qmp: Qmp, spec: VmSpec, pid: number) => Promise<void>, changes: Partial<VmSpec> = {}) {
  const spec = await smallVm(changes)
  const { pid } = await startVm(spec, `${spec.files.com1}.qemu`)
  await withQmp(spec.files.qmp, qmp => work(qmp, spec, pid))
}

/** What a drive holds. */
async function mediumOf(qmp: Qmp, id: string): Promise<string | undefined> {
  const drives = await qmp.execute<{ qdev?: string; inserted?: { file: string; ro: boolean } }[]>('query-block')
  const inserted = drives.find(drive => drive.qdev === id)?.inserted
  if (inserted !== undefined) expect(inserted.ro).toBe(true)
  return inserted?.file
}

function hasOpen(pid: number, file: string): boolean {
  return execFileSync('ls', ['-l', `/proc/${pid}/fd`], { encoding: 'utf8' }).includes(file)
}

describe('a drive', () => {
  test('takes discs one after the other, and lets go of their files', async () => {
    await withVm(async (qmp, spec, pid) => {
      const [first, second] = ['first', 'second'].map(name => join(dirname(spec.files.qmp), `${name}.iso`)) as [
        string,
        string
      ]
      for (const file of [first, second]) writeFileSync(file, Buffer.alloc(65_536))
      expect(await mediumOf(qmp, 'disc')).toBeUndefined()
      await eject(qmp, 'disc')
      await changeMedium(qmp, 'disc', first)
      expect(await mediumOf(qmp, 'disc')).toBe(first)
      await changeMedium(qmp, 'disc', second)
      expect(await mediumOf(qmp, 'disc')).toBe(second)
      expect(hasOpen(pid, first)).toBe(false)
      await eject(qmp, 'disc')
      expect(await mediumOf(qmp, 'disc')).toBeUndefined()
      expect(hasOpen(pid, second)).toBe(false)
      await expect(changeMedium(qmp, 'disc', '/nowhere.iso')).rejects.toThrow(/nowhere.iso/)
    })
  })

  test('lets go of a disc that was in it from the start', async () => {
    const spec = await smallVm()
    const file = join(dirname(spec.files.qmp), 'start.iso')
    writeFileSync(file, Buffer.alloc(65_536))
    const { pid } = await startVm(
      { ...spec, drives: [{ id: 'install', file }, { id: 'disc' }] },
      `${spec.files.com1}.qemu`
    )
    await withQmp(spec.files.qmp, async qmp => {
      expect(await mediumOf(qmp, 'install')).toBe(file)
      expect(hasOpen(pid, file)).toBe(true)
      await eject(qmp, 'install')
      expect(await mediumOf(qmp, 'install')).toBeUndefined()
      expect(hasOpen(pid, file)).toBe(false)
    })
  })
})

test('a machine that boots reads its drives', async () => {
  await withVm(
    async qmp => {
      const first = await blockActivity(qmp)
      await expect.poll(() => blockActivity(qmp), { timeout: 30_000 }).toBeGreaterThan(first)
    },
    { paused: false }
  )
})

test('a forward can be made and ended while the machine runs', async () => {
  await withVm(async qmp => {
    const [port = 0] = await allocatePorts(1)
    await addForward(qmp, port, 80)
    expect(await isFree(port)).toBe(false)
    await expect(addForward(qmp, port, 81)).rejects.toThrow(`port ${port} cannot be forwarded`)
    expect(await removeForward(qmp, port)).toBe(true)
    expect(await isFree(port)).toBe(true)
    expect(await removeForward(qmp, port)).toBe(false)
  })
})

describe('the screen', () => {
  test('is a PNG for this user only', async () => {
    await withVm(async (qmp, spec) => {
      const file = join(dirname(spec.files.qmp), 'screen.png')
      await screenshot(qmp, file)
      expect(statSync(file).mode & 0o077).toBe(0)
      expect(readPng(readFileSync(file))).toMatchObject({ width: 640, height: 480 })
      await expect(screenshot(qmp, '/nowhere/screen.png')).rejects.toThrow(/screendump/)
    })
  })

  test('is closed until there is a password', async () => {
    await withVm(async (qmp, { ports }) => {
      const password = await setVncPassword(qmp, 60)
      expect(password).toMatch(/^[a-z2-9]{8}$/)
      expect(await setVncPassword(qmp, 60)).not.toBe(password)
      const socket = createConnection(ports.vnc, '127.0.0.1')
      // RFC 6143, 7.1: the protocol's version both ways, then the kinds of authentication: one, number 2 (password).
      expect((await received(socket, 12)).toString()).toBe('RFB 003.008\n')
      socket.write('RFB 003.008\n')
      expect([...(await received(socket, 2))]).toEqual([1, 2])
      socket.destroy()
    })
  })

  test('goes from PPM to PNG pixel by pixel', () => {
    const rgb = Buffer.from([255, 0, 0, 0, 255, 0, 0, 0, 255, 9, 8, 7, 6, 5, 4, 3, 2, 1])
    const ppm = Buffer.concat([Buffer.from('P6\n# by hand\n3 2\n255\n'), rgb])
    const picture = readPpm(ppm)
    expect(picture).toEqual({ width: 3, height: 2, rgb })
    expect(readPpm(ppm.subarray(0, -1))).toBeUndefined()
    expect(readPpm(Buffer.from('P5\n1 1\n255\nx'))).toBeUndefined()
    expect(readPng(writePng({ width: 3, height: 2, rgb }))).toEqual({ width: 3, height: 2, rgb })
  })
})

/** Another reading of the format, with its checksums. */
function readPng(png: Buffer): { width: number; height: number; rgb: Buffer } {
  expect(png.subarray(0, 8).toString('latin1')).toBe('\x89PNG\r\n\x1a\n')
  const chunks = new Map<string, Buffer>()
  for (let at = 8; at < png.length; ) {
    const size = png.readUInt32BE(at)
    expect(crc32(png.subarray(at + 4, at + 8 + size))).toBe(png.readUInt32BE(at + 8 + size))
    chunks.set(png.toString('latin1', at + 4, at + 8), png.subarray(at + 8, at + 8 + size))
    at += 12 + size
  }
  expect([...chunks.keys()]).toEqual(['IHDR', 'IDAT', 'IEND'])
  const header = chunks.get('IHDR') as Buffer
  const [width, height] = [header.readUInt32BE(0), header.readUInt32BE(4)]
  expect([...header.subarray(8)]).toEqual([8, 2, 0, 0, 0])
  const raw = inflateSync(chunks.get('IDAT') as Buffer)
  expect(raw).toHaveLength(height * (1 + width * 3))
  const rows = Array.from({ length: height }, (_, y) =>
    raw.subarray(y * (width * 3 + 1) + 1, (y + 1) * (width * 3 + 1))
  )
  return { width, height, rgb: Buffer.concat(rows) }
}

function received(socket: Socket, bytes: number): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    let all = Buffer.alloc(0)
    const take = (piece: Buffer) => {
      all = Buffer.concat([all, piece])
      if (all.length < bytes) return
      socket.off('data', take)
      resolve(all)
    }
    socket.on('data', take).once('error', reject)
  })
}
