import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { MACHINE_STAGES, parseProgress, printable, SETUP_STAGES } from '#windows/progress-line.ts'

const FACTS = {
  product: 'Windows Server 2025 Datacenter',
  build: 26100,
  revision: 32230,
  evaluation: true,
  daysLeft: 180,
  rearmsLeft: 5,
  engine: '29.7.2',
  time: '2026-11-23T10:00:00Z'
}
const ID = 'a'.repeat(64)
const ready = (part: object) => parseProgress(JSON.stringify({ oriel: 1, stage: 'ready', state: 'done', ...part }))
const contract = readFileSync(new URL('../../../guest/windows/CONTRACT.md', import.meta.url), 'utf8')

test('the lines of the contract are understood', () => {
  const lines = [...contract.matchAll(/`(\{"oriel".*?\})`/g)].map(([, line]) => parseProgress(line ?? ''))
  expect(lines).toEqual([
    { stage: 'containers', state: 'started' },
    { stage: 'containers', state: 'progress', detail: 'enabling the feature' },
    { stage: 'containers', state: 'done', detail: 'already enabled' },
    { stage: 'docker', state: 'failed', detail: 'what happened, in a sentence' },
    { stage: 'containers', state: 'reboot' }
  ])
})

test('the stages are those of the contract', () => {
  const row = (name: string) => [
    ...(new RegExp(`^\\| ${name} \\| (.*) \\|$`, 'm').exec(contract)?.[1] ?? '').matchAll(/\w+/g)
  ]
  expect(row('setup').map(String)).toEqual(SETUP_STAGES)
  expect(row('machine').map(String)).toEqual(MACHINE_STAGES)
})

test('ready carries the disc and the facts', () => {
  expect(ready({ id: ID, facts: FACTS })).toEqual({ stage: 'ready', state: 'done', id: ID, facts: FACTS })
  const licensed = { ...FACTS, evaluation: false, daysLeft: null, rearmsLeft: null }
  expect(ready({ id: ID, facts: licensed })).toMatchObject({ facts: licensed })
  expect(ready({ id: ID.slice(1), facts: FACTS })).toBeUndefined()
  expect(ready({ facts: FACTS })).toBeUndefined()
})

test.each([
  undefined,
  'text',
  { ...FACTS, daysLeft: -1 },
  { ...FACTS, build: '26100' },
  { ...FACTS, product: '\u001b[31mred' },
  { ...FACTS, engine: 'x'.repeat(201) },
  { ...FACTS, time: 'now' }
])('facts such as %j are left out', facts => {
  expect(ready({ id: ID, facts })).toEqual({ stage: 'ready', state: 'done', id: ID })
})

test('what the firmware or a cut line left before it does no harm', () => {
  const line = '{"oriel":1,"stage":"copy","state":"started"}'
  expect(parseProgress(`\u001b[2J\u001b[01;01H${line}`)).toEqual({ stage: 'copy', state: 'started' })
  expect(parseProgress(`{"oriel":1,"stage":"se${line}`)).toEqual({ stage: 'copy', state: 'started' })
})

test.each([
  '',
  'BdsDxe: loading Boot0001',
  '{}',
  '{"oriel":1}',
  '{"oriel":1,"stage":"copy","state":"started"',
  '{"oriel":1,"stage":"copy","state":"started"} and more',
  '{"oriel":2,"stage":"copy","state":"started"}',
  '{"oriel":"1","stage":"copy","state":"started"}',
  '{"oriel":1,"stage":"other","state":"started"}',
  '{"oriel":1,"stage":"__proto__","state":"started"}',
  '{"oriel":1,"stage":["copy"],"state":"started"}',
  '{"oriel":1,"stage":"copy","state":"ended"}',
  '{"oriel":1,"stage":"copy","state":"progress","detail":7}',
  '{"oriel":1,"stage":"copy","state":"progress","detail":{"a":1}}',
  '[{"oriel":1,"stage":"copy","state":"started"}]',
  `{"oriel":1,"stage":"copy","state":"progress","detail":"${'x'.repeat(4000)}"}`,
  `{"oriel":1,"stage":"copy","state":"progress","detail":${'['.repeat(3900)}`
])('%.80j is ignored', line => {
  expect(parseProgress(line)).toBeUndefined()
})

test.each([
  ['\u001b[31mred\u001b[0m', 'red'],
  ['\u009b2Jgone', 'gone'],
  ['a\u001b]0;title\u0007b', 'ab'],
  ['a\u001b]52;c;aGk=\u001b\\b', 'ab'],
  ['a\u001b]0;no end', 'a'],
  ['a\u001bcb', 'ab'],
  ['one\r\ntwo\tthree\0four', 'one two three four'],
  ['\u202eabc\u2066\u200b', 'abc'],
  ['\u007f\u0085a\u2028b', 'a b'],
  ['half \ud800 a pair', 'half a pair'],
  ['größer 漢字 𝄞', 'größer 漢字 𝄞'],
  ['  C:\\Program Files\\docker  ', 'C:\\Program Files\\docker'],
  ['\u001b', '']
])('%j is shown as %j', (text, shown) => {
  expect(printable(text)).toBe(shown)
  const line = parseProgress(JSON.stringify({ oriel: 1, stage: 'copy', state: 'failed', detail: text }))
  expect(line).toEqual({ stage: 'copy', state: 'failed', detail: shown })
})

test('a long detail is cut', () => {
  expect(printable('x'.repeat(500))).toHaveLength(500)
  expect(printable('x'.repeat(501))).toBe(`${'x'.repeat(499)}…`)
  expect(printable('𝄞'.repeat(300))).toBe(`${'𝄞'.repeat(249)}…`)
})
