import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { orielVersion, packageRoot } from '#lib/package-root.ts'
import { formatBytes, formatDuration, parseSize } from '#lib/size.ts'
import { pause, poll } from '#lib/wait.ts'

test.each([
  [0, '0 B'],
  [999, '999 B'],
  [1500, '1.5 kB'],
  [450_000_000, '450 MB'],
  [2e15, '2000 TB']
])('%d bytes are %s', (bytes, text) => expect(formatBytes(bytes)).toBe(text))

test.each([
  [900, '1 second'],
  [45_000, '45 seconds'],
  [180_000, '3 minutes'],
  [18_000_000, '5 hours'],
  [172_800_000, '2 days']
])('%d ms are %s', (ms, text) => expect(formatDuration(ms)).toBe(text))

test.each([
  ['4GiB', 4 * 1024 ** 3],
  ['4g', 4 * 1024 ** 3],
  ['4 GB', 4 * 1024 ** 3],
  ['4096m', 4 * 1024 ** 3],
  ['1.5k', 1536],
  ['512', 512],
  ['512B', 512],
  ['', undefined],
  ['4 apples', undefined],
  ['-1g', undefined],
  ['4ib', undefined],
  ['999999999p', undefined]
])('%j are %s bytes', (text, bytes) => expect(parseSize(text)).toBe(bytes))

test('polling ends with a value, the limit or the signal', async () => {
  let asked = 0
  expect(await poll(async () => (++asked < 3 ? undefined : asked), { limitMs: 1000 })).toBe(3)
  expect(await poll(async () => undefined, { limitMs: 50 })).toBeUndefined()
  const signal = AbortSignal.abort()
  await expect(poll(async () => undefined, { limitMs: 50, signal })).rejects.toMatchObject({ exitCode: 130 })
  await expect(pause(10, signal)).rejects.toMatchObject({ exitCode: 130 })
})

test('the package knows where and what it is', () => {
  expect(existsSync(join(packageRoot(), 'biome.json'))).toBe(true)
  expect(orielVersion()).toBe(JSON.parse(readFileSync(join(packageRoot(), 'package.json'), 'utf8')).version)
})
