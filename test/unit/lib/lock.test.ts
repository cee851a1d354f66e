import { spawn } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { withLock } from '#lib/lock.ts'
import { lockHolder } from '#lib/lock-holder.ts'
import { pause } from '#lib/wait.ts'

let folder: string
let path: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'oriel-lock-'))
  path = join(folder, 'deeper', 'a')
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

const options = { doing: 'oriel up a', limitMs: 10_000 }

test('two take turns, and the second is told who has it', async () => {
  const order: string[] = []
  const first = withLock(path, options, async () => {
    order.push('first in')
    await pause(150)
    order.push('first out')
  })
  await pause(50)
  const waited: unknown[] = []
  await withLock(path, { ...options, onWait: holder => waited.push(holder?.doing) }, async () => {
    order.push('second')
  })
  await first
  expect(order).toEqual(['first in', 'first out', 'second'])
  expect(waited).toEqual(['oriel up a'])
  expect(await lockHolder(path)).toBeUndefined()
})

test('a failure frees it', async () => {
  await expect(withLock(path, options, () => Promise.reject(new Error('x')))).rejects.toThrow('x')
  expect(await withLock(path, options, async () => 'again')).toBe('again')
})

test('waiting has a limit, and names the holder', async () => {
  await withLock(path, { ...options, doing: 'oriel rm a' }, async () => {
    await expect(withLock(path, { ...options, limitMs: 100 }, async () => undefined)).rejects.toMatchObject({
      exitCode: 3,
      message: expect.stringContaining(`oriel rm a (process ${process.pid})`)
    })
  })
})

test('waiting ends with the signal', async () => {
  await withLock(path, options, async () => {
    const controller = new AbortController()
    setTimeout(() => controller.abort(), 50)
    const second = withLock(path, { ...options, signal: controller.signal }, async () => undefined)
    await expect(second).rejects.toMatchObject({ exitCode: 130 })
  })
})

test('the lock of a killed process is free after some seconds', async () => {
  mkdirSync(join(folder, 'deeper'))
  const library = createRequire(import.meta.url).resolve('proper-lockfile')
  const script = `require(${JSON.stringify(library)}).lock(process.argv[1], { stale: 5000, update: 1000, realpath: false })
    .then(() => { console.log('taken'); setInterval(() => {}, 1000) })`
  const child = spawn(process.execPath, ['-e', script, path], { stdio: ['ignore', 'pipe', 'inherit'] })
  await new Promise(resolve => child.stdout.once('data', resolve))
  writeFileSync(`${path}.holder`, JSON.stringify({ pid: child.pid, doing: 'killed', since: '' }))
  expect(await lockHolder(path)).toMatchObject({ doing: 'killed' })
  child.kill('SIGKILL')
  expect(await withLock(path, options, async () => existsSync(`${path}.lock`))).toBe(true)
}, 15_000)
