import { expect, test } from 'vitest'
import type { ProgressEvent } from '#lib/progress.ts'
import { makeMeter, transferText } from '#windows/media/meter.ts'

test.each([
  [3_140_000_000, 8_152_356_864, 54_000_000, '3.1 of 8.2 GB, 54 MB/s, 1 min 33 s left'],
  [0, 8_152_356_864, undefined, '0.0 of 8.2 GB'],
  [8_152_356_864, 8_152_356_864, 54_000_000, '8.2 of 8.2 GB'],
  [12_000_000, 75_000_000, 500_000, '12 of 75 MB, 500 kB/s, 2 min 6 s left'],
  [1_000_000, 8_000_000_000, 100_000, '0.0 of 8.0 GB, 100 kB/s, 22 h 13 min left'],
  [5_000_000, undefined, 1_500_000, '5.0 MB, 1.5 MB/s'],
  [10, 100, 0, '10 of 100 B']
])('%s of %s at %s is "%s"', (bytes, total, rate, text) => {
  expect(transferText(bytes, total, rate)).toBe(text)
})

test('a meter tells twice a second, of the rate of the last while', () => {
  const events: ProgressEvent[] = []
  let time = 0
  const meter = makeMeter(
    event => events.push(event),
    'disc',
    1000e6,
    '',
    () => time
  )
  for (; time < 10_000; time += 50) meter.at(time < 5000 ? time * 1000 : 5e6 + (time - 5000) * 100_000)
  expect(events.length).toBeGreaterThan(15)
  expect(events.length).toBeLessThanOrEqual(20)
  expect(events.at(0)).toEqual({ type: 'step', stage: 'disc', text: '0.0 of 1.0 GB', fraction: 0 })
  expect(events.at(-1)).toMatchObject({
    text: expect.stringMatching(/^0\.\d of 1\.0 GB, (8\d|9\d|100) MB\/s, [5-7] s left$/)
  })
})

test('a meter without a whole has no fraction, and the end is always told', () => {
  const events: ProgressEvent[] = []
  let time = 0
  const unknown = makeMeter(
    event => events.push(event),
    'disc',
    undefined,
    'checking',
    () => time
  )
  unknown.at(5)
  expect(events).toEqual([{ type: 'step', stage: 'disc', text: 'checking 5 B' }])
  const known = makeMeter(
    event => events.push(event),
    'disc',
    10,
    '',
    () => time
  )
  known.at(1)
  time += 1
  known.at(5)
  known.at(10)
  expect(events.slice(1).map(event => (event.type === 'step' ? event.fraction : -1))).toEqual([0.1, 1])
})
