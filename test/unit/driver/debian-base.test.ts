import { Readable } from 'node:stream'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { type Bootstrap, ensureDebianBase, mmdebstrapArguments } from '#driver/wine/debian-base.ts'
import { Fault } from '#lib/fault.ts'
import { FakeEngine } from './fake-engine.ts'

const facts = { arch: 'amd64', dataRoot: '/data' }
let fake: FakeEngine
beforeEach(async () => {
  fake = await new FakeEngine().start()
})
afterEach(() => fake.stop())

const work = () => ({ signal: new AbortController().signal, report: () => undefined })
const limits = { firstLayerMs: 300, stallMs: 300 }
const made = (text: string, failure?: Error): Bootstrap => ({
  obstacle: async () => undefined,
  start: async () => ({
    stdout: Readable.from([Buffer.from(text)]),
    done: failure === undefined ? Promise.resolve() : Promise.reject(failure)
  })
})
const none: Bootstrap = { ...made(''), obstacle: async () => 'mmdebstrap is not installed or not on PATH' }

test('an image that is there is left alone', async () => {
  fake.has('debian:trixie-slim')
  expect(await ensureDebianBase(fake.engine, facts, work(), none, limits)).toBe('present')
  expect(fake.named('POST', '/images/create')).toEqual([])
})

test('an image for another processor does not count', async () => {
  fake.has('debian:trixie-slim', {}, 'arm64')
  expect(await ensureDebianBase(fake.engine, { ...facts, arch: 'arm64' }, work(), none, limits)).toBe('pulled')
  expect(fake.named('POST', '/images/create')[0]?.query.get('platform')).toBe('linux/amd64')
})

test('it is made from packages when it cannot be pulled', async () => {
  fake.pull = [{ error: 'dial tcp: lookup registry-1.docker.io: no such host' }]
  expect(await ensureDebianBase(fake.engine, facts, work(), made('a tar'), limits)).toBe('made with mmdebstrap')
  const call = fake.named('POST', '/images/create').at(-1)
  expect(call?.body.toString()).toBe('a tar')
  expect(Object.fromEntries(call?.query ?? [])).toMatchObject({ fromSrc: '-', repo: 'debian', changes: 'CMD ["bash"]' })
})

test('a registry that never answers is given up on', async () => {
  fake.pull = undefined
  expect(await ensureDebianBase(fake.engine, facts, work(), made('a tar'), limits)).toBe('made with mmdebstrap')
})

test('without either way, both reasons are told', async () => {
  fake.pull = [{ error: 'no such host' }]
  await expect(ensureDebianBase(fake.engine, facts, work(), none, limits)).rejects.toMatchObject({
    exitCode: 4,
    message: expect.stringMatching(/no such host.*mmdebstrap is not installed/)
  })
})

test('a failed mmdebstrap is the reason told, and half an archive is never imported', async () => {
  fake.pull = [{ error: 'no such host' }]
  const failing = made('half', new Fault('mmdebstrap failed with exit code 25: no space on mirror'))
  await expect(ensureDebianBase(fake.engine, facts, work(), failing, limits)).rejects.toThrow('exit code 25')
  expect(fake.images.has('debian:trixie-slim')).toBe(false)
})

test('an engine that breaks off ends mmdebstrap, and is the reason told', async () => {
  fake.pull = [{ error: 'no such host' }]
  const endless: Bootstrap = {
    obstacle: async () => undefined,
    start: async signal => {
      setTimeout(() => void fake.stop(), 50)
      const stdout = new Readable({ read: () => setImmediate(() => stdout.push(Buffer.alloc(65_536))) })
      const done = new Promise<void>((_, reject) => {
        signal.addEventListener('abort', () => {
          stdout.destroy()
          reject(new Fault('mmdebstrap was ended'))
        })
      })
      return { stdout, done }
    }
  }
  await expect(ensureDebianBase(fake.engine, facts, work(), endless, limits)).rejects.toThrow(/images\/create/)
})

test('a full disk is told as such, before anything else is tried', async () => {
  fake.pull = [{ error: 'failed to register layer: no space left on device' }]
  await expect(ensureDebianBase(fake.engine, facts, work(), made('a tar'), limits)).rejects.toMatchObject({
    exitCode: 4,
    message: expect.stringContaining('no space left in /data')
  })
})

test('mmdebstrap writes to its output, from the mirror given', () => {
  const argv = mmdebstrapArguments('http://mirror.example/debian')
  expect(argv.slice(-3)).toEqual(['trixie', '-', 'http://mirror.example/debian'])
  expect(mmdebstrapArguments(undefined).slice(-2)).toEqual(['trixie', '-'])
  expect(argv).toContain('--variant=minbase')
})
