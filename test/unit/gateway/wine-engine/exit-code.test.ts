import { describe, expect, test } from 'vitest'
import { endingOf, execExitCodeOf, exitCodeOf } from '#gateway/wine-engine/exit-code.ts'
import { failureMessage, startFailure } from '#gateway/wine-engine/start.ts'
import { firstFile, parseState, readState, stampOf } from '#gateway/wine-engine/state-file.ts'
import { fakeContext, tarOf } from './fake-context.ts'

test.each([
  ['started\n', { kind: 'started' }],
  ['exited 0', { kind: 'exited', code: 0 }],
  ['exited 3221225477\n', { kind: 'exited', code: 3221225477 }],
  ['failed 2 No such file.', { kind: 'failed', error: 2, text: 'No such file.' }],
  ['failed 193', { kind: 'failed', error: 193, text: '' }],
  ['exited', undefined],
  ['exited -1', undefined],
  ['exited 99999999999', undefined],
  ['', undefined],
  ['startedd', undefined]
])('state %j', (line, state) => {
  expect(parseState(line)).toEqual(state)
})

describe('a tar of one file', () => {
  test('whole', () => {
    expect(firstFile(tarOf('main', 'started'))?.toString()).toBe('started')
  })
  test('after a PAX header', () => {
    const pax = tarOf('x', '12 path=ab\n')
    pax.write('x', 156)
    expect(firstFile(Buffer.concat([pax.subarray(0, 1024), tarOf('main', 'exited 1')]))?.toString()).toBe('exited 1')
  })
  test.each([
    ['cut off', tarOf('main', 'started').subarray(0, 514)],
    ['empty', Buffer.alloc(0)],
    ['nonsense', Buffer.alloc(2048, 'x')],
    ['a folder', Buffer.from(tarOf('d', '').fill('5', 156, 157))]
  ])('%s', (_, tar) => {
    expect(firstFile(tar)).toBeUndefined()
  })
})

test('the stamp of a stat, and of what is none', () => {
  const header = Buffer.from(JSON.stringify({ mtime: 't', size: 8 })).toString('base64')
  expect(stampOf(header)).toBe('t/8')
  expect(stampOf(undefined)).toBe('')
  expect(stampOf('%%%')).toBe('')
})

describe('exit codes', () => {
  const engineOf = (line: string) => {
    let runs = 0
    return fakeContext(({ path }) => {
      if (path.includes('/archive')) return { body: tarOf('main', line) }
      if (path.startsWith('/containers/')) return { json: { State: { FinishedAt: `t${runs++}` } } }
      return undefined
    })
  }

  test.each([0, 1, 137, 239])('%d is what it is', async code => {
    const { context, calls } = engineOf('exited 5')
    await expect(exitCodeOf(context, 'a', code)).resolves.toBe(code)
    expect(calls).toEqual([])
  })

  test.each([
    [240, 'exited 300', 300],
    [240, 'exited 240', 240],
    [240, 'started', 240],
    [240, 'rubbish', 240],
    [127, 'exited 127', 127],
    [127, 'failed 2 x', 127],
    [126, 'exited 126', 126]
  ])('%d with "%s" is %d', async (linux, line, code) => {
    await expect(exitCodeOf(engineOf(line).context, 'a', linux)).resolves.toBe(code)
  })

  test('one run is read once, the next anew', async () => {
    const { context, calls } = engineOf('exited 300')
    await exitCodeOf(context, 'a', 240, 'one')
    await exitCodeOf(context, 'a', 240, 'one')
    expect(calls).toHaveLength(1)
    await exitCodeOf(context, 'a', 240, 'two')
    expect(calls).toHaveLength(2)
  })

  test('what was read before a container was removed is still known', async () => {
    let gone = false
    const { context } = fakeContext(({ path }) => {
      if (gone) return { status: 404, json: { message: 'gone' } }
      return path.includes('/archive')
        ? { body: tarOf('main', 'exited 70000') }
        : { json: { State: { FinishedAt: 't' } } }
    })
    await exitCodeOf(context, 'a', 240)
    gone = true
    await expect(exitCodeOf(context, 'a', 240)).resolves.toBe(70000)
    await expect(exitCodeOf(context, 'b', 240)).resolves.toBe(240)
    await expect(readState(context, 'a', '/x')).resolves.toBeUndefined()
  })

  test('an exec has a file of its own', async () => {
    const { context, calls } = engineOf('exited 4294967295')
    await expect(execExitCodeOf(context, 'a', '/oriel/run/exec-1', 240)).resolves.toBe(4294967295)
    expect(calls[0]?.path).toContain(encodeURIComponent('/oriel/run/exec-1'))
    await expect(execExitCodeOf(context, 'a', '/x', 3)).resolves.toBe(3)
  })

  test('a failed start is told apart from a program’s own 127', async () => {
    await expect(endingOf(engineOf('failed 2 x').context, 'a', 127)).resolves.toMatchObject({ kind: 'failed' })
  })
})

test.each([
  [2, 'system cannot find the file specified'],
  [3, 'no such file or directory'],
  [5, 'permission denied']
])('docker’s client finds the words of error %d', (error, words) => {
  expect(failureMessage('container x', { kind: 'failed', error, text: '' }).toLowerCase()).toContain(words)
})

test('other errors have init’s words', () => {
  expect(startFailure('container x', { kind: 'failed', error: 1392, text: 'It is corrupted.' })).toMatchObject({
    status: 400,
    message: expect.stringContaining('It is corrupted. (0x570)')
  })
})
