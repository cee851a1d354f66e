import { expect, test } from 'vitest'
import { commandLineOf, INIT, type Launch, launchArguments, quoteArgument, readLaunch } from '#image/launch.ts'

const launch: Launch = {
  commandLine: 'cmd /S /C "echo ä=b"',
  cwd: 'C:\\app',
  user: 'ContainerUser',
  env: ['PATH=C:\\x;C:\\y', 'A=b=c', 'EMPTY=', '=C:=C:\\app'],
  role: 'exec',
  services: 'auto',
  state: '/oriel/run/exec-1'
}

test('a launch reads back as it was written', () => {
  expect(readLaunch(launchArguments(launch))).toEqual(launch)
})

test('a launch larger than one Linux argument is cut into several', () => {
  const large = { ...launch, env: [`BIG=${'x'.repeat(300_000)}`] }
  const argv = launchArguments(large)
  expect(argv.length).toBeGreaterThan(4)
  expect(Math.max(...argv.map(argument => argument.length))).toBeLessThan(128 * 1024)
  expect(readLaunch(argv)).toEqual(large)
})

test('other arguments are no launch', () => {
  expect(readLaunch(['/bin/sh', 'run', 'x'])).toBeUndefined()
  expect(readLaunch([INIT, 'resolve', 'C:\\'])).toBeUndefined()
  expect(readLaunch([])).toBeUndefined()
})

// Expected values: the table in https://learn.microsoft.com/cpp/c-language/parsing-c-command-line-arguments, read backwards.
test.each([
  ['', '""'],
  ['plain', 'plain'],
  ['a b', '"a b"'],
  ['a\\b', 'a\\b'],
  ['C:\\a b\\', '"C:\\a b\\\\"'],
  ['say "hi"', '"say \\"hi\\""'],
  ['a\\"b', '"a\\\\\\"b"'],
  ['tab\there', '"tab\there"']
])('%j is quoted as %j', (argument, quoted) => {
  expect(quoteArgument(argument)).toBe(quoted)
})

test('an escaped command line is left alone', () => {
  expect(commandLineOf({ Cmd: ['cmd /S /C echo "x y"'], ArgsEscaped: true })).toBe('cmd /S /C echo "x y"')
  expect(commandLineOf({ Entrypoint: ['a b.exe'], Cmd: ['c d'], ArgsEscaped: false })).toBe('"a b.exe" "c d"')
  expect(commandLineOf({ Entrypoint: ['tool.exe /x'], Cmd: ['c d'], ArgsEscaped: true })).toBe('tool.exe /x "c d"')
})
