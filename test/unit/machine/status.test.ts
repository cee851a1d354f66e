import { mkdirSync, mkdtempSync, rmSync, utimesSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import type { AgentStatus, Health } from '#agent/control.ts'
import { serveControl } from '#agent/control-server.ts'
import { machinePaths } from '#machine/paths.ts'
import type { MachineState } from '#machine/state.ts'
import { judge, listMachines, machineStatus } from '#machine/status.ts'

let env: { ORIEL_HOME: string }
beforeEach(() => {
  env = { ORIEL_HOME: mkdtempSync(join(tmpdir(), 'oriel-status-')) }
})
afterEach(() => rmSync(env.ORIEL_HOME, { recursive: true, force: true }))

const engine = { version: '28', apiVersion: '1.48', os: 'windows', arch: 'amd64' }
const agent = (health: Health): AgentStatus => ({
  build: 'b',
  pid: 1,
  machine: 'a',
  driver: 'wine',
  place: { home: '/h', folder: '/h/a', socketFolder: '/h/a' },
  engine: { url: 'unix:///e' },
  dockerSocket: '/s',
  startedAt: '',
  health
})
const well = agent({ ok: true, engine })
const ill = agent({ ok: false, why: 'it is gone' })
const state = (more: Partial<MachineState> = {}): MachineState => ({
  driver: 'wine',
  wanted: 'running',
  context: 'oriel-a',
  socket: machinePaths('a', env).dockerSocket,
  windows: { release: 'ltsc2022', build: 20348 },
  startedAt: '2026-01-02T00:00:00.000Z',
  ...more
})
const boot = Date.parse('2026-01-01T00:00:00.000Z')

test('the state follows from what is recorded, who answers and who works on it', () => {
  expect(judge(state(), well, false, { bootedAt: boot })).toEqual(['running'])
  expect(judge(state(), ill, false, { bootedAt: boot })).toEqual(['broken', 'it is gone'])
  expect(judge(state(), undefined, false, { bootedAt: boot })[0]).toBe('broken')
  expect(judge(state(), undefined, false, { bootedAt: boot + 1e10 })).toEqual(['stopped'])
  expect(judge(state({ wanted: 'stopped' }), undefined, false, { bootedAt: boot })).toEqual(['stopped'])
  expect(judge(undefined, undefined, false, { bootedAt: boot })).toEqual(['stopped'])
})

test('a transition counts only while somebody works on the machine', () => {
  expect(judge(state({ transition: 'starting' }), undefined, true, { bootedAt: boot })).toEqual(['starting'])
  expect(judge(state({ transition: 'stopping' }), well, true, { bootedAt: boot })).toEqual(['stopping'])
  expect(judge(state({ transition: 'starting', wanted: 'stopped' }), undefined, false, { bootedAt: boot })).toEqual([
    'stopped'
  ])
})

function write(more: Partial<MachineState> = {}): void {
  const paths = machinePaths('a', env)
  mkdirSync(paths.folder, { recursive: true })
  writeFileSync(paths.state, JSON.stringify(state(more)))
}

test('a machine that is not there has every field, without a value', async () => {
  const { status } = await machineStatus('a', env)
  expect(status).toEqual({
    name: 'a',
    driver: null,
    state: 'absent',
    context: 'oriel-a',
    socket: null,
    engine: { version: null, apiVersion: null, os: null, arch: null },
    windows: { release: null, build: null },
    evaluation: null,
    vm: null
  })
})

test('a running machine has exactly the fields that are promised', async () => {
  write()
  const control = await serveControl(machinePaths('a', env).agentSocket, async () => ({ status: well }))
  try {
    const report = await machineStatus('a', env)
    expect(report).toEqual({
      status: {
        name: 'a',
        driver: 'wine',
        state: 'running',
        context: 'oriel-a',
        socket: machinePaths('a', env).dockerSocket,
        engine,
        windows: { release: 'ltsc2022', build: 20348 },
        evaluation: null,
        vm: null
      },
      engineUrl: 'unix:///e'
    })
    expect(await listMachines(env)).toEqual([report])
  } finally {
    await control.close()
  }
})

test('a held lock shows what is being done; one of a killed command does not', async () => {
  write({ transition: 'starting', wanted: 'stopped' })
  const { lock } = machinePaths('a', env)
  mkdirSync(`${lock}.lock`, { recursive: true })
  writeFileSync(`${lock}.holder`, JSON.stringify({ pid: 1, doing: 'oriel up a', since: '' }))
  expect((await machineStatus('a', env)).status.state).toBe('starting')
  utimesSync(`${lock}.lock`, new Date(0), new Date(0))
  expect((await machineStatus('a', env)).status.state).toBe('stopped')
})
