import { afterEach, beforeEach, expect, test } from 'vitest'
import { EngineMonitor } from '#agent/engine-monitor.ts'
import { Engine } from '#docker/engine.ts'
import { FakeEngine } from '../driver/fake-engine.ts'

let fake: FakeEngine
let gateway: FakeEngine
const lines: string[] = []
const write = (message: string) => void lines.push(message)
const log = { debug: write, info: write, warn: write, error: write }

beforeEach(async () => {
  lines.length = 0
  fake = await new FakeEngine().start()
  gateway = await new FakeEngine().start()
  gateway.version = { Version: '28.0.0', ApiVersion: '1.48', Os: 'windows', Arch: 'amd64' }
})
afterEach(async () => {
  await gateway.stop()
})

test('clients see the gateway; a dead engine is known at once and told once', async () => {
  const monitor = new EngineMonitor(gateway.engine, fake.engine, log)
  const well = { ok: true, engine: { version: '28.0.0', apiVersion: '1.48', os: 'windows', arch: 'amd64' } }
  expect(await monitor.health()).toEqual(well)
  const asked = gateway.calls.length
  expect(await monitor.health()).toEqual(well)
  // The second answer came from memory.
  expect(gateway.calls).toHaveLength(asked)
  await fake.stop()
  expect(await monitor.health()).toMatchObject({ ok: false, why: expect.stringContaining('engine.sock') })
  await monitor.look()
  expect(lines).toEqual(['the engine answers', 'the engine does not answer'])
})

test('an engine that accepts and never answers is not healthy', async () => {
  fake.other = () => true
  const monitor = new EngineMonitor(gateway.engine, fake.engine, log)
  expect(await monitor.health()).toMatchObject({ ok: false, why: 'no answer within 2 s' })
  await fake.stop()
})

test('a gateway that fails is not healthy, whatever the engine says', async () => {
  const dead = new Engine({ kind: 'unix', path: '/no/such.sock' })
  const monitor = new EngineMonitor(dead, fake.engine, log)
  expect(await monitor.health()).toMatchObject({ ok: false, why: expect.stringContaining('/no/such.sock') })
  await fake.stop()
})
