import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { availableParallelism, tmpdir } from 'node:os'
import { join } from 'node:path'
import * as v from 'valibot'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { UpOptions } from '#driver/driver.ts'
import { configureQemu } from '#driver/qemu/configure.ts'
import { QemuSettings } from '#driver/qemu/settings.ts'

let folder: string
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'oriel-qemu-'))
  for (const name of ['a.iso', 'b.iso', 'tools.ps1']) writeFileSync(join(folder, name), '')
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const file = (name: string) => join(folder, name)
const defaults = () => v.parse(QemuSettings, {})

test('nothing said is a Server 2025 of a modest size', () => {
  expect(defaults()).toEqual({
    windows: '2025',
    cpus: Math.min(4, availableParallelism()),
    memory: '4GiB',
    disk: '64GiB',
    isolation: 'process',
    accelerator: 'auto',
    provision: [],
    engine: {},
    stallMinutes: 20
  })
  expect(v.parse(QemuSettings, { windows: 2019 }).windows).toBe('2019')
})

test.each([
  [{ windows: '2012' }, 'must be one of 2016, 2019, 2022, 2025, 11-arm64'],
  [{ windows: true }, 'must be one of 2016'],
  [{ memory: '100k' }, 'must be a size of at least 512MiB'],
  [{ memory: 4 }, 'must be a size'],
  [{ disk: 'large' }, 'must be a size of at least 1GiB'],
  [{ cpus: 0 }, 'must be at least 1'],
  [{ cpus: 1.5 }, 'whole number'],
  [{ isolation: 'vm' }, 'must be process or hyperv'],
  [{ accelerator: 'xen' }, 'must be one of auto'],
  [{ provision: ['relative.ps1'] }, 'must be a whole path'],
  [{ provision: 'x' }, 'must be a list'],
  [{ engine: 'x' }, 'mapping'],
  [{ media: { iso: 'x.iso' } }, 'whole path or an http(s) URL'],
  [{ media: { iso: '/x.iso', sha256: 'abc' } }, '64 hexadecimal digits'],
  [{ productKey: 'XXXXX' }, 'five groups'],
  [{ ports: { engine: 70_000 } }, 'must be a port'],
  [{ locale: 'german' }, 'must be a locale'],
  [{ stallMinutes: 0 }, 'at least 0.1']
])('%j is refused', (settings, words) => {
  const result = v.safeParse(QemuSettings, settings)
  expect(result.issues?.map(({ message }) => message).join()).toContain(words)
})

async function refused(former: QemuSettings | undefined, options: UpOptions, made = false) {
  try {
    await configureQemu(former, options, made)
  } catch (error) {
    return error
  }
  throw new Error('was taken')
}

test('options become settings, with files as whole paths', async () => {
  const settings = await configureQemu(
    undefined,
    {
      windows: '2022',
      iso: file('a.iso'),
      sha256: 'A'.repeat(64),
      cpus: 2,
      memory: '8g',
      provision: [file('tools.ps1')]
    },
    false
  )
  expect(settings).toMatchObject({
    windows: '2022',
    media: { iso: file('a.iso'), sha256: 'a'.repeat(64) },
    cpus: 2,
    memory: '8g',
    provision: [file('tools.ps1')]
  })
  expect((await configureQemu(undefined, { iso: 'https://x/y.iso' }, false)).media).toEqual({ iso: 'https://x/y.iso' })
  expect(await configureQemu(settings, {}, true)).toEqual(settings)
  expect(await configureQemu(settings, { iso: file('a.iso') }, true)).toEqual(settings)
  expect((await configureQemu(settings, { iso: file('b.iso') }, false)).media).toEqual({ iso: file('b.iso') })
  expect(await configureQemu(settings, { windows: '2022', iso: file('a.iso'), sha256: 'a'.repeat(64) }, true)).toEqual(
    settings
  )
})

test.each<[UpOptions, string]>([
  [{ engine: 'unix:///x' }, 'the qemu driver has no --engine.'],
  [{ windows: 'xp' }, '--windows must be one of 2016'],
  [{ accelerator: 'warp' }, '--accel must be one of'],
  [{ iso: '/no/such.iso' }, 'there is no file /no/such.iso'],
  [{ iso: '/' }, 'this is no file: /'],
  [{ iso: 'ftp://x/y.iso' }, '--iso must be a whole path or an http(s) URL'],
  [{ sha256: 'a'.repeat(64) }, '--sha256 is that of a disc'],
  [{ provision: ['/no/such.ps1'] }, 'there is no file'],
  [{ memory: '1m', disk: '1m' }, '--memory must be a size of at least 512MiB, such as 4GiB, not "1m"; --disk must']
])('%j is wrong usage', async (options, words) => {
  expect(await refused(undefined, options)).toMatchObject({ exitCode: 2, message: expect.stringContaining(words) })
})

test('a made machine keeps what Windows was installed with, and takes the rest', async () => {
  const former = defaults()
  for (const options of [
    { windows: '2022' },
    { edition: 'x' },
    { iso: file('b.iso') },
    { isolation: 'hyperv' },
    { locale: 'de-DE' },
    { keyboard: 'de-DE' },
    { engineArchive: file('b.iso') },
    { disk: '32GiB' }
  ]) {
    expect(await refused(former, options, true), JSON.stringify(options)).toMatchObject({ exitCode: 3 })
    await configureQemu(former, options, false)
  }
  const more = { cpus: 1, memory: '6GiB', disk: '128GiB', accelerator: 'tcg', timeZone: 'UTC' }
  expect(await configureQemu(former, more, true)).toEqual({ ...former, ...more })
  // The same size in other words.
  await configureQemu(former, { disk: '65536m' }, true)
})
