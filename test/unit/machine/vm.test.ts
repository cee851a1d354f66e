import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { Fault } from '#lib/fault.ts'
import { doctor } from '#machine/doctor.ts'
import { tlsEnvironment } from '#machine/env.ts'
import { addForward, listForwards, removeForward } from '#machine/forward.ts'
import { rearm, upgradeEngine } from '#machine/guest.ts'
import { restart } from '#machine/restart.ts'
import { removalQuestion, remove } from '#machine/rm.ts'
import { screenshot, view } from '#machine/screen.ts'
import { createSnapshot, listSnapshots, removeSnapshot, restoreSnapshot } from '#machine/snapshot.ts'
import { readState } from '#machine/state.ts'
import { machineStatus } from '#machine/status.ts'
import { stop } from '#machine/stop.ts'
import { suspend } from '#machine/suspend.ts'
import { up } from '#machine/up.ts'
import { FakeVm } from './fake-vm.ts'

let fake: FakeVm
beforeEach(() => {
  fake = new FakeVm()
})
afterEach(() => fake.remove())

const bringUp = (more: object = {}) => up({ ...fake.request(), driver: 'fake', ...more })
const state = () => readState(fake.paths.state)
const status = () => machineStatus('win', fake.env, async name => (await fake.world.driver(name)).vm)

test('up writes the settings, brings the engine up and takes it as it is', async () => {
  const result = await bringUp({ options: { cpus: 6 } })
  expect(fake.asked).toEqual(['configure', 'bringUp with 6', 'ensureAgent'])
  expect(result).toMatchObject({
    context: 'oriel-win',
    windows: { release: 'ltsc2025', build: 26100 },
    image: 'mcr.microsoft.com/windows/servercore:ltsc2025'
  })
  expect(readFileSync(fake.paths.spec, 'utf8')).toMatch(/driver: fake\ncpus: 6\n/)
  expect(await state()).toMatchObject({ driver: 'fake', wanted: 'running', windows: { build: 26100 } })
  expect((await state())?.transition).toBeUndefined()
  const done = fake.told.flatMap(event => (event.type === 'stage' && event.state === 'done' ? [event.stage] : []))
  expect(done).toEqual(['start', 'agent', 'context', 'ready'])
})

test('again, up keeps the settings and changes those that are named', async () => {
  await bringUp()
  await up(fake.request())
  await up({ ...fake.request(), options: { cpus: 3 } })
  expect(fake.asked.filter(what => what.startsWith('bringUp'))).toEqual([
    'bringUp with 2',
    'bringUp with 2',
    'bringUp with 3'
  ])
  await expect(up({ ...fake.request(), driver: 'wine' })).rejects.toMatchObject({ exitCode: 3 })
  await expect(up({ ...fake.request(), driver: 'bochs' })).rejects.toMatchObject({ exitCode: 2 })
})

test('settings that are refused leave no machine; a stage that fails leaves one to go on with', async () => {
  fake.failing.configure = new Fault('no', { exitCode: 2 })
  await expect(bringUp()).rejects.toThrow('no')
  expect(fake.folderExists).toBe(false)
  fake.failing['bringUp with 2'] = new Fault('the disc is wrong')
  await expect(bringUp()).rejects.toThrow('the disc is wrong')
  expect(await state()).toMatchObject({ wanted: 'stopped' })
  expect((await status()).status.state).toBe('stopped')
  await up(fake.request())
  expect((await state())?.wanted).toBe('running')
})

test('stop ends the agent before the guest, and a guest that goes on stays wanted', async () => {
  await bringUp()
  fake.asked.length = 0
  fake.failing['vm.stop'] = new Fault('it hangs')
  await expect(stop(fake.request())).rejects.toThrow('it hangs')
  expect(await state()).toMatchObject({ wanted: 'running' })
  expect((await status()).status.state).toBe('broken')
  await stop(fake.request())
  expect(fake.asked).toEqual(['stopAgent', 'vm.stop', 'stopAgent', 'vm.stop'])
  expect(await state()).toMatchObject({ wanted: 'stopped' })
  await stop(fake.request())
  expect(fake.told.at(-1)).toMatchObject({ stage: 'guest', detail: 'was not running' })
})

test('restart is one after the other', async () => {
  await bringUp()
  fake.asked.length = 0
  await restart(fake.request())
  expect(fake.asked).toEqual(['stopAgent', 'vm.stop', 'configure', 'bringUp with 2', 'ensureAgent'])
})

test('a suspended machine is stopped in a way of its own; stop leaves it so, and up resumes it', async () => {
  await bringUp()
  fake.asked.length = 0
  await suspend(fake.request())
  expect(fake.asked).toEqual(['stopAgent', 'vm.suspend'])
  expect(await state()).toMatchObject({ wanted: 'stopped' })
  expect(await status()).toMatchObject({ status: { state: 'stopped', vm: { state: 'suspended' } }, why: 'suspended' })
  await stop(fake.request())
  expect(fake.power).toBe('suspended')
  await up(fake.request())
  expect(fake.told).toContainEqual({ type: 'stage', stage: 'start', state: 'done', detail: 'resumed' })
})

test('a machine that cannot be suspended goes on, with its agent', async () => {
  await bringUp()
  fake.failing['vm.suspend'] = new Fault('not with this accelerator', { exitCode: 3 })
  await expect(suspend(fake.request())).rejects.toThrow('not with this accelerator')
  expect(fake.agentRuns).toBe(true)
  expect(await state()).toMatchObject({ wanted: 'running' })
  expect((await state())?.transition).toBeUndefined()
})

test('snapshots are kept, listed, restored and removed', async () => {
  await bringUp()
  await createSnapshot(fake.request(), 'clean')
  await expect(createSnapshot(fake.request(), 'clean')).rejects.toMatchObject({ exitCode: 3 })
  await expect(createSnapshot(fake.request(), '../x')).rejects.toMatchObject({ exitCode: 2 })
  expect(await listSnapshots(fake.request())).toMatchObject([{ name: 'clean', live: true }])
  expect(fake.agentRuns).toBe(true)
  await expect(restoreSnapshot(fake.request(), 'other')).rejects.toMatchObject({
    exitCode: 3,
    hint: 'It has: clean.'
  })
  expect(fake.agentRuns).toBe(true)
  fake.asked.length = 0
  await restoreSnapshot(fake.request(), 'clean')
  expect(fake.asked).toEqual(['stopAgent', 'snapshots.restore'])
  expect(await state()).toMatchObject({ wanted: 'stopped' })
  await removeSnapshot(fake.request(), 'clean')
  await expect(removeSnapshot(fake.request(), 'clean')).rejects.toMatchObject({ hint: 'It has none.' })
})

test('rm ends the agent, then the virtual machine, and asks with the size of its disk', async () => {
  await bringUp()
  expect(await removalQuestion('win', fake.env, fake.world)).toMatch(
    /^Remove machine "win" with its disk \(\d+(\.\d+)? kB\)\?$/
  )
  fake.asked.length = 0
  await remove(fake.request())
  expect(fake.asked).toEqual(['stopAgent', 'vm.remove'])
  expect(fake.folderExists).toBe(false)
})

test('a machine whose machine.yaml is damaged is removed with its virtual machine', async () => {
  await bringUp()
  writeFileSync(fake.paths.spec, 'cpus: [')
  await remove({ ...fake.request(), force: true })
  expect(fake.asked).toContain('vm.remove')
})

test('a virtual machine that ended by itself, or whose agent did, is broken', async () => {
  await bringUp()
  expect((await status()).why).toBe('its host agent has ended unexpectedly')
  fake.power = 'off'
  expect((await status()).why).toBe('its virtual machine has ended')
})

test('a virtual machine that runs though no up came to its end is broken', async () => {
  await bringUp()
  await stop(fake.request())
  fake.power = 'running'
  expect(await status()).toMatchObject({
    status: { state: 'broken' },
    why: expect.stringContaining('its virtual machine runs')
  })
})

const DAY = 86_400_000
const guestFacts = (daysLeft: number | null, at = new Date()) => ({
  product: 'Windows Server 2025 Datacenter',
  build: 26100,
  revision: 1,
  evaluation: daysLeft !== null,
  daysLeft,
  rearmsLeft: daysLeft === null ? null : 4,
  engine: '29.7.2',
  at: at.toISOString()
})

test('status counts the days of an evaluation, and names ports', async () => {
  await bringUp()
  await addForward(fake.request(), { hostPort: 8080, guestPort: 80 })
  fake.facts = guestFacts(100, new Date(Date.now() - 3.5 * DAY))
  expect((await status()).status).toMatchObject({
    evaluation: { daysLeft: 97, rearmsLeft: 4 },
    vm: { state: 'running', engine: 'tcp://127.0.0.1:1', forwards: [{ hostPort: 8080, guestPort: 80 }] }
  })
  fake.facts = guestFacts(1, new Date(Date.now() - 30 * DAY))
  expect((await status()).status.evaluation).toMatchObject({ daysLeft: 0 })
  fake.facts = guestFacts(null)
  expect((await status()).status.evaluation).toBeNull()
})

test('doctor gives the driver the settings and the place, and warns of an evaluation that ends', async () => {
  const none = await doctor({ ...fake.request(), driver: 'fake' })
  expect(none).toContainEqual({ name: 'fake', result: 'ok', detail: expect.stringMatching(/^no cpus in .*machines/) })
  await bringUp()
  const evaluation = async (daysLeft: number | null) => {
    fake.facts = guestFacts(daysLeft)
    return (await doctor(fake.request())).filter(({ name }) => name === 'evaluation')
  }
  expect(await evaluation(null)).toEqual([])
  expect(await evaluation(15)).toMatchObject([{ result: 'ok' }])
  expect(await evaluation(14)).toMatchObject([{ result: 'warning', advice: 'oriel rearm win' }])
  expect(await evaluation(0)).toMatchObject([{ result: 'missing', detail: expect.stringContaining('is over') }])
  const checks = await doctor(fake.request())
  expect(checks).toContainEqual({ name: 'fake', result: 'ok', detail: `2 cpus in ${fake.paths.folder}` })
})

test('screen, ports, guest and engine are handed on', async () => {
  await bringUp()
  const file = join(fake.env.ORIEL_HOME, 'screen.png')
  expect(await screenshot(fake.request(), file)).toBe(file)
  expect(readFileSync(file, 'utf8')).toBe('PNG')
  expect(await view(fake.request())).toMatchObject({ port: 5900 })
  expect(await addForward(fake.request(), { guestPort: 80 })).toEqual({ hostPort: 40_000, guestPort: 80 })
  await addForward(fake.request(), { hostPort: 9, guestPort: 81 })
  expect((await listForwards(fake.request())).map(({ hostPort }) => hostPort)).toEqual([9, 40_000])
  await removeForward(fake.request(), 40_000)
  await expect(removeForward(fake.request(), 40_000)).rejects.toMatchObject({ exitCode: 3 })
  await rearm(fake.request())
  await upgradeEngine(fake.request(), '29.7.2')
  await expect(upgradeEngine(fake.request(), 'latest')).rejects.toMatchObject({ exitCode: 2 })
  expect(fake.asked.slice(-2)).toEqual(['vm.rearm', 'vm.upgrade 29.7.2'])
  expect(await tlsEnvironment({ ...fake.request(), env: { ...fake.env, DOCKER_TLS: '1' } }, 'bash')).toEqual([
    "export DOCKER_HOST='tcp://127.0.0.1:1'",
    "export DOCKER_TLS_VERIFY='1'",
    `export DOCKER_CERT_PATH='${join(fake.paths.folder, 'tls')}'`,
    'unset DOCKER_TLS'
  ])
})

test('a screen can be looked at while up holds the machine', async () => {
  await bringUp()
  mkdirSync(`${fake.paths.lock}.lock`, { recursive: true })
  const file = join(fake.env.ORIEL_HOME, 'screen.png')
  expect(await screenshot(fake.request(), file)).toBe(file)
})

test('a machine on a Linux engine has none of this', async () => {
  mkdirSync(fake.paths.folder, { recursive: true })
  writeFileSync(fake.paths.spec, 'driver: wine\n')
  for (const verb of [suspend, rearm, listSnapshots, listForwards, view]) {
    await expect(verb(fake.request())).rejects.toMatchObject({
      exitCode: 3,
      message: 'machine "win" has no virtual machine: the wine driver runs its programs on a Linux engine.'
    })
  }
  await expect(suspend(fake.request({ name: 'ghost' }))).rejects.toThrow('there is no machine called "ghost"')
})
