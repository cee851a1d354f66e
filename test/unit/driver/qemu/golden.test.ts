import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { createDisk } from '#driver/qemu/disk.ts'
import { goldenFiles, goldenKey, listGolden, machinesOf, readGolden, removeGolden } from '#driver/qemu/golden.ts'

let home: string
beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), 'oriel-golden-'))
})
afterEach(() => rmSync(home, { recursive: true, force: true }))

const about = (key: string) => ({
  ...{ key, release: '2025', edition: 'datacenter-core', build: '26100.32230', isolation: 'process' },
  ...{ engine: '29.7.2', locale: 'en-US', madeAt: '2026-01-02T03:04:05Z', seconds: 900, diskBytes: 40 * 1024 ** 3 }
})

async function makeImage(key: string): Promise<void> {
  const files = goldenFiles(home, key)
  mkdirSync(files.folder, { recursive: true })
  await createDisk(files.disk, 1024 ** 2)
  writeFileSync(files.about, JSON.stringify(about(key)))
}

function makeMachine(name: string, golden: string): void {
  mkdirSync(join(home, 'machines', name, 'vm'), { recursive: true })
  writeFileSync(join(home, 'machines', name, 'vm', 'vm.json'), JSON.stringify({ golden }))
}

test('the key is the same for the same parts in any order, and another for any other part', () => {
  const key = goldenKey({ release: '2025', disc: 'abc' })
  expect(key).toMatch(/^[0-9a-f]{12}$/)
  expect(goldenKey({ disc: 'abc', release: '2025' })).toBe(key)
  expect(goldenKey({ disc: 'abc', release: '2022' })).not.toBe(key)
  expect(goldenKey({ disc: 'abc', release: '2025', locale: '' })).not.toBe(key)
})

test('images are listed with their size and the machines that need them; what is being made is not', async () => {
  await makeImage('aaaaaaaaaaaa')
  makeMachine('one', 'aaaaaaaaaaaa')
  makeMachine('two', 'bbbbbbbbbbbb')
  mkdirSync(join(home, 'golden', 'cccccccccccc.building'), { recursive: true })
  const [image, ...others] = await listGolden(home)
  expect(others).toEqual([])
  expect(image).toMatchObject({ key: 'aaaaaaaaaaaa', engine: '29.7.2', machines: ['one'] })
  expect(image?.bytes).toBeGreaterThan(0)
})

test('an image that a machine needs is not removed; one that none needs is, whole', async () => {
  await makeImage('aaaaaaaaaaaa')
  makeMachine('one', 'aaaaaaaaaaaa')
  await expect(removeGolden(home, 'aaaaaaaaaaaa')).rejects.toMatchObject({ exitCode: 3, message: /part of "one"/ })
  expect(await readGolden(home, 'aaaaaaaaaaaa')).toBeDefined()
  rmSync(join(home, 'machines', 'one'), { recursive: true })
  await removeGolden(home, 'aaaaaaaaaaaa')
  expect(existsSync(goldenFiles(home, 'aaaaaaaaaaaa').folder)).toBe(false)
  await expect(removeGolden(home, 'aaaaaaaaaaaa')).rejects.toMatchObject({ exitCode: 3 })
})

test('a home without images or machines has none, and a damaged machine does not hide the others', async () => {
  expect(await listGolden(home)).toEqual([])
  makeMachine('good', 'aaaaaaaaaaaa')
  mkdirSync(join(home, 'machines', 'bad', 'vm'), { recursive: true })
  writeFileSync(join(home, 'machines', 'bad', 'vm', 'vm.json'), '{"golden": "aaaa')
  expect(await machinesOf(home, 'aaaaaaaaaaaa')).toEqual(['good'])
})
