import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, expect, test } from 'vitest'
import { useMachine } from '../support/oriel.ts'

const windows = useMachine('mounts')
let folder = ''

const cmd = (options: string[], line: string) =>
  windows.out(['run', '--rm', ...options, 'windowsservercore', 'cmd', '/c', line])

beforeAll(() => {
  folder = join(windows.home.root, 'src')
  mkdirSync(join(folder, 'SubFolder'), { recursive: true })
  writeFileSync(join(folder, 'Hello.txt'), 'from the host')
})

test.each([
  ['-v', (source: string) => `${source}:C:\\app`],
  ['-v', (source: string) => `${source}:c:/App`],
  ['--mount', (source: string) => `type=bind,source=${source},target=C:\\app`]
])('%s binds a folder of the host (%s)', async (option, spec) => {
  expect(await cmd([option, spec(folder)], 'type C:\\app\\HELLO.TXT')).toBe('from the host')
  await cmd([option, spec(folder)], 'echo from Windows> C:\\APP\\subfolder\\back.txt')
  expect(readFileSync(join(folder, 'SubFolder', 'back.txt'), 'utf8').trim()).toBe('from Windows')
})

test.each([
  ['-v', (source: string) => `${source}:C:\\app:ro`],
  ['--mount', (source: string) => `type=bind,source=${source},target=C:\\app,readonly`]
])('a read-only mount with %s can be read and not written', async (option, spec) => {
  expect(await cmd([option, spec(folder)], 'type C:\\app\\Hello.txt')).toBe('from the host')
  const said = await windows.docker([
    'run',
    '--rm',
    option,
    spec(folder),
    'windowsservercore',
    'cmd',
    '/c',
    'echo x> C:\\app\\no.txt'
  ])
  expect(`${said.code} ${said.stdout}${said.stderr}`).toMatch(/denied|[1-9]\d* /i)
  expect(() => readFileSync(join(folder, 'no.txt'))).toThrow()
})

test('inspect shows mounts as they were asked for', async () => {
  await windows.out([
    'create',
    '--name',
    'shown',
    '-v',
    `${folder}:C:\\app:ro`,
    '-v',
    'kept:C:\\data',
    'nanoserver',
    'cmd'
  ])
  const container = await windows.inspectContainer('shown')
  // The client keeps its -v options in a Go map, so either may come first.
  expect(container.HostConfig.Binds?.toSorted()).toEqual([`${folder}:C:\\app:ro`, 'kept:C:\\data'].toSorted())
  expect(container.Mounts).toEqual(
    expect.arrayContaining([
      expect.objectContaining({
        Type: 'bind',
        Source: folder,
        Destination: expect.stringMatching(/^C:\\app$/i),
        RW: false
      }),
      expect.objectContaining({
        Type: 'volume',
        Name: 'kept',
        Source: 'C:\\ProgramData\\docker\\volumes\\kept\\_data',
        Destination: expect.stringMatching(/^C:\\data$/i)
      })
    ])
  )
  await windows.out(['rm', 'shown'])
})

test('a named volume outlives its containers', async () => {
  await windows.out(['volume', 'create', 'outlives'])
  await cmd(['-v', 'outlives:C:\\data'], 'echo kept> C:\\data\\file.txt')
  expect(await cmd(['--mount', 'type=volume,source=outlives,target=D:\\'], 'type D:\\file.txt')).toBe('kept')
  const [volume] = JSON.parse(await windows.out(['volume', 'inspect', 'outlives']))
  expect(volume.Mountpoint).toBe('C:\\ProgramData\\docker\\volumes\\outlives\\_data')
  expect(await windows.out(['volume', 'ls', '-q'])).toMatch(/^outlives$/m)
  await windows.out(['volume', 'rm', 'outlives'])
  expect(await windows.out(['volume', 'ls', '-q'])).not.toMatch(/^outlives$/m)
})

test('an anonymous volume ends with its container', async () => {
  const before = (await windows.out(['volume', 'ls', '-q'])).split('\n').length
  await windows.out([
    'run',
    '--name',
    'anonymous',
    '-v',
    'C:\\data',
    'nanoserver',
    'cmd',
    '/c',
    'echo x> C:\\data\\x.txt'
  ])
  const { Mounts } = await windows.inspectContainer('anonymous')
  expect(Mounts).toHaveLength(1)
  expect(Mounts[0]).toMatchObject({ Type: 'volume', Destination: expect.stringMatching(/^C:\\data$/i) })
  await windows.out(['rm', '-v', 'anonymous'])
  expect((await windows.out(['volume', 'ls', '-q'])).split('\n').length).toBe(before)
})

test('--volumes-from takes the mounts of another container', async () => {
  await windows.out(['create', '--name', 'source', '-v', `${folder}:C:\\app`, 'nanoserver', 'cmd'])
  expect(await cmd(['--volumes-from', 'source'], 'type C:\\app\\Hello.txt')).toBe('from the host')
  await windows.out(['rm', 'source'])
})

test('a source that does not exist, and a target that is all of C:, are refused', async () => {
  const missing = join(folder, 'missing')
  const first = await windows.docker([
    'run',
    '--rm',
    '--mount',
    `type=bind,source=${missing},target=C:\\app`,
    'nanoserver',
    'cmd'
  ])
  expect(first.code).toBe(125)
  expect(first.stderr).toContain(missing)
  const second = await windows.docker(['run', '--rm', '-v', `${folder}:C:\\`, 'nanoserver', 'cmd', '/c', 'ver'])
  expect(second.code).toBe(125)
  expect(second.stderr).not.toMatch(/drive_c/)
})
