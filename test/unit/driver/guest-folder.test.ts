import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { readGuestFiles } from '#driver/wine/guest-folder.ts'

let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'oriel-guest-'))
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

test('a checkout and an installed package have the same files', async () => {
  for (const name of ['Dockerfile', 'init.c', 'run.sh', '.gitignore', 'CONTRACT.md', 'init', 'a.o', 'launcher.exe']) {
    writeFileSync(join(folder, name), name)
  }
  mkdirSync(join(folder, 'out'))
  mkdirSync(join(folder, 'more'))
  writeFileSync(join(folder, 'out', 'init.c'), '')
  writeFileSync(join(folder, 'more', 'b.c'), 'b')
  chmodSync(join(folder, 'run.sh'), 0o775)
  const files = await readGuestFiles(folder)
  expect(files.map(({ path, mode }) => `${path} ${mode.toString(8)}`)).toEqual([
    'Dockerfile 644',
    'init.c 644',
    'more/b.c 644',
    'run.sh 755'
  ])
})

test('the real folder is complete', async () => {
  expect((await readGuestFiles()).map(({ path }) => path)).toEqual(expect.arrayContaining(['Dockerfile', 'init.c']))
})

test('a folder without a Dockerfile is no copy of Oriel', async () => {
  await expect(readGuestFiles(folder)).rejects.toThrow('this copy of Oriel is incomplete')
})
