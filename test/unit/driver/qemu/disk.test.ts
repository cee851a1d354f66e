import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, renameSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { open } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import {
  checkDisk,
  copyVars,
  createDisk,
  createOverlay,
  diskInfo,
  growDisk,
  offlineSnapshotCreate,
  offlineSnapshotDelete,
  offlineSnapshotRestore
} from '#driver/qemu/disk.ts'
import { temporaryFolder } from './vm.ts'

const MIB = 1024 ** 2

function qemuIo(file: string, command: string): string {
  return execFileSync('qemu-io', ['-f', 'qcow2', '-c', command, file], { encoding: 'utf8' })
}

describe('a disk', () => {
  test('takes no room at first, grows, and does not shrink', async () => {
    const file = join(temporaryFolder(), 'disk.qcow2')
    await createDisk(file, 1024 * MIB)
    const info = await diskInfo(file)
    expect(info).toMatchObject({ format: 'qcow2', virtualBytes: 1024 * MIB, snapshots: [] })
    expect(info.actualBytes).toBeLessThan(MIB)
    expect(info.backing).toBeUndefined()
    await growDisk(file, 2048 * MIB)
    await growDisk(file, 2048 * MIB)
    expect((await diskInfo(file)).virtualBytes).toBe(2048 * MIB)
    await expect(growDisk(file, 1024 * MIB)).rejects.toMatchObject({ exitCode: 3 })
    await expect(createDisk(file, MIB)).rejects.toThrow(/exists already/)
  })

  test('is refused where it cannot be made', async () => {
    await expect(createDisk(join(temporaryFolder(), 'none', 'disk.qcow2'), MIB)).rejects.toThrow(/qemu-img create/)
    await expect(diskInfo(join(temporaryFolder(), 'none.qcow2'))).rejects.toThrow(/qemu-img info/)
    const program = 'no-such-qemu-img'
    await expect(createDisk(join(temporaryFolder(), 'a'), MIB, { program })).rejects.toMatchObject({ exitCode: 4 })
  })
})

describe('an overlay', () => {
  test('shows what its base has, also after both have moved, and writes nothing to it', async () => {
    const folder = temporaryFolder()
    const home = join(folder, 'home')
    mkdirSync(join(home, 'golden'), { recursive: true })
    mkdirSync(join(home, 'machines', 'win'), { recursive: true })
    const base = join(home, 'golden', 'a.qcow2')
    await createDisk(base, 16 * MIB)
    qemuIo(base, 'write -P 7 0 64k')
    const before = statSync(base).mtimeMs
    // Reached over a link, as when a person has moved .oriel to a larger disk.
    symlinkSync(home, join(folder, 'link'))
    const file = join(folder, 'link', 'machines', 'win', 'disk.qcow2')
    await createOverlay(file, join(folder, 'link', 'golden', 'a.qcow2'), 32 * MIB)
    expect(await diskInfo(file)).toMatchObject({ virtualBytes: 32 * MIB, backing: base })
    qemuIo(file, 'write -P 9 64k 64k')
    expect(statSync(base).mtimeMs).toBe(before)
    renameSync(home, join(folder, 'moved'))
    const moved = join(folder, 'moved', 'machines', 'win', 'disk.qcow2')
    expect(qemuIo(moved, 'read -P 7 0 64k')).not.toContain('verification failed')
    expect((await diskInfo(moved)).backing).toBe(join(folder, 'moved', 'golden', 'a.qcow2'))
  })

  test('is not smaller than its base', async () => {
    const folder = temporaryFolder()
    await createDisk(join(folder, 'base'), 16 * MIB)
    await expect(createOverlay(join(folder, 'a'), join(folder, 'base'), MIB)).rejects.toMatchObject({ exitCode: 3 })
    expect(existsSync(join(folder, 'a'))).toBe(false)
    await createOverlay(join(folder, 'a'), join(folder, 'base'))
    expect((await diskInfo(join(folder, 'a'))).virtualBytes).toBe(16 * MIB)
  })
})

test("a machine's firmware variables are a whole qcow2 copy, or are not", async () => {
  const folder = temporaryFolder()
  const target = join(folder, 'vars.qcow2')
  writeFileSync(join(folder, 'template.fd'), Buffer.alloc(540_672, 0xff))
  await copyVars(join(folder, 'template.fd'), target)
  expect(await diskInfo(target)).toMatchObject({ format: 'qcow2', virtualBytes: 540_672 })
  qemuIo(target, 'write -P 1 0 512')
  await copyVars(join(folder, 'template.fd'), target)
  expect(qemuIo(target, 'read -P 0xff 0 512')).not.toContain('verification failed')
  await expect(copyVars(join(folder, 'none.fd'), join(folder, 'b'))).rejects.toThrow()
  expect(existsSync(join(folder, 'b'))).toBe(false)
})

describe('an offline snapshot', () => {
  test('is of all files, sets them back, and goes', async () => {
    const folder = temporaryFolder()
    const files = [join(folder, 'disk'), join(folder, 'vars')]
    for (const file of files) {
      await createDisk(file, MIB)
      qemuIo(file, 'write -P 1 0 64k')
    }
    await offlineSnapshotCreate(files, 'first')
    const [snapshot] = (await diskInfo(files[0] ?? '')).snapshots
    expect(snapshot).toMatchObject({ name: 'first', memoryBytes: 0 })
    expect(Math.abs(Date.parse(snapshot?.madeAt ?? '') - Date.now())).toBeLessThan(60_000)
    for (const file of files) qemuIo(file, 'write -P 2 0 64k')
    await offlineSnapshotRestore(files, 'first')
    for (const file of files) expect(qemuIo(file, 'read -P 1 0 64k')).not.toContain('verification failed')
    await expect(offlineSnapshotCreate(files, 'first')).rejects.toMatchObject({ exitCode: 3 })
    await offlineSnapshotDelete(files, 'first')
    await offlineSnapshotDelete(files, 'first')
    for (const file of files) expect((await diskInfo(file)).snapshots).toEqual([])
    await expect(offlineSnapshotRestore(files, 'first')).rejects.toThrow(/has no snapshot "first"/)
  })

  test('is not left behind in one file when another fails', async () => {
    const folder = temporaryFolder()
    const [good, bad] = [join(folder, 'good'), join(folder, 'bad.raw')]
    await createDisk(good, MIB)
    writeFileSync(bad, Buffer.alloc(MIB))
    await expect(offlineSnapshotCreate([good, bad], 'a')).rejects.toThrow(/snapshot/)
    expect((await diskInfo(good)).snapshots).toEqual([])
  })
})

describe('a check', () => {
  test('finds a whole disk whole, gives lost clusters back, and tells of damage', async () => {
    const file = join(temporaryFolder(), 'disk')
    await createDisk(file, 4 * MIB)
    qemuIo(file, 'write -P 1 0 1M')
    expect((await checkDisk(file)).result).toBe('ok')

    // Clear the entry of the first cluster in the L2 table: its data has no owner any more. Format: docs/interop/qcow2.
    const image = await open(file, 'r+')
    const word = async (at: number) => (await image.read(Buffer.alloc(8), 0, 8, at)).buffer.readBigUInt64BE()
    const address = 0x00ff_ffff_ffff_fe00n
    const l2 = Number((await word(Number(await word(40)))) & address)
    const entry = await word(l2)
    await image.write(Buffer.alloc(8), 0, 8, l2)
    expect((await checkDisk(file)).result).toBe('repaired')
    expect((await checkDisk(file)).result).toBe('ok')

    // Point it at the cluster of the L2 table itself.
    const wrong = Buffer.alloc(8)
    wrong.writeBigUInt64BE((entry & ~address) | BigInt(l2))
    await image.write(wrong, 0, 8, l2)
    await image.close()
    const damaged = await checkDisk(file)
    expect(damaged.result).toBe('damaged')
    expect(damaged.detail).toMatch(/ERROR/)
    await expect(checkDisk(`${file}.none`)).rejects.toThrow(/qemu-img check/)
  })
})
