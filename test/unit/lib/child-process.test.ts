import { text } from 'node:stream/consumers'
import { expect, test } from 'vitest'
import { lastLines, run, runInTerminal, stream } from '#lib/child-process.ts'

const node = (script: string): [string, ...string[]] => [process.execPath, '-e', script]

test('output and exit code are the result', async () => {
  expect(await run(node('console.log("out"); console.error("err"); process.exit(3)'))).toEqual({
    exitCode: 3,
    stdout: 'out\n',
    stderr: 'err\n'
  })
})

test('arguments are not read by a shell', async () => {
  expect((await run([process.execPath, '-e', 'console.log(process.argv[1])', '$(id); *'])).stdout).toBe('$(id); *\n')
})

test('a missing program is a fault of this host', async () => {
  await expect(run(['no-such-program-anywhere'])).rejects.toMatchObject({
    exitCode: 4,
    message: 'no-such-program-anywhere is not installed or not on PATH.'
  })
})

test('a program that takes too long, or is not wanted any more, is ended', async () => {
  await expect(run(node('setInterval(() => {}, 1e6)'), { timeoutMs: 300 })).rejects.toThrow('longer than 0.3 s')
  const controller = new AbortController()
  setTimeout(() => controller.abort(), 100)
  const aborted = run(node('setInterval(() => {}, 1e6)'), { signal: controller.signal })
  await expect(aborted).rejects.toMatchObject({ exitCode: 130 })
  await expect(run(node('0'), { signal: controller.signal })).rejects.toMatchObject({ exitCode: 130 })
})

test('what a program in a session of its own has started ends with it', async () => {
  const started = Date.now()
  // The pipe of stderr stays open as long as any of them runs.
  const ended = run(['sh', '-c', 'sleep 20 & sleep 20'], { timeoutMs: 100, session: true })
  await expect(ended).rejects.toThrow('took longer than 0.1 s')
  expect(Date.now() - started).toBeLessThan(10_000)
})

test('a stream gives its bytes, its lines of stderr, and its failure', async () => {
  const lines: string[] = []
  const good = stream(node('console.error("a\\nb"); console.log("data")'), { onLine: line => lines.push(line) })
  expect(await text(good.stdout)).toBe('data\n')
  await good.done
  expect(lines).toEqual(['a', 'b'])
  const bad = stream(node('console.error("E: no"); process.exit(25)'))
  bad.stdout.resume()
  await expect(bad.done).rejects.toThrow('failed with exit code 25: E: no')
})

test('the exit code of a program in the terminal is given on', async () => {
  expect(await runInTerminal(node('process.exit(7)'), process.env)).toBe(7)
})

test('the last lines are one line', () => {
  expect(lastLines('a\nb\nc\n', 2)).toBe('b | c')
})
