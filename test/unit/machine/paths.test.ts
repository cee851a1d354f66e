import { mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { checkMachineName, contextName, fitsSocket, machinePaths, orielHome } from '#machine/paths.ts'
import { machineNames, makeFolders, openMachine } from '#machine/store.ts'

let root: string
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'oriel-paths-'))
})
afterEach(() => rmSync(root, { recursive: true, force: true }))

test.each(['default', 'a', '0', 'a.b_c-d', 'x'.repeat(63)])('%s is a machine name', name => {
  expect(checkMachineName(name)).toBe(name)
})

test.each(['', 'A', '.a', '-a', '../x', 'a/b', 'a b', 'ü', 'x'.repeat(64), 'a\n'])('%j is no machine name', name => {
  expect(() => checkMachineName(name)).toThrow(expect.objectContaining({ exitCode: 2 }))
})

test('the default machine has the short context name', () => {
  expect(contextName('default')).toBe('oriel')
  expect(contextName('work')).toBe('oriel-work')
})

test('ORIEL_HOME moves everything', () => {
  expect(orielHome({})).toMatch(/\.oriel$/)
  expect(orielHome({ ORIEL_HOME: '' })).toMatch(/\.oriel$/)
  expect(machinePaths('a', { ORIEL_HOME: '/o' })).toMatchObject({
    folder: '/o/machines/a',
    dockerSocket: '/o/machines/a/docker.sock',
    lock: '/o/locks/a'
  })
})

test('sockets of a deep home go to a short folder, another for each machine', () => {
  const env = { ORIEL_HOME: `/${'deep/'.repeat(30)}`, XDG_RUNTIME_DIR: '/run/user/7' }
  const a = machinePaths('a', env)
  expect(a.dockerSocket).toMatch(/^\/run\/user\/7\/oriel-\d+-[0-9a-f]+\/docker\.sock$/)
  expect(fitsSocket(a.dockerSocket)).toBe(true)
  expect(dirname(a.agentSocket)).toBe(dirname(a.dockerSocket))
  expect(machinePaths('b', env).dockerSocket).not.toBe(a.dockerSocket)
  expect(machinePaths('a', env)).toEqual(a)
  const noRuntime = { ...env, XDG_RUNTIME_DIR: `/${'x'.repeat(120)}` }
  expect(fitsSocket(machinePaths('a', noRuntime).dockerSocket)).toBe(true)
})

test('folders are private, and a folder that others may write to is refused', async () => {
  const paths = machinePaths('a', { ORIEL_HOME: root })
  await makeFolders(paths)
  expect(statSync(paths.folder).mode & 0o777).toBe(0o700)
  const open = machinePaths('b', { ORIEL_HOME: root })
  mkdirSync(open.folder)
  const { chmodSync } = await import('node:fs')
  chmodSync(open.folder, 0o777)
  await expect(makeFolders(open)).rejects.toThrow('others may write to it')
})

test('a machine is what has a spec or a state; its sockets are where they were put', async () => {
  const env = { ORIEL_HOME: root }
  expect(await openMachine('a', env)).toBeUndefined()
  const { folder, spec, state } = machinePaths('a', env)
  mkdirSync(folder, { recursive: true })
  expect(await openMachine('a', env)).toBeUndefined()
  writeFileSync(spec, '')
  expect(await openMachine('a', env)).toMatchObject({ state: undefined })
  writeFileSync(state, JSON.stringify({ wanted: 'stopped', socket: '/elsewhere/docker.sock' }))
  expect(await openMachine('a', env)).toMatchObject({ paths: { agentSocket: '/elsewhere/agent.sock' } })
  writeFileSync(state, '{"half')
  expect(await openMachine('a', env)).toMatchObject({ state: undefined })
  expect(await machineNames(env)).toEqual(['a'])
  expect(await machineNames({ ORIEL_HOME: join(root, 'absent') })).toEqual([])
})
