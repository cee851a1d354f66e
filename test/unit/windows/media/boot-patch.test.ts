import { chmodSync, existsSync, readdirSync, readFileSync, statSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { cloneWithoutPrompt } from '#windows/media/boot-patch.ts'
import { inspectMedia } from '#windows/media/inspect.ts'
import {
  EFISYS,
  EFISYS_NOPROMPT,
  installationFiles,
  makeDisc,
  makeWim,
  serverImages,
  temporaryFolder,
  tool
} from '../../../support/installation-disc.ts'

const { path: folder, remove } = temporaryFolder()
afterAll(remove)

let wim: string
beforeAll(async () => {
  wim = await makeWim(folder, serverImages('2025', '26100.32230').slice(0, 1))
})

const never = new AbortController().signal

async function clone(iso: string): Promise<[result: string, target: string]> {
  const target = iso.replace(/\.iso$/, '.clone.iso')
  return [await cloneWithoutPrompt(iso, target, await inspectMedia(iso), never), target]
}

/** The boot image that UEFI firmware would start, as xorriso finds it. */
async function efiImage(iso: string): Promise<Buffer> {
  const report = await tool('xorriso', '-indev', iso, '-report_el_torito', 'plain')
  const lba = Number(/^El Torito boot img :\s+\d+\s+UEFI\s.*\s(\d+)$/m.exec(report)?.[1])
  return readFileSync(iso).subarray(lba * 2048)
}

test('boot images of one size: the asking one is overwritten, and nothing else', async () => {
  const files = installationFiles(wim)
  const iso = await makeDisc(folder, 'same', { files, efiBoot: EFISYS })
  const before = readFileSync(iso)
  chmodSync(iso, 0o444)
  const [result, target] = await clone(iso)
  expect(result).toBe('patched')
  const silent = files[EFISYS_NOPROMPT] as Buffer
  const facts = await inspectMedia(iso)
  const expected = Buffer.from(before)
  silent.copy(expected, facts.bootImages.prompt?.offset)
  expect(readFileSync(target).equals(expected)).toBe(true)
  expect((await efiImage(target)).subarray(0, silent.length)).toEqual(silent)
  expect(readFileSync(iso).equals(before)).toBe(true)
  expect(statSync(target).mode & 0o777).toBe(0o600)
})

test('boot images of two sizes: the catalogue leads to the silent one', async () => {
  const files = installationFiles(wim, { prompt: 6144, noPrompt: 12_288 })
  const [result, target] = await clone(await makeDisc(folder, 'sizes', { files, efiBoot: EFISYS }))
  expect(result).toBe('patched')
  const silent = files[EFISYS_NOPROMPT] as Buffer
  expect((await efiImage(target)).subarray(0, silent.length)).toEqual(silent)
  expect(await tool('xorriso', '-indev', target, '-report_el_torito', 'plain')).toMatch(
    /UEFI\s+y\s+none\s+\S+\s+\S+\s+24 /
  )
})

test('a boot image that is stored apart from its file is found by its content', async () => {
  const files = installationFiles(wim)
  const apart = 'boot/apart.bin'
  const iso = await makeDisc(folder, 'apart', { files: { ...files, [apart]: files[EFISYS] ?? '' }, efiBoot: apart })
  const [result, target] = await clone(iso)
  expect(result).toBe('patched')
  const silent = files[EFISYS_NOPROMPT] as Buffer
  expect((await efiImage(target)).subarray(0, silent.length)).toEqual(silent)
})

test('a disc that does not ask is left as it is', async () => {
  const iso = await makeDisc(folder, 'silent', { files: installationFiles(wim), efiBoot: EFISYS_NOPROMPT })
  const [result, target] = await clone(iso)
  expect(result).toBe('patched')
  expect(readFileSync(target).equals(readFileSync(iso))).toBe(true)
})

test.each<[string, Record<string, Buffer | undefined>, string | undefined]>([
  ['without a silent boot image', { [EFISYS_NOPROMPT]: undefined }, EFISYS],
  ['with a boot image of its own', { 'boot/own.bin': Buffer.alloc(6144, 7) }, 'boot/own.bin'],
  ['without a boot catalogue', {}, undefined]
])('a disc %s goes on asking', async (name, change, efiBoot) => {
  const all = Object.entries({ ...installationFiles(wim), ...change })
  const files = Object.fromEntries(all.flatMap(([path, content]) => (content === undefined ? [] : [[path, content]])))
  const iso = await makeDisc(folder, name, { files, ...(efiBoot === undefined ? {} : { efiBoot }) })
  const [result, target] = await clone(iso)
  expect(result).toBe('prompting')
  expect(readFileSync(target).equals(readFileSync(iso))).toBe(true)
})

test('a copy that is stopped leaves nothing, and a former clone as it was', async () => {
  const iso = await makeDisc(folder, 'stopped', { files: installationFiles(wim), efiBoot: EFISYS })
  const facts = await inspectMedia(iso)
  const target = join(folder, 'kept.iso')
  writeFileSync(target, 'former')
  truncateSync(iso, 40_000_000)
  const controller = new AbortController()
  const cloning = cloneWithoutPrompt(iso, target, facts, controller.signal, () => controller.abort())
  controller.abort()
  await expect(cloning).rejects.toMatchObject({ exitCode: 130 })
  expect(readFileSync(target, 'utf8')).toBe('former')
  expect(readdirSync(folder).filter(name => name.endsWith('.tmp'))).toEqual([])
})

test('holes of the disc stay holes where blocks cannot be shared', async () => {
  const iso = await makeDisc(folder, 'holes', { files: installationFiles(wim), efiBoot: EFISYS })
  truncateSync(iso, 200_000_000)
  const seen: number[] = []
  const target = join(folder, 'holes.clone.iso')
  await cloneWithoutPrompt(iso, target, await inspectMedia(iso), never, fraction => seen.push(fraction))
  expect(statSync(target).size).toBe(200_000_000)
  expect(statSync(target).blocks * 512).toBeLessThan(20_000_000)
  if (seen.length > 0) expect(seen.at(-1)).toBe(1)
})

test('a disc that is not there is a Fault, and nothing is left', async () => {
  const iso = await makeDisc(folder, 'gone', { files: installationFiles(wim), efiBoot: EFISYS })
  const facts = await inspectMedia(iso)
  const target = join(folder, 'gone.clone.iso')
  await expect(cloneWithoutPrompt(join(folder, 'no.iso'), target, facts, never)).rejects.toThrow(/no\.iso/)
  expect(existsSync(target)).toBe(false)
})
