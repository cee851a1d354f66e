import { expect, test } from 'vitest'
import type { ConfigureWork } from '#driver/driver.ts'
import { recordedEngine } from '#driver/wine/settings.ts'
import { wineDriver } from '#driver/wine/wine.ts'

test('the engine of the settings has only what was set', () => {
  expect(recordedEngine({ url: 'unix:///a' })).toEqual({ url: 'unix:///a' })
  expect(recordedEngine({ url: 'tcp://a', tlsFolder: '/c', skipVerify: false })).toEqual({
    url: 'tcp://a',
    tlsFolder: '/c',
    skipVerify: false
  })
})

test('an option of another driver is refused before any engine is looked for', async () => {
  const work: ConfigureWork = {
    machine: 'm',
    env: {},
    signal: new AbortController().signal,
    report: () => undefined,
    place: { home: '/h', folder: '/h/m', socketFolder: '/h/m' },
    stage: () => {
      throw new Error('a stage began')
    }
  }
  await expect(wineDriver.configure(undefined, { windows: '2025', timeZone: 'UTC' }, work)).rejects.toMatchObject({
    message: 'the wine driver has no --windows, --time-zone.',
    exitCode: 2
  })
})
