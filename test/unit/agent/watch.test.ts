import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import type { AgentConfig, AgentStatus } from '#agent/control.ts'
import { keysHash } from '#agent/keys.ts'
import { isSame } from '#agent/start.ts'
import { keepWatching } from '#agent/watch.ts'

test('a watch that fails is begun again, and the same failure is told once', async () => {
  const ending = new AbortController()
  const told: unknown[] = []
  const log = { warn: (_: string, fields?: object) => told.push(fields) }
  let begun = 0
  const watch = async () => {
    begun += 1
    if (begun === 6) ending.abort()
    if (begun === 4) return
    throw new Error(begun < 3 ? 'no answer' : 'refused')
  }
  await keepWatching(watch, log, ending.signal, 1)
  expect(begun).toBe(6)
  expect(told.map(fields => String((fields as { error: Error }).error.message))).toEqual([
    'no answer',
    'refused',
    'refused'
  ])
})

test('what the signal ends is no failure', async () => {
  const ending = new AbortController()
  const told: string[] = []
  const watch = (signal: AbortSignal) =>
    new Promise<void>((_, reject) => signal.addEventListener('abort', () => reject(new Error('aborted'))))
  const done = keepWatching(watch, { warn: message => told.push(message) }, ending.signal)
  ending.abort()
  await done
  expect(told).toEqual([])
})

test('other keys in the same folder have another hash', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'oriel-keys-'))
  try {
    expect(await keysHash(undefined)).toBeUndefined()
    writeFileSync(join(folder, 'cert.pem'), 'one')
    const first = await keysHash(folder)
    expect(await keysHash(folder)).toBe(first)
    writeFileSync(join(folder, 'cert.pem'), 'two')
    expect(await keysHash(folder)).not.toBe(first)
  } finally {
    rmSync(folder, { recursive: true })
  }
})

test('an agent is the same only with the same program, driver, place, engine, keys and socket', () => {
  const config: AgentConfig = {
    machine: 'a',
    build: '1',
    driver: 'qemu',
    place: { home: '/h', folder: '/h/a', socketFolder: '/h/a' },
    engine: { url: 'tcp://127.0.0.1:1', tlsFolder: '/h/a/tls' },
    keys: 'k',
    dockerSocket: '/s',
    agentSocket: '/c',
    logFile: '/l'
  }
  const { agentSocket: _, logFile: __, ...told } = config
  const status: AgentStatus = { ...told, pid: 1, startedAt: '', health: { ok: false, why: '' } }
  expect(isSame(status, config)).toBe(true)
  const { keys: ___, ...keyless } = config
  for (const other of [
    { ...config, build: '2' },
    { ...config, driver: 'wine' },
    { ...config, place: { ...config.place, socketFolder: '/run' } },
    { ...config, engine: { url: 'tcp://127.0.0.1:2' } },
    { ...config, keys: 'l' },
    { ...config, dockerSocket: '/t' },
    keyless
  ]) {
    expect(isSame(status, other)).toBe(false)
  }
})
