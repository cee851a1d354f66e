import { existsSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { type AgentReply, agentStatus, askAgent } from '#agent/control.ts'
import { serveControl } from '#agent/control-server.ts'
import { removeStaleSocket } from '#agent/stale-socket.ts'

let folder: string
let path: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'oriel-control-'))
  path = join(folder, 'agent.sock')
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

const status: AgentReply = {
  status: {
    build: '1',
    pid: 42,
    machine: 'a',
    driver: 'wine',
    place: { home: '/h', folder: '/h/a', socketFolder: '/h/a' },
    engine: { url: 'unix:///e' },
    dockerSocket: '/s',
    startedAt: '',
    health: { ok: false, why: 'x' }
  }
}

function raw(text: string): Promise<string> {
  return new Promise(resolve => {
    let said = ''
    const socket = connect(path, () => socket.write(text))
    socket.on('data', chunk => {
      said += chunk
    })
    socket.on('close', () => resolve(said))
  })
}

test('an agent answers in one line, and what is no request is refused', async () => {
  const control = await serveControl(path, async () => status)
  expect(await agentStatus(path)).toMatchObject({ pid: 42 })
  expect(await raw('{"verb":"format"}\n')).toBe('{"error":"unknown verb"}\n')
  expect(await raw('rubbish\n')).toBe('{"error":"not JSON"}\n')
  expect(await raw(`${'x'.repeat(5000)}`)).toBe('')
  await control.close()
  expect(existsSync(path)).toBe(false)
})

test('nobody, a hung agent and a babbler all count as no agent', async () => {
  expect(await agentStatus(path)).toBeUndefined()
  const hung = createServer(() => undefined).listen(path)
  expect(await askAgent(path, { verb: 'status' }, 100)).toBeUndefined()
  hung.close()
  const babbler = createServer(socket => socket.on('error', () => undefined).end('what?\n')).listen(path)
  expect(await agentStatus(path, 1000)).toBeUndefined()
  babbler.close()
})

test('one agent a machine; the socket of a dead one is taken over', async () => {
  const first = await serveControl(path, async () => status)
  await expect(serveControl(path, async () => status)).rejects.toThrow('process id 42 serves this machine already')
  await first.close()
  writeFileSync(path, '')
  const second = await serveControl(path, async () => status)
  expect(await agentStatus(path)).toMatchObject({ pid: 42 })
  await second.close()
})

test('an agent whose socket was taken knows, and does not remove the other one', async () => {
  const first = await serveControl(path, async () => status)
  expect(first.owned()).toBe(true)
  const other = createServer(() => undefined)
  await new Promise<void>(resolve => other.listen(join(folder, 'other'), resolve))
  renameSync(join(folder, 'other'), path)
  expect(first.owned()).toBe(false)
  await first.close()
  expect(existsSync(path)).toBe(true)
  other.close()
})

test('only sockets are removed as stale', async () => {
  writeFileSync(path, 'a file')
  await removeStaleSocket(path)
  expect(existsSync(path)).toBe(true)
  await removeStaleSocket(join(folder, 'absent'))
})
