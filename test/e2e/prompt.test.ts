import { expect, test } from 'vitest'
import { buildNodeImage, NODE_IMAGE } from '../support/node-image.ts'
import { useMachine } from '../support/oriel.ts'
import { waitFor } from '../support/wait.ts'

const windows = useMachine('prompt')

test('docker version shows a Windows server', async () => {
  const terminal = windows.terminal(['version'])
  expect(await terminal.exitCode()).toBe(0)
  const server = terminal.text().slice(terminal.text().indexOf('Server'))
  expect(server).toMatch(/OS\/Arch:\s+windows\/amd64/)
  terminal.close()
})

test('docker run -it gives a prompt of Windows, and its exit code', async () => {
  const terminal = windows.terminal(['run', '--name', 'test', '-it', 'windowsservercore', 'cmd'])
  await terminal.seeLast(/^C:\\>$/)
  expect(terminal.text()).toMatch(/Microsoft Windows.*10\.0\.20348/)

  terminal.type('dir\r')
  await terminal.see(/Directory of C:\\/)
  await terminal.see(/<DIR>\s+Windows/i)
  await terminal.see(/<DIR>\s+Users/i)
  await terminal.seeLast(/^C:\\>$/)

  terminal.type('echo %OS%\r')
  await terminal.see(/^Windows_NT$/)
  await terminal.seeLast(/^C:\\>$/)

  terminal.type('exit 7\r')
  expect(await terminal.exitCode()).toBe(7)
  terminal.close()
  expect((await windows.inspectContainer('test')).State.ExitCode).toBe(7)
})

test('Ctrl-C ends a command but not the prompt', async () => {
  const terminal = windows.terminal(['run', '--rm', '-it', 'windowsservercore', 'cmd'])
  await terminal.seeLast(/^C:\\>$/)
  terminal.type('ping -n 60 127.0.0.1\r')
  await terminal.see(/Pinging/)
  terminal.type('\x03')
  await terminal.seeLast(/^C:\\>$/, 15_000)
  terminal.type('exit 2\r')
  expect(await terminal.exitCode()).toBe(2)
  terminal.close()
})

test('a program sees the size of the terminal', async () => {
  await buildNodeImage(windows)
  const terminal = windows.terminal([
    'run',
    '--rm',
    '-it',
    NODE_IMAGE,
    'node',
    '-p',
    'process.stdout.columns + " wide"'
  ])
  await terminal.see(/^120 wide/)
  expect(await terminal.exitCode()).toBe(0)
  terminal.close()
}, 300_000)

test('docker attach comes back to a prompt that was left with Ctrl-P Ctrl-Q', async () => {
  const first = windows.terminal(['run', '--name', 'left', '-it', 'nanoserver', 'cmd'])
  await first.seeLast(/>$/)
  first.type('set KEPT=yes\r')
  await first.see(/>set KEPT=yes/)
  await first.seeLast(/>$/)
  first.type('\x10\x11')
  expect(await first.exitCode()).toBe(0)
  first.close()

  const again = windows.terminal(['attach', 'left'])
  // docker tells nobody when it has attached: a person presses Enter until the prompt comes.
  const pressed = () => {
    if (again.text().endsWith('>')) return true
    again.type('\r')
    return false
  }
  await waitFor(pressed, 20_000, 'the prompt is back', 1000)
  again.type('echo kept: %KEPT%\r')
  await again.see(/^kept: yes/)
  again.type('exit 3\r')
  expect(await again.exitCode()).toBe(3)
  again.close()
})
