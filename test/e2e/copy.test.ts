import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, expect, test } from 'vitest'
import { run } from '../support/command.ts'
import { useMachine } from '../support/oriel.ts'

const windows = useMachine('copy')
let folder = ''

const type = (path: string) => windows.out(['exec', 'box', 'cmd', '/c', 'type', path])

beforeAll(async () => {
  folder = join(windows.home.root, 'files')
  mkdirSync(join(folder, 'tree', 'Sub'), { recursive: true })
  writeFileSync(join(folder, 'one.txt'), 'one')
  writeFileSync(join(folder, 'tree', 'Sub', 'two.txt'), 'two')
  await windows.out(['run', '-d', '-i', '--name', 'box', 'nanoserver', 'cmd'])
  await windows.out(['exec', 'box', 'cmd', '/c', 'md C:\\Target& echo from inside> C:\\Target\\Made.txt'])
})

test.each([
  ['box:C:\\', 'C:\\one.txt'],
  ['box:C:\\Target', 'C:\\Target\\one.txt'],
  ['box:C:\\target\\', 'C:\\Target\\one.txt'],
  ['box:c:/TARGET/renamed.txt', 'C:\\Target\\renamed.txt'],
  ['box:C:\\Target\\new name.txt', 'C:\\Target\\new name.txt'],
  ['box:C:\\named.txt', 'C:\\named.txt'],
  ['box:/Target/rooted.txt', 'C:\\Target\\rooted.txt']
])('a file to %s', async (target, path) => {
  await windows.out(['cp', join(folder, 'one.txt'), target])
  expect(await type(path)).toBe('one')
})

test('a folder to one that exists, to one that does not, and its contents only', async () => {
  await windows.out(['cp', join(folder, 'tree'), 'box:C:\\Target'])
  expect(await type('C:\\Target\\tree\\Sub\\two.txt')).toBe('two')
  await windows.out(['cp', join(folder, 'tree'), 'box:C:\\fresh'])
  expect(await type('C:\\fresh\\Sub\\two.txt')).toBe('two')
  await windows.out(['cp', `${join(folder, 'tree')}/.`, 'box:C:\\Target'])
  expect(await type('C:\\Target\\Sub\\two.txt')).toBe('two')
})

test('a copied file can be changed and removed by the program', async () => {
  await windows.out(['cp', join(folder, 'one.txt'), 'box:C:\\mine.txt'])
  await windows.out(['exec', 'box', 'cmd', '/c', 'echo more>> C:\\mine.txt& del C:\\mine.txt'])
  expect((await windows.docker(['exec', 'box', 'cmd', '/c', 'if exist C:\\mine.txt exit 1'])).code).toBe(0)
})

// A docker client that is not on Windows takes a path with backslashes for one name and cannot rename what it brings.
test.each([['box:C:/Target/Made.txt'], ['box:c:/target/MADE.TXT'], ['box:/Target/made.txt']])(
  '%s to the host',
  async source => {
    const target = join(folder, `out-${Math.random()}.txt`)
    await windows.out(['cp', source, target])
    expect(readFileSync(target, 'utf8').trim()).toBe('from inside')
  }
)

test('into a folder of the host, a file and a folder keep their names', async () => {
  const target = join(folder, 'here')
  mkdirSync(target)
  await windows.out(['cp', 'box:C:\\Target\\Made.txt', target])
  expect(readFileSync(join(target, 'Made.txt'), 'utf8').trim()).toBe('from inside')
  await windows.out(['cp', 'box:C:\\Target', target])
  expect(readFileSync(join(target, 'Target', 'Made.txt'), 'utf8').trim()).toBe('from inside')
})

test('a tar stream, both ways', async () => {
  const { stdout } = await run('tar', ['-C', folder, '-c', 'one.txt'])
  await windows.out(['cp', '-', 'box:C:\\Target'], { input: stdout })
  const listed = await windows.out(['cp', 'box:C:\\Target\\Made.txt', '-'])
  expect(listed).toMatch(/^Made\.txt\0/)
  expect(listed).toContain('from inside')
})

test('into and out of a container that does not run', async () => {
  await windows.out(['create', '--name', 'still', 'nanoserver', 'cmd', '/c', 'type C:\\before.txt'])
  await windows.out(['cp', join(folder, 'one.txt'), 'still:C:\\before.txt'])
  expect(await windows.out(['start', '-a', 'still'])).toBe('one')
  await windows.out(['cp', 'still:C:/BEFORE.txt', join(folder, 'after.txt')])
  expect(readFileSync(join(folder, 'after.txt'), 'utf8')).toBe('one')
})

test('what does not exist is told with its Windows path', async () => {
  const { code, stderr } = await windows.docker(['cp', 'box:C:\\nowhere\\x.txt', folder])
  expect(code).toBe(1)
  expect(stderr).toMatch(/nowhere/)
  expect(stderr).not.toMatch(/drive_c/)
  const into = await windows.docker(['cp', join(folder, 'one.txt'), 'box:C:\\nowhere\\deep\\x.txt'])
  expect(into.code).toBe(1)
  expect(into.stderr).not.toMatch(/drive_c/)
})
