import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { useMachine } from '../support/oriel.ts'

const windows = useMachine('refusals')

const OTHER_DRIVER = /--driver (qemu|fusion)|driver/

test.each([
  ['--isolation hyperv', ['run', '--rm', '--isolation', 'hyperv', 'nanoserver', 'cmd', '/c', 'ver'], /hyper-?v/i],
  ['--gpus', ['run', '--rm', '--gpus', 'all', 'nanoserver', 'cmd', '/c', 'ver'], /gpu/i],
  ['powershell', ['run', '--rm', 'windowsservercore', 'powershell', '-Command', 'ls'], /powershell/i],
  [
    'powershell with a path',
    ['run', '--rm', 'windowsservercore', 'C:\\Windows\\System32\\WindowsPowerShell\\v1.0\\powershell.exe'],
    /powershell/i
  ],
  ['an IIS image', ['run', '--rm', 'mcr.microsoft.com/windows/servercore/iis'], /IIS/i],
  ['pull of an IIS image', ['pull', 'mcr.microsoft.com/windows/servercore/iis:windowsservercore-ltsc2022'], /IIS/i]
])('%s is refused with what to use instead', async (_what, args, words) => {
  const { code, stdout, stderr } = await windows.docker(args)
  expect(code).not.toBe(0)
  expect(stderr).toMatch(words)
  expect(stderr).toMatch(OTHER_DRIVER)
  expect(`${stdout}${stderr}`).not.toMatch(/\/oriel\/|drive_c/)
})

test.each([
  ['--tmpfs', ['--tmpfs', 'C:\\tmp'], /tmpfs/i],
  ['--network host', ['--network', 'host'], /host/i]
])('%s is refused as a Windows daemon does', async (_what, options, words) => {
  const { code, stderr } = await windows.docker(['run', '--rm', ...options, 'nanoserver', 'cmd', '/c', 'ver'])
  expect(code).toBe(125)
  expect(stderr).toMatch(words)
})

test('powershell in an exec is refused too', async () => {
  await windows.out(['run', '-d', '-i', '--name', 'shell', 'windowsservercore', 'cmd'])
  const { code, stdout, stderr } = await windows.docker(['exec', 'shell', 'powershell', '-Command', 'ls'])
  expect(code).not.toBe(0)
  expect(`${stdout}${stderr}`).toMatch(/powershell/i)
})

test.each([
  ['swarm init', ['swarm', 'init']],
  ['service ls', ['service', 'ls']],
  ['node ls', ['node', 'ls']],
  ['plugin install', ['plugin', 'install', '--grant-all-permissions', 'example/plugin']],
  ['checkpoint create', ['checkpoint', 'create', 'box', 'one']]
])('%s answers as a Windows daemon would', async (_what, args) => {
  const { code, stderr } = await windows.docker(args)
  expect(code).not.toBe(0)
  expect(stderr).toMatch(
    /cannot|not supported|not part of a swarm|not a swarm manager|only supported|not implemented|unsupported/i
  )
})

test.each([
  ['run', ['run', '--rm', 'nanoserver', 'no-such-program'], 127, /The system cannot find the file specified/],
  [
    'run with a path',
    ['run', '--rm', 'nanoserver', 'C:\\no\\such.exe', 'x'],
    127,
    /The system cannot find the (file|path) specified/
  ],
  [
    'run of a text file',
    ['run', '--rm', 'nanoserver', 'C:\\Windows\\System32\\drivers\\etc\\hosts'],
    125,
    /0x(c1|5)|not a valid|denied/i
  ]
])('%s of what is no program', async (_what, args, exitCode, words) => {
  const { code, stderr } = await windows.docker(args)
  expect(stderr).toMatch(words)
  expect(code).toBe(exitCode)
  expect(stderr).not.toMatch(/\/oriel\/|drive_c|wine/i)
})

test('a missing program leaves a container that says so', async () => {
  await windows.docker(['run', '--name', 'missing', 'nanoserver', 'no-such-program'])
  const { State } = await windows.inspectContainer('missing')
  expect(State.Status).toBe('created')
  expect(State.Error).toMatch(/cannot find the file specified/)
  await windows.out(['rm', 'missing'])
})

test.each([
  ['an image that does not exist', ['run', '--rm', 'mcr.microsoft.com/windows/nanoserver:ltsc1999', 'cmd'], /ltsc1999/],
  ['a container that does not exist', ['start', 'nobody'], /No such container/],
  ['a Linux path as a target', ['run', '--rm', '-v', '/tmp:/data', 'nanoserver', 'cmd'], /\/data|invalid/i],
  ['an unknown network', ['run', '--rm', '--network', 'nowhere', 'nanoserver', 'cmd'], /nowhere/],
  ['a Linux platform', ['run', '--rm', '--platform', 'linux/amd64', 'nanoserver', 'cmd'], /linux/i]
])('%s', async (_what, args, words) => {
  const { code, stderr } = await windows.docker(args)
  expect(code).not.toBe(0)
  expect(stderr).toMatch(words)
})

test('BuildKit fails fast and clearly', async () => {
  const folder = join(windows.home.root, 'buildkit')
  mkdirSync(folder)
  writeFileSync(join(folder, 'Dockerfile'), 'FROM nanoserver\n')
  const before = Date.now()
  const { code, stdout, stderr } = await windows.docker(['build', folder], {
    env: { DOCKER_BUILDKIT: '1' },
    timeoutMs: 20_000
  })
  expect(code).not.toBe(0)
  expect(Date.now() - before).toBeLessThan(15_000)
  expect(`${stdout}${stderr}`).toMatch(/buildkit|buildx|not supported|DOCKER_BUILDKIT/i)
})
