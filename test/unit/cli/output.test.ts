import { expect, test } from 'vitest'
import { checksText } from '#cli/commands/doctor.ts'
import { statusText } from '#cli/commands/status.ts'
import { nextSteps } from '#cli/commands/up.ts'
import { progress } from '#cli/output/progress.ts'
import { fields, table } from '#cli/output/table.ts'
import type { ProgressEvent } from '#lib/progress.ts'

const events: ProgressEvent[] = [
  { type: 'stage', stage: 'engine', state: 'started' },
  { type: 'stage', stage: 'engine', state: 'done', detail: 'Docker 28' },
  { type: 'stage', stage: 'base image', state: 'started' },
  { type: 'step', stage: 'base image', text: 'RUN x', fraction: 0.456 },
  { type: 'step', stage: 'base image', text: 'RUN x', fraction: 0.456 },
  { type: 'notice', text: 'Mind this.' },
  { type: 'stage', stage: 'base image', state: 'failed' }
]

function shown(terminal: boolean, quiet = false): string {
  let text = ''
  let now = 0
  const io = {
    err: (part: string) => {
      text += part
    },
    terminal: { in: true, out: true, err: terminal, columns: 24 }
  }
  const report = progress(io, quiet, () => (now += 5000))
  for (const event of events) report(event)
  return text
}

test('without a terminal, progress is plain lines, each once', () => {
  expect(shown(false)).toBe(
    'engine: Docker 28 (5 seconds)\nbase image: 45 % RUN x\nMind this.\nbase image: failed (5 seconds)\n'
  )
})

test('on a terminal, one line changes until its stage is done, and never wraps', () => {
  const text = shown(true)
  expect(text).toContain('\r\u001b[K✓ engine: Docker 28 (5 seconds)\n')
  expect(text).toContain('\r\u001b[K… base image: 45 % RUN \r')
  expect(text).toContain('\r\u001b[KMind this.\n')
  expect(text).toContain('\r\u001b[K✗ base image (5 seconds)\n')
})

test('quiet is quiet', () => expect(shown(true, true)).toBe(''))

test('columns line up and lines have no space at their end', () => {
  expect(table(['A', 'LONG', 'C'], [['aaa', 'b', '']])).toBe('A    LONG  C\naaa  b\n')
  expect(
    fields([
      ['a', '1'],
      ['long', '2']
    ])
  ).toBe('  a     1\n  long  2\n')
})

test('what to type next names the context, unless it is the current one', () => {
  expect(nextSteps({ name: 'work', context: 'oriel-work', image: 'windowsservercore' }, false)).toContain(
    '  docker --context oriel-work run --rm -it windowsservercore cmd\n'
  )
  expect(nextSteps({ name: 'work', context: 'oriel-work', image: 'windowsservercore' }, false)).toContain(
    'eval "$(oriel env work)"'
  )
  expect(nextSteps({ name: 'default', context: 'oriel', image: 'windowsservercore' }, true)).toContain(
    '  docker run --rm -it'
  )
})

test('the status of a running machine, for people', () => {
  const engine = { version: '28', apiVersion: '1.48', os: 'windows', arch: 'amd64' }
  const windows = { release: 'ltsc2022', build: 20348 }
  const status = {
    name: 'a',
    driver: 'wine',
    state: 'running' as const,
    context: 'oriel-a',
    socket: '/s',
    engine,
    windows,
    evaluation: null,
    vm: null
  }
  expect(statusText({ status, engineUrl: 'unix:///e' })).toBe(`a is running
  driver   wine
  context  oriel-a
  socket   /s
  engine   Docker 28, API 1.48, windows/amd64
  behind   unix:///e
  windows  ltsc2022, build 20348
`)
})

test('a virtual machine shows its evaluation and its ports, and where its engine is even when it is down', () => {
  const nothing = { version: null, apiVersion: null, os: null, arch: null }
  const status = {
    name: 'win',
    driver: 'qemu',
    state: 'stopped' as const,
    context: 'oriel-win',
    socket: '/s',
    engine: nothing,
    windows: { release: 'ltsc2025', build: 26100 },
    evaluation: { daysLeft: 97, rearmsLeft: 4 },
    vm: { state: 'suspended' as const, engine: 'tcp://127.0.0.1:41000', forwards: [{ hostPort: 8080, guestPort: 80 }] }
  }
  expect(statusText({ status, why: 'suspended' })).toBe(`win is stopped: suspended
  driver      qemu
  context     oriel-win
  socket      /s
  behind      tcp://127.0.0.1:41000
  windows     ltsc2025, build 26100
  evaluation  97 days left, can be renewed 4 times: oriel rearm win
  forward     127.0.0.1:8080 to port 80 of the guest
`)
})

test('advice stands below its check', () => {
  expect(
    checksText([
      { name: 'a', result: 'ok', detail: 'fine' },
      { name: 'long', result: 'missing', detail: 'gone', advice: 'do this' }
    ])
  ).toBe('ok       a     fine\nmissing  long  gone\n               → do this\n')
})
