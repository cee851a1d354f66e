import { beforeAll, expect, test } from 'vitest'
import { useMachine } from '../support/oriel.ts'
import { waitFor } from '../support/wait.ts'

const windows = useMachine('exec')

beforeAll(async () => {
  await windows.out(['run', '-d', '-i', '--name', 'host', 'windowsservercore', 'cmd'])
})

test('output and exit code', async () => {
  const said = await windows.docker(['exec', 'host', 'cmd', '/c', 'echo out& echo err>&2& exit 9'])
  expect(said.code).toBe(9)
  expect(said.stdout.trim()).toBe('out')
  expect(said.stderr.trim()).toBe('err')
})

test('-i passes standard input on, and its end', async () => {
  const said = await windows.docker(['exec', '-i', 'host', 'cmd', '/q'], { input: 'echo typed %OS%\r\nexit 4\r\n' })
  expect(said.stdout).toContain('typed Windows_NT')
  expect(said.code).toBe(4)
  const sorted = await windows.docker(['exec', '-i', 'host', 'findstr', 'b'], { input: 'abc\r\ndef\r\nbee\r\n' })
  expect(sorted.stdout.replaceAll('\r', '')).toBe('abc\nbee\n')
})

test('-it gives a prompt', async () => {
  const terminal = windows.terminal(['exec', '-it', 'host', 'cmd'])
  await terminal.seeLast(/^C:\\>$/)
  terminal.type('exit 6\r')
  expect(await terminal.exitCode()).toBe(6)
  terminal.close()
})

test('-d returns at once, and the program runs on', async () => {
  await windows.out(['exec', '-d', 'host', 'cmd', '/c', 'echo done> C:\\detached.txt'])
  const written = async () => (await windows.docker(['exec', 'host', 'cmd', '/c', 'type C:\\detached.txt'])).stdout
  await waitFor(async () => (await written()).includes('done'), 15_000, 'the detached program has written its file')
})

test('-e, -w and -u', async () => {
  const script = 'cd& echo %COLOUR%& echo %USERNAME%'
  const options = ['-e', 'COLOUR=deep red', '-w', 'C:\\Windows', '-u', 'ContainerUser']
  const said = await windows.out(['exec', ...options, 'host', 'cmd', '/c', script])
  expect(said.split('\n').map(line => line.trim().toLowerCase())).toEqual(['c:\\windows', 'deep red', 'containeruser'])
})

test('arguments arrive as they were given', async () => {
  const said = await windows.out(['exec', 'host', 'cmd', '/c', 'echo', 'two words', '%OS%'])
  expect(said).toBe('"two words" Windows_NT')
})

test('a missing program is told in the words of Windows', async () => {
  const { code, stderr, stdout } = await windows.docker(['exec', 'host', 'no-such-program'])
  expect(code).not.toBe(0)
  expect(`${stdout}${stderr}`).toMatch(/The system cannot find the file specified/)
})

test('a container that does not run takes no exec', async () => {
  await windows.out(['create', '--name', 'idle', 'nanoserver', 'cmd'])
  const { code, stderr } = await windows.docker(['exec', 'idle', 'cmd', '/c', 'ver'])
  expect(code).not.toBe(0)
  expect(stderr).toMatch(/is not running/)
})
