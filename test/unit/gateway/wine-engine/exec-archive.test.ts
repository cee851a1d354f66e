import { Readable } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import { describe, expect, test } from 'vitest'
import { archivePath, baseName, openArchive, resolveCase, standardOutput } from '#gateway/wine-engine/archive-path.ts'
import { splitCommandLine } from '#gateway/wine-engine/command-line.ts'
import { applyChanges, engineCommit } from '#gateway/wine-engine/commit.ts'
import { translateExec, windowsExec } from '#gateway/wine-engine/exec.ts'
import { initSignal } from '#gateway/wine-engine/lifecycle.ts'
import type { Container } from '#gateway/wine-engine/record.ts'
import { firstName, peekTarName, rebase, renameEntries } from '#gateway/wine-engine/tar-rename.ts'
import { quoteArgument, readLaunch } from '#image/launch.ts'
import { fakeContext, record, tarOf } from './fake-context.ts'

const container: Container = {
  id: 'abc',
  inspect: {},
  state: { Running: false },
  record: record({
    folders: ['App'],
    mounts: [{ type: 'bind', source: '/a', destination: 'C:\\Src\\Deep', target: '/c/drive_c/Src/Deep' }]
  })
}

describe('exec', () => {
  test('gets the container’s variables, folder and user', () => {
    const asked = { Cmd: ['a', 'b c'], Env: ['path=X'], AttachStdout: true, Tty: true }
    const body = translateExec(asked, container.record, 'u')
    expect(body).toMatchObject({ AttachStdout: true, Tty: true, Env: [], WorkingDir: '', User: '' })
    expect(readLaunch(body.Cmd as string[])).toEqual({
      commandLine: 'a "b c"',
      cwd: 'C:\\app',
      user: 'ContainerAdministrator',
      env: ['PATH=X'],
      role: 'exec',
      services: 'auto',
      state: '/oriel/run/exec-u'
    })
  })

  test.each([
    [{}, 'no exec command specified'],
    [{ Cmd: [] }, 'no exec command specified'],
    [{ Cmd: ['x'], Privileged: true }, 'privileged'],
    [{ Cmd: ['PowerShell'] }, 'PowerShell'],
    [{ Cmd: ['x'], User: '0:0' }, 'unable to find user']
  ])('refuses %j', (asked, words) => {
    expect(() => translateExec(asked, container.record, 'u')).toThrow(words)
  })

  test('inspect shows the Windows command', () => {
    const [entrypoint, ...args] = translateExec({ Cmd: ['a', 'b c'], User: 'ContainerUser' }, container.record, 'u')
      .Cmd as string[]
    const shown = windowsExec({ ID: 'e', ProcessConfig: { entrypoint, arguments: args, tty: true } }, container.record)
    expect(shown).toEqual({
      ID: 'e',
      ProcessConfig: { tty: true, entrypoint: 'a', arguments: ['b c'], privileged: false, user: 'ContainerUser' }
    })
  })
})

test.each([
  ['a b', ['a', 'b']],
  ['"a b" c', ['a b', 'c']],
  ['a\\\\b "c\\"d" e\\\\"f g"', ['a\\\\b', 'c"d', 'e\\f g']],
  ['""', ['']],
  ['"a""b"', ['a"b']],
  ['  ', []]
])('command line %j', (line, words) => {
  expect(splitCommandLine(line)).toEqual(words)
})

test.each(['', 'a b', 'a"b', 'a\\', 'a b\\', '\\"', 'C:\\x y\\'])('quoting %j comes back', word => {
  expect(splitCommandLine(`x ${quoteArgument(word)} y`)).toEqual(['x', word, 'y'])
})

test.each([
  ['KILL', 'SIGKILL'],
  ['9', 'SIGKILL'],
  ['SIGINT', 'SIGINT'],
  ['quit', 'SIGQUIT'],
  ['HUP', 'SIGHUP'],
  ['SIGUSR1', 'SIGTERM'],
  ['15', 'SIGTERM'],
  ['RTMIN+3', 'SIGTERM'],
  ['NONSENSE', 'NONSENSE'],
  ['0', '0'],
  ['99', '99']
])('signal %s', (signal, expected) => {
  expect(initSignal(signal)).toBe(expected)
})

describe('paths of docker cp', () => {
  test.each([
    ['C:\\app\\x', '/c/drive_c/App/x', ''],
    ['c:/APP/x/', '/c/drive_c/App/x', '/'],
    ['C:\\app\\.', '/c/drive_c/App', '/.'],
    ['\\windows\\System32', '/c/drive_c/windows/system32', ''],
    ['app', '/c/drive_c/App', ''],
    ['/', '/c/drive_c', '/'],
    ['C:', '/c/drive_c', ''],
    ['c:\\src\\DEEP\\File', '/c/drive_c/Src/Deep/File', ''],
    ['C:\\a\\..\\..\\b', '/c/drive_c/b', ''],
    ['D:\\x', '/c/drive_d/x', '']
  ])('%s', (typed, linux, suffix) => {
    expect(archivePath(container, typed)).toMatchObject({ linux, suffix, typed })
  })

  test('the last name', () => {
    expect(baseName('C:\\a\\b')).toBe('b')
    expect(baseName('C:\\')).toBe('\\')
  })

  const stat = (mode: number, linkTarget = '') => ({
    'x-docker-container-path-stat': Buffer.from(JSON.stringify({ name: 'x', mode, linkTarget })).toString('base64')
  })
  const pathIn = (path: string): string => new URL(`http://d${path}`).searchParams.get('path') ?? ''

  test('a link of the Wine base is followed', async () => {
    const { context } = fakeContext(({ path }) =>
      pathIn(path) === '/usr/lib/a.dll'
        ? { headers: stat(0o644) }
        : { headers: stat(0x8000000, '../../../usr/lib/a.dll') }
    )
    const opened = await openArchive(context, container, 'HEAD', archivePath(container, 'C:\\windows\\a.dll'))
    expect(opened.linux).toBe('/usr/lib/a.dll')
    expect(opened.answer.status).toBe(200)
  })

  test('links in a circle end', async () => {
    const { context, calls } = fakeContext(() => ({ headers: stat(0x8000000, 'a') }))
    await openArchive(context, container, 'HEAD', archivePath(container, 'C:\\a'))
    expect(calls.length).toBeLessThan(20)
  })

  test('in a stopped container a wrong case is found in the engine’s listing', async () => {
    const listing = Buffer.concat([tarOf('drive_c/Other', 'x').subarray(0, 1024), tarOf('drive_c/Data.TXT', 'x')])
    const { context } = fakeContext(({ method, path }) =>
      method === 'GET' && pathIn(path) === '/c/drive_c/' ? { body: listing } : { status: 404, json: { message: 'no' } }
    )
    await expect(resolveCase(context, container, archivePath(container, 'C:\\data.txt'))).resolves.toBe(
      '/c/drive_c/Data.TXT'
    )
    await expect(resolveCase(context, container, archivePath(container, 'C:\\none\\x'))).resolves.toBe(
      '/c/drive_c/none/x'
    )
  })

  test('in a running one init is asked', async () => {
    const output = '/c/drive_c/Data.TXT\n'
    const frame = Buffer.concat([Buffer.from([1, 0, 0, 0, 0, 0, 0, output.length]), Buffer.from(output)])
    const { context, calls } = fakeContext(({ path }) =>
      path.endsWith('/start') ? { body: frame } : { json: { Id: 'e' } }
    )
    const running = { ...container, state: { Running: true } }
    await expect(resolveCase(context, running, archivePath(running, 'C:\\data.txt'))).resolves.toBe(
      '/c/drive_c/Data.TXT'
    )
    expect(calls[0]?.body).toMatchObject({ Cmd: ['/oriel/init', 'resolve', 'C:\\data.txt'] })
  })

  test('of the frames only standard output counts, and a cut one does no harm', () => {
    const frames = Buffer.from([2, 0, 0, 0, 0, 0, 0, 1, 120, 1, 0, 0, 0, 0, 0, 0, 1, 121, 1, 0, 0])
    expect(standardOutput(frames)).toBe('y')
  })
})

describe('names in a tar', () => {
  test('the first, without taking it off the stream', async () => {
    const tar = tarOf('C:\\x\\f.txt', 'hello')
    const stream = Readable.from([tar.subarray(0, 100), tar.subarray(100)])
    await expect(peekTarName(stream)).resolves.toBe('C:\\x\\f.txt')
    await expect(buffer(stream)).resolves.toEqual(tar)
  })

  test.each([
    ['nothing', Buffer.alloc(0)],
    ['a gzip', Buffer.from([0x1f, 0x8b, 8, 0])],
    ['zeros', Buffer.alloc(1024)]
  ])('%s has none', (_, bytes) => {
    expect(firstName(bytes)).toBeUndefined()
  })

  test('renaming keeps the rest', async () => {
    const renamed = await buffer(renameEntries(Readable.from([tarOf('C:\\x\\f', 'hello')]), rebase('C:\\x\\f', 'g')))
    expect(firstName(renamed)).toBe('g')
    expect(renamed.subarray(512, 517).toString()).toBe('hello')
  })

  test('a tar that breaks off breaks off', async () => {
    const cut = tarOf('a', 'x'.repeat(2000)).subarray(0, 1000)
    await expect(buffer(renameEntries(Readable.from([cut]), name => name))).rejects.toThrow()
  })

  test.each([
    ['a', 'b'],
    ['a/c', 'b/c'],
    ['ab', 'ab']
  ])('%s below its new root is %s', (name, expected) => {
    expect(rebase('a', 'b')(name)).toBe(expected)
  })
})

describe('commit', () => {
  test.each([
    ['CMD ["a","b"]', { Cmd: ['a', 'b'] }],
    ['CMD echo hi', { Cmd: ['cmd /S /C echo hi'], ArgsEscaped: true }],
    ['ENTRYPOINT ["x"]', { Entrypoint: ['x'], Cmd: null }],
    ['ENV A=1 "B=2 3"', { Env: ['PATH=C:\\Windows', 'A=1', 'B=2 3'] }],
    ['ENV A one two', { Env: ['PATH=C:\\Windows', 'A=one two'] }],
    ['workdir /srv', { WorkingDir: 'C:\\srv' }],
    ['USER ContainerUser', { User: 'ContainerUser' }],
    ['EXPOSE 80 53/udp', { ExposedPorts: { '80/tcp': {}, '53/udp': {} } }],
    ['VOLUME ["C:\\\\data"]', { Volumes: { 'C:\\data': {} } }],
    ['LABEL a=b', { Labels: { a: 'b' } }],
    ['SHELL ["sh","-c"]', { Shell: ['sh', '-c'] }]
  ])('%s', (change, expected) => {
    expect(applyChanges(container.record.config, [change])).toMatchObject(expected)
  })

  test('an image without a command takes changes too', () => {
    expect(applyChanges({ Cmd: null }, ['ENV A=1', 'WORKDIR C:\\srv'])).toMatchObject({
      Env: ['A=1'],
      WorkingDir: 'C:\\srv'
    })
  })

  test.each(['RUN x', 'nonsense', 'SHELL cmd'])('refuses %s', change => {
    expect(() => applyChanges({ Cmd: ['x'] }, [change])).toThrow()
  })

  test('the new image is Windows’, and forgets whose container it was', () => {
    const image = { config: {}, osVersion: '1', family: 'nanoserver' as const, release: 'x', folders: [], history: [] }
    const entry = { created_by: 'a b', empty: false, comment: 'why' }
    const body = engineCommit(image, { Cmd: ['a'], Labels: { k: 'v' } }, entry)
    expect(body).toMatchObject({ Entrypoint: ['/oriel/init'], Cmd: [], Labels: { k: 'v', 'dev.oriel.container': '' } })
    const label = (body.Labels as Record<string, string>)['dev.oriel.image'] ?? ''
    expect(JSON.parse(label)).toMatchObject({ config: { Cmd: ['a'] }, history: [entry] })
  })
})
