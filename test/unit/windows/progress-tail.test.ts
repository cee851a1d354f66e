import {
  appendFileSync,
  closeSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  truncateSync,
  writeFileSync,
  writeSync
} from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { ProgressTail } from '#windows/progress-tail.ts'

vi.setConfig({ testTimeout: 60_000 })

let folder = ''
let file = ''
let tail: ProgressTail
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'oriel-tail-'))
  file = join(folder, 'com1.log')
  tail = new ProgressTail(file)
})
afterEach(() => rm(folder, { recursive: true, force: true }))

const line = (stage: string, state = 'started') => `${JSON.stringify({ oriel: 1, stage, state })}\r\n`
const boot = (what: string) => `\u001b[2J\u001b[01;01HBdsDxe: loading ${what}\r\nBdsDxe: starting ${what}\r\n`
const DVD = 'Boot0001 "UEFI QEMU DVD-ROM QM00003 " from PciRoot(0x0)/Pci(0x1F,0x2)/Sata(0x1,0xFFFF,0x0)'
const DISK = 'Boot0002 "UEFI QEMU HARDDISK QM00001 " from PciRoot(0x0)/Pci(0x1F,0x2)/Sata(0x0,0xFFFF,0x0)'
const stages = async () => (await tail.read()).lines.map(({ stage }) => stage)

test('before the guest writes there is nothing, and no file is no error', async () => {
  expect(await tail.read()).toEqual({ lines: [], boots: 0, lastBoot: undefined })
  writeFileSync(file, '')
  expect(await tail.read()).toEqual({ lines: [], boots: 0, lastBoot: undefined })
})

test('a folder in its place is an error', async () => {
  await expect(new ProgressTail(folder).read()).rejects.toThrow(/EISDIR/)
})

test('each line comes once, in order', async () => {
  writeFileSync(file, line('copy') + line('copy', 'done'))
  expect((await tail.read()).lines).toEqual([
    { stage: 'copy', state: 'started' },
    { stage: 'copy', state: 'done' }
  ])
  expect(await stages()).toEqual([])
  appendFileSync(file, line('settings'))
  expect(await stages()).toEqual(['settings'])
})

test('a line comes when it is whole, however it was cut', async () => {
  const found: string[] = []
  for (const byte of line('copy') + line('settings')) {
    appendFileSync(file, byte)
    found.push(...(await stages()))
  }
  expect(found).toEqual(['copy', 'settings'])
})

test('lines across the pieces in which the file is read', async () => {
  const expected = Array.from({ length: 900 }, (_, n) => (n % 2 === 0 ? 'copy' : 'ssh'))
  writeFileSync(file, expected.map((stage, n) => `${'g'.repeat(n % 3000)}\n${line(stage)}`).join(''))
  expect(await stages()).toEqual(expected)
})

test('the boots of a real OVMF are counted', async () => {
  // Recorded from QEMU 7.2: neither disk nor DVD can be loaded, so only the shell is started.
  writeFileSync(file, readFileSync(new URL('../../fixtures/com1-ovmf.txt', import.meta.url)))
  const { boots, lastBoot } = await tail.read()
  expect(boots).toBe(1)
  expect(lastBoot).toMatch(/^Boot0003 "EFI Internal Shell" from Fv\(/)
})

test('boots add up, and the last is told', async () => {
  writeFileSync(file, boot(DVD) + line('copy'))
  expect(await tail.read()).toMatchObject({ boots: 1, lastBoot: DVD })
  // A guest that lost its power in the middle of a line.
  appendFileSync(file, `{"oriel":1,"sta${boot(DVD)}${boot(DISK)}${line('ssh')}`)
  expect(await tail.read()).toEqual({ lines: [{ stage: 'ssh', state: 'started' }], boots: 3, lastBoot: DISK })
  expect(await tail.read()).toEqual({ lines: [], boots: 3, lastBoot: DISK })
})

test('a file that was cut is read from its beginning', async () => {
  writeFileSync(file, line('copy') + boot(DVD) + line('settings').slice(0, 20))
  await tail.read()
  truncateSync(file, 0)
  appendFileSync(file, line('ssh'))
  expect(await stages()).toEqual(['ssh'])
  expect((await tail.read()).boots).toBe(1)
})

test('so is one that has grown beyond the old length since it was cut', async () => {
  writeFileSync(file, line('copy'))
  await tail.read()
  truncateSync(file, 0)
  appendFileSync(file, line('settings') + line('containers') + line('ssh'))
  expect(await stages()).toEqual(['settings', 'containers', 'ssh'])
})

test('so is another file under the same name', async () => {
  writeFileSync(file, line('copy'))
  await tail.read()
  renameSync(file, `${file}.1`)
  writeFileSync(file, line('copy') + line('ssh'))
  expect(await stages()).toEqual(['copy', 'ssh'])
  rmSync(file)
  expect(await stages()).toEqual([])
})

test('a gigabyte of garbage costs no memory, and what comes after it is seen', async () => {
  writeFileSync(file, line('copy'))
  truncateSync(file, 2 ** 30)
  appendFileSync(file, `\n${line('ssh')}`)
  const before = process.memoryUsage().rss
  expect(await stages()).toEqual(['copy', 'ssh'])
  expect(process.memoryUsage().rss - before).toBeLessThan(150 * 2 ** 20)
})

test('a flood of good lines is cut to the last thousand', async () => {
  const open = openSync(file, 'w')
  for (let n = 0; n < 50; n += 1) writeSync(open, line('copy', 'progress').repeat(2000))
  writeSync(open, line('sealed', 'done'))
  closeSync(open)
  const { lines } = await tail.read()
  expect(lines).toHaveLength(1000)
  expect(lines.at(-1)).toEqual({ stage: 'sealed', state: 'done' })
})
