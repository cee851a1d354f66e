import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, readFileSync, statSync, symlinkSync } from 'node:fs'
import { connect, createServer, type Socket } from 'node:net'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, inject, test } from 'vitest'
import { agentPids, residentBytes } from '../support/agent.ts'
import { cleanEnv, PROJECT, type Result, run } from '../support/command.ts'
import { type Home, temporaryHome } from '../support/home.ts'
import { docker, oriel as orielIn } from '../support/oriel.ts'
import { waitFor } from '../support/wait.ts'

const ORIEL = join(PROJECT, 'bin', 'oriel.js')
let home: Home
beforeEach(() => {
  home = temporaryHome()
})
afterEach(async () => {
  for (const { name } of JSON.parse((await oriel('ls', '--json')).stdout)) await oriel('rm', '--force', name)
  home.remove()
})

const oriel = (...args: string[]): Promise<Result> => orielIn(args, home)
const up = (name: string, ...args: string[]) => oriel('up', name, '--engine', inject('engine'), ...args)

async function status(name: string): Promise<{ state: string; socket: string; engine: { os: string } }> {
  return JSON.parse((await oriel('status', name, '--json')).stdout)
}

async function upOk(name: string, ...args: string[]): Promise<Result> {
  const result = await up(name, ...args)
  expect(result.code, result.stderr).toBe(0)
  return result
}

/** Asks the machine through its context, as a docker client does. */
async function answers(name: string): Promise<string> {
  const { stdout } = await docker(['--context', `oriel-${name}`, 'version', '-f', '{{.Server.Os}}'], home)
  return stdout.trim()
}

function agentPid(): number {
  const pids = agentPids(home)
  expect(pids).toHaveLength(1)
  return pids[0] ?? 0
}

/** The same bytes as a person would leave behind with a power cut. */
function kill(pid: number): void {
  process.kill(pid, 'SIGKILL')
}

test('up makes a machine that docker reaches by its context; again, it changes nothing and is quick', async () => {
  const first = await upOk('m')
  expect(first.stdout).toContain('docker --context oriel-m run --rm -it windowsservercore cmd')
  expect(first.stderr).toMatch(/engine: .*\nbase image: present\nagent: started\ncontext: oriel-m, made\nready: /)
  expect(await answers('m')).toBe('windows')
  const pid = agentPid()
  expect((await docker(['context', 'show'], home)).stdout.trim()).toBe('default')
  const began = Date.now()
  const second = await upOk('m')
  expect(Date.now() - began).toBeLessThan(5000)
  expect(second.stderr).toContain('agent: running')
  expect(agentPid()).toBe(pid)
  expect(residentBytes(pid)).toBeLessThan(60e6)
})

test('folders and sockets are their owner’s alone', async () => {
  await upOk('m')
  const folder = join(home.env.ORIEL_HOME, 'machines', 'm')
  expect(statSync(folder).mode & 0o777).toBe(0o700)
  for (const name of ['docker.sock', 'agent.sock', 'agent.log', 'machine.yaml', 'state.json', 'agent.json']) {
    expect(statSync(join(folder, name)).mode & 0o777, name).toBe(0o600)
  }
})

test('up --use makes it the current context, and rm gives it back', async () => {
  await upOk('m', '--use')
  expect((await docker(['context', 'show'], home)).stdout.trim()).toBe('oriel-m')
  expect((await docker(['version', '-f', '{{.Server.Os}}'], home)).stdout.trim()).toBe('windows')
  expect((await oriel('rm', '--force', 'm')).code).toBe(0)
  expect((await docker(['context', 'show'], home)).stdout.trim()).toBe('default')
})

test('env leads a client without contexts to the machine', async () => {
  await upOk('m')
  const { stdout } = await oriel('env', 'm', '--shell', 'bash')
  const client = await run('bash', ['-c', `${stdout}\ndocker version -f '{{.Server.Os}}'`], { env: home.env })
  expect(client.stdout.trim()).toBe('windows')
})

test('stop ends the agent and keeps the context; up and restart bring it back', async () => {
  await upOk('m')
  expect((await oriel('stop', 'm')).code).toBe(0)
  expect(agentPids(home)).toEqual([])
  expect((await status('m')).state).toBe('stopped')
  expect(existsSync((await status('m')).socket)).toBe(false)
  expect((await docker(['context', 'ls', '-q'], home)).stdout).toContain('oriel-m')
  expect((await oriel('stop', 'm')).code).toBe(0)
  expect((await oriel('up', 'm')).code).toBe(0)
  const pid = agentPid()
  expect((await oriel('restart', 'm')).code).toBe(0)
  expect(agentPid()).not.toBe(pid)
  expect(await answers('m')).toBe('windows')
})

test('rm leaves nothing', async () => {
  await upOk('m')
  expect((await oriel('rm', '--force', 'm')).code).toBe(0)
  expect(agentPids(home)).toEqual([])
  expect((await status('m')).state).toBe('absent')
  expect((await docker(['context', 'ls', '-q'], home)).stdout).not.toContain('oriel-m')
  expect(existsSync(join(home.env.ORIEL_HOME, 'machines', 'm'))).toBe(false)
  expect((await oriel('rm', 'm')).code).toBe(3)
  expect((await oriel('rm', '--force', 'm')).code).toBe(0)
})

test('after kill -9 of the agent, status says so and up repairs', async () => {
  await upOk('m')
  const pid = agentPid()
  kill(pid)
  await waitFor(() => agentPids(home).length === 0, 5000, 'the agent is gone')
  expect((await status('m')).state).toBe('broken')
  const doctor = await oriel('doctor', 'm')
  expect(doctor.stdout).toMatch(/missing +machine +m is broken/)
  expect(doctor.code).toBe(4)
  await upOk('m')
  expect(await answers('m')).toBe('windows')
  expect((await status('m')).state).toBe('running')
})

test('an agent that hangs is replaced, and ends by itself when it comes to', async () => {
  await upOk('m')
  const hung = agentPid()
  process.kill(hung, 'SIGSTOP')
  try {
    await upOk('m')
    expect(await answers('m')).toBe('windows')
  } finally {
    process.kill(hung, 'SIGCONT')
  }
  await waitFor(() => !agentPids(home).includes(hung), 15_000, 'the former agent ends')
  expect(await answers('m')).toBe('windows')
})

test.each([0, 150, 300, 450, 600])('after kill -9 of up at %i ms, the next up repairs', async delayMs => {
  const child = spawn(process.execPath, [ORIEL, 'up', 'm', '--engine', inject('engine')], {
    env: cleanEnv(home.env),
    stdio: 'ignore'
  })
  const exit = once(child, 'exit')
  await new Promise(resolve => setTimeout(resolve, delayMs))
  child.kill('SIGKILL')
  await exit
  expect(['absent', 'stopped', 'starting', 'running', 'broken']).toContain((await status('m')).state)
  await upOk('m')
  expect(agentPids(home)).toHaveLength(1)
  expect(await answers('m')).toBe('windows')
})

test('two ups at once: both end well, with one agent', async () => {
  const both = await Promise.all([upOk('m'), upOk('m')])
  expect(both.map(({ stderr }) => stderr).join('')).toContain('Waiting for "oriel up m"')
  expect(agentPids(home)).toHaveLength(1)
})

test('Ctrl-C while up waits ends it with 130', async () => {
  await upOk('m')
  const holder = spawn(process.execPath, ['-e', HOLD_LOCK, join(home.env.ORIEL_HOME, 'locks', 'm')], { cwd: PROJECT })
  await once(holder.stdout, 'data')
  try {
    const child = spawn(process.execPath, [ORIEL, 'up', 'm'], { env: cleanEnv(home.env) })
    await once(child.stderr, 'data')
    const exit = once(child, 'exit')
    child.kill('SIGINT')
    expect((await exit)[0]).toBe(130)
  } finally {
    holder.kill('SIGKILL')
  }
})

const HOLD_LOCK = `require('proper-lockfile').lock(process.argv[1], { stale: 5000, update: 1000, realpath: false })
  .then(() => { console.log('held'); setInterval(() => {}, 1000) })`

test('two machines live side by side, and one name is not the other’s business', async () => {
  await upOk('one')
  await upOk('two')
  const listed: { name: string; state: string }[] = JSON.parse((await oriel('ls', '--json')).stdout)
  expect(listed.map(({ name, state }) => `${name} ${state}`)).toEqual(['one running', 'two running'])
  await oriel('rm', '--force', 'one')
  expect(await answers('two')).toBe('windows')
})

test('a home too deep for sockets works by a short private folder, which rm removes', async () => {
  const deep = join(home.root, 'x'.repeat(60), 'y'.repeat(60))
  mkdirSync(deep, { recursive: true })
  home.env.ORIEL_HOME = deep
  await upOk('m')
  const { socket } = await status('m')
  expect(socket.startsWith(deep)).toBe(false)
  expect(statSync(join(socket, '..')).mode & 0o777).toBe(0o700)
  expect(await answers('m')).toBe('windows')
  await oriel('rm', '--force', 'm')
  expect(existsSync(join(socket, '..'))).toBe(false)
})

test('another engine of the same machine replaces the agent', async () => {
  await upOk('m')
  const pid = agentPid()
  const other = join(home.root, 'other.sock')
  symlinkSync(inject('engine').replace('unix://', ''), other)
  const again = await oriel('up', 'm', '--engine', `unix://${other}`)
  expect(again.stderr).toContain('agent: replaced')
  expect(agentPid()).not.toBe(pid)
  expect(readFileSync(join(home.env.ORIEL_HOME, 'machines', 'm', 'machine.yaml'), 'utf8')).toContain(other)
})

test('the agent ends by itself when its home is removed', async () => {
  await upOk('m')
  home.remove()
  await waitFor(() => agentPids(home).length === 0, 15_000, 'the agent ends')
})

/** A socket that leads to the engine, and whose end looks like that of the engine. */
async function relay(path: string): Promise<{ stop: () => Promise<unknown> }> {
  const open = new Set<Socket>()
  const server = createServer(client => {
    const onward = connect(inject('engine').replace('unix://', ''))
    for (const socket of [client, onward]) open.add(socket.on('error', () => socket.destroy()))
    client.pipe(onward).pipe(client)
  })
  await once(server.listen(path), 'listening')
  const stop = () => {
    for (const socket of open) socket.destroy()
    return once(server.close(), 'close')
  }
  return { stop }
}

test('a machine whose engine has gone is broken, and answers an error rather than hanging', async () => {
  const path = join(home.root, 'engine.sock')
  const engine = await relay(path)
  expect((await oriel('up', 'm', '--engine', `unix://${path}`)).code).toBe(0)
  const { socket } = await status('m')
  await engine.stop()
  await waitFor(async () => (await status('m')).state === 'broken', 15_000, 'the machine is broken')
  const said = await new Promise<string>((resolve, reject) => {
    let text = ''
    const client = connect(socket, () => client.write('GET /_ping HTTP/1.1\r\nHost: docker\r\n\r\n'))
    client.setTimeout(10_000, () => reject(new Error('no answer')))
    client.on('data', chunk => {
      text += chunk
      client.end()
    })
    client.on('close', () => resolve(text))
    client.on('error', reject)
  })
  expect(said).toMatch(/^HTTP\/1\.1 5\d\d /)
  const again = await relay(path)
  await waitFor(async () => (await status('m')).state === 'running', 15_000, 'the machine is back')
  expect(await answers('m')).toBe('windows')
  await oriel('rm', '--force', 'm')
  await again.stop()
})

test('doctor finds nothing missing on a machine that runs', async () => {
  await upOk('m')
  const { code, stdout } = await oriel('doctor', 'm')
  expect(stdout).not.toContain('missing')
  expect(code).toBe(0)
})
