import { existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, inject, test } from 'vitest'
import { run, runOk } from '../support/command.ts'
import { claimSlot, startEngine } from '../support/engine.ts'
import { type Home, temporaryHome } from '../support/home.ts'
import { docker, oriel, TestMachine } from '../support/oriel.ts'

let home: Home

beforeEach(() => {
  home = temporaryHome()
})

afterEach(async () => {
  await oriel(['rm', '--force', 'broken'], home)
  home.remove()
})

/** Brings a machine up, which fails, and gives what was said. A failure is told in a few lines, never as a stack. */
async function upFails(engine: string, timeoutMs = 60_000): Promise<{ code: number; said: string }> {
  const { code, stdout, stderr } = await oriel(['up', 'broken', '--engine', engine], home, { timeoutMs })
  expect(code).not.toBe(0)
  expect(stderr).not.toMatch(/^\s+at .*\(/m)
  return { code, said: `${stdout}${stderr}` }
}

test.each([
  ['nonsense', 'nonsense'],
  ['gopher://somewhere', 'gopher'],
  ['unix:///no/such/docker.sock', '/no/such/docker.sock'],
  ['tcp://127.0.0.1:1', '127.0.0.1:1']
])('the engine URL %s is refused by name', async (url, words) => {
  const { said } = await upFails(url)
  expect(said).toContain(words)
  expect((await docker(['context', 'ls', '-q'], home)).stdout).not.toContain('oriel-broken')
})

test('without any engine, up says what to start', async () => {
  // Even the usual sockets of this machine must not be found, so the engine named by the environment is a dead one.
  const { code, stderr } = await oriel(['up', 'broken'], home, { env: { DOCKER_HOST: 'unix:///no/such/docker.sock' } })
  expect(code).toBe(4)
  expect(stderr).toMatch(/engine/i)
})

test('an engine that is itself a gateway of ours is refused', async () => {
  const machine = new TestMachine('failures')
  try {
    await machine.up()
    const { said } = await upFails(machine.url)
    expect(said).toMatch(/Oriel|Windows/)
  } finally {
    await machine.remove()
  }
}, 300_000)

test('an engine that accepts and never answers does not hang up for ever', async () => {
  const socket = join(home.root, 'silent.sock')
  const server = createServer(() => {}).listen(socket)
  try {
    const { said } = await upFails(`unix://${socket}`)
    expect(said).toContain('silent.sock')
  } finally {
    server.close()
  }
}, 120_000)

test('a context of that name that is not ours is never overwritten', async () => {
  await docker(['context', 'create', 'oriel-broken', '--docker', 'host=unix:///mine.sock'], home)
  const { said } = await upFails(inject('engine'))
  expect(said).toContain('oriel-broken')
  const host = await docker(['context', 'inspect', '-f', '{{.Endpoints.docker.Host}}', 'oriel-broken'], home)
  expect(host.stdout.trim()).toBe('unix:///mine.sock')
}, 120_000)

test('a full disk in the build is told as such', async ctx => {
  if (process.getuid?.() !== 0 || !existsSync('/usr/sbin/dockerd')) ctx.skip('needs root and dockerd')
  const slot = claimSlot()
  const data = mkdtempSync('/tmp/oriel-full-')
  mkdirSync(data, { recursive: true })
  await runOk('mount', ['-t', 'tmpfs', '-o', 'size=400m', 'tmpfs', data])
  try {
    const engine = await startEngine(slot, data)
    try {
      const { said } = await upFails(engine.url, 500_000)
      expect(said).toMatch(/no space left|disk is full/i)
    } finally {
      await engine.stop()
    }
  } finally {
    await run('umount', ['-l', data])
    rmSync(data, { recursive: true, force: true })
    slot.release()
  }
}, 600_000)
