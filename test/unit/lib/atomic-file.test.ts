import { mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { makeFolder, readJsonFile, writeFileAtomic } from '#lib/atomic-file.ts'
import { Fault } from '#lib/fault.ts'

let folder = ''
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'oriel-atomic-'))
})
afterEach(() => rm(folder, { recursive: true, force: true }))

test('a written file has the data and exactly the mode', async () => {
  const path = join(folder, 'state.json')
  await writeFile(path, 'old', { mode: 0o644 })
  await writeFileAtomic(path, 'new')
  expect(await readFile(path, 'utf8')).toBe('new')
  expect((await stat(path)).mode & 0o777).toBe(0o600)
  await writeFileAtomic(path, Buffer.from('wide'), 0o666)
  expect((await stat(path)).mode & 0o777).toBe(0o666)
  expect(await readdir(folder)).toEqual(['state.json'])
})

test('a failed write leaves no temporary file, and what was there', async () => {
  const path = join(folder, 'taken')
  await mkdir(join(path, 'inside'), { recursive: true })
  await expect(writeFileAtomic(path, 'x')).rejects.toThrow()
  expect(await readdir(folder)).toEqual(['taken'])
  await expect(writeFileAtomic(join(folder, 'none', 'x'), 'x')).rejects.toThrow(/ENOENT/)
})

test('many writers leave one whole file', async () => {
  const path = join(folder, 'state.json')
  await Promise.all(
    Array.from({ length: 20 }, (_, n) => writeFileAtomic(path, JSON.stringify({ n, pad: 'x'.repeat(5000) })))
  )
  expect(await readJsonFile(path)).toMatchObject({ pad: 'x'.repeat(5000) })
  expect(await readdir(folder)).toEqual(['state.json'])
})

test('JSON: none is undefined, damage and a folder are Faults that name the file', async () => {
  const path = join(folder, 'state.json')
  expect(await readJsonFile(path)).toBeUndefined()
  await writeFile(path, '{"a":')
  await expect(readJsonFile(path)).rejects.toThrow(Fault)
  await expect(readJsonFile(path)).rejects.toThrow(path)
  await expect(readJsonFile(folder)).rejects.toThrow(folder)
})

test('a new folder is private', async () => {
  const path = join(folder, 'a', 'b')
  await makeFolder(path)
  expect((await stat(path)).mode & 0o777).toBe(0o700)
  await makeFolder(path)
})
