import { describe, expect, test } from 'vitest'
import { checkPlatform, translateCreate } from '#gateway/wine-engine/create.ts'
import { accountOf, engineConfig, engineSignal, mainLaunch, mergeConfig } from '#gateway/wine-engine/create-config.ts'
import { readLaunch } from '#image/launch.ts'
import { IMAGE_LABEL, type WindowsConfig } from '#image/windows-config.ts'
import { fakeContext } from './fake-context.ts'

const shellForm: WindowsConfig = { Cmd: ['cmd /S /C app.exe "a b"'], ArgsEscaped: true, Env: ['Path=C:\\app', 'A=1'] }
const execForm: WindowsConfig = { Entrypoint: ['C:\\Program Files\\app.exe'], Cmd: ['--help'] }

describe('what a container starts', () => {
  const line = (image: WindowsConfig, request: object): string =>
    mainLaunch(mergeConfig(image, { ...request }), {}).commandLine

  test.each([
    [shellForm, {}, 'cmd /S /C app.exe "a b"'],
    [shellForm, { Cmd: ['app.exe', 'a b'] }, 'app.exe "a b"'],
    [shellForm, { Entrypoint: ['x.exe'] }, 'x.exe'],
    [shellForm, { Cmd: 'one.exe' }, 'one.exe'],
    [execForm, {}, '"C:\\Program Files\\app.exe" --help'],
    [execForm, { Cmd: ['a', 'b"c'] }, '"C:\\Program Files\\app.exe" a "b\\"c"'],
    [execForm, { Entrypoint: ['y'], Cmd: ['z'] }, 'y z'],
    [execForm, { Entrypoint: [''], Cmd: ['z'] }, 'z'],
    [execForm, { Entrypoint: [], Cmd: [] }, '--help'],
    [{ Entrypoint: ['app.exe -x'], ArgsEscaped: true }, { Cmd: ['a b'] }, 'app.exe -x "a b"']
  ])('%j with %j', (image, request, expected) => {
    expect(line(image, request)).toBe(expected)
  })

  test.each([
    [{}, {}],
    [{ Cmd: ['x'] }, { Entrypoint: [''] }]
  ])('no command: %j with %j', (image, request) => {
    expect(() => line(image, request)).toThrow('no command specified')
  })

  test.each([
    'powershell',
    'PowerShell.exe',
    'C:\\Windows\\System32\\WindowsPowerShell\\v1.0\\powershell.exe',
    'pwsh',
    'C:\\ServiceMonitor.exe'
  ])('%s is refused', program => {
    expect(() => line({}, { Cmd: [program, '-Command', 'x'] })).toThrow(/--driver qemu/)
  })

  test('powershell behind a shell is refused, as a mere word it is not', () => {
    expect(() => line({}, { Cmd: ['cmd', '/S', '/C', 'powershell -c x'] })).toThrow('PowerShell')
    expect(() => line({ Cmd: ['cmd /S /C powershell -c x'], ArgsEscaped: true }, {})).toThrow('PowerShell')
    expect(line({}, { Cmd: ['cmd', '/c', 'echo powershell'] })).toBe('cmd /c "echo powershell"')
  })
})

describe('the rest of a config', () => {
  test('variables compare without case, one without a value goes', () => {
    const { Env } = mergeConfig({ ...shellForm }, { Env: ['PATH=C:\\new', 'a', 'B=x=y'] })
    expect(Env).toEqual(['Path=C:\\new', 'B=x=y'])
  })

  test.each([
    ['C:\\app', 'C:\\app'],
    ['c:/app/', 'C:\\app'],
    ['/app', 'C:\\app'],
    ['\\app\\..\\b', 'C:\\b'],
    ['', 'C:\\image']
  ])('-w %j', (given, expected) => {
    expect(mergeConfig({ Cmd: ['x'], WorkingDir: 'C:\\image' }, { WorkingDir: given }).WorkingDir).toBe(expected)
  })

  test('a relative -w is refused', () => {
    expect(() => mergeConfig({ Cmd: ['x'] }, { WorkingDir: 'app' })).toThrow(
      "the working directory 'app' is invalid, it needs to be an absolute path"
    )
  })

  test.each([
    ['', 'ContainerAdministrator'],
    ['ContainerUser', 'ContainerUser'],
    ['user manager\\containeruser', 'ContainerUser'],
    ['NT AUTHORITY\\SYSTEM', 'ContainerAdministrator']
  ])('--user %j', (user, account) => {
    expect(accountOf(user)).toBe(account)
  })

  test.each(['1000', 'root', 'bob'])('--user %s is refused', user => {
    expect(() => accountOf(user)).toThrow(`unable to find user ${user}`)
  })

  test('labels, ports and volumes of both', () => {
    const image = { Cmd: ['x'], Labels: { a: '1', b: '1' }, ExposedPorts: { '80/tcp': {} }, Volumes: { 'C:\\v': {} } }
    const merged = mergeConfig(image, { Labels: { b: '2', 'dev.oriel.machine': 'stolen' }, Volumes: { 'C:\\w': {} } })
    expect(merged).toMatchObject({
      Labels: { a: '1', b: '2' },
      ExposedPorts: { '80/tcp': {} },
      Volumes: { 'C:\\v': {}, 'C:\\w': {} }
    })
    expect(merged.Labels).not.toHaveProperty('dev.oriel.machine')
  })

  test.each([
    ['', 'SIGTERM'],
    ['SIGINT', 'SIGTERM'],
    ['SIGKILL', 'SIGKILL'],
    ['9', 'SIGKILL']
  ])('stop signal %j', (signal, expected) => {
    expect(engineSignal(signal)).toBe(expected)
  })

  test('a health check goes through init, in the image’s shell', () => {
    const config = mergeConfig({ Cmd: ['x'], Healthcheck: { Test: ['CMD-SHELL', 'check it'], Interval: 5 } }, {})
    const { Test, Interval } = engineConfig({}, config, {}).Healthcheck as { Test: string[]; Interval: number }
    expect(Interval).toBe(5)
    expect(readLaunch(Test.slice(1))).toMatchObject({ commandLine: 'cmd /S /C check it', role: 'exec' })
    expect(mergeConfig(config, { Healthcheck: { Test: ['NONE'] } }).Healthcheck).toMatchObject({ Test: ['NONE'] })
  })
})

describe('the whole request', () => {
  const windows = {
    config: shellForm,
    osVersion: '',
    family: 'servercore',
    release: 'ltsc2022',
    folders: ['App'],
    history: []
  }
  const engine = (image: object | undefined) =>
    fakeContext(({ path }) => {
      if (path.startsWith('/images/')) return image === undefined ? undefined : { json: image }
      if (path === '/volumes/foreign') return { json: { Name: 'foreign', Labels: null } }
      if (path === '/volumes/own') return { json: { Name: 'own', Labels: { 'dev.oriel.machine': 'test' } } }
      return undefined
    })
  const ours = { Id: 'sha256:1', Config: { Labels: { [IMAGE_LABEL]: JSON.stringify(windows) } } }

  test('nothing is left in it that Linux would read in its own way', async () => {
    const { context } = engine(ours)
    const { body } = await translateCreate(context, {
      Image: 'app:1',
      Hostname: 'box',
      Tty: true,
      User: 'ContainerUser',
      Env: ['X=1'],
      Shell: ['cmd'],
      NewField: 7,
      HostConfig: { Binds: ['/a:c:/APP'], AutoRemove: true }
    })
    expect(body).toMatchObject({
      Image: 'sha256:1',
      Hostname: 'box',
      Tty: true,
      NewField: 7,
      Env: [],
      User: '',
      WorkingDir: '',
      Entrypoint: ['/oriel/init'],
      HostConfig: { Binds: ['/a:/c/drive_c/App'], AutoRemove: false, NetworkMode: 'bridge' }
    })
    expect(body).not.toHaveProperty('Shell')
    const launch = readLaunch(['/oriel/init', ...(body.Cmd as string[])])
    expect(launch).toMatchObject({ user: 'ContainerUser', cwd: 'C:\\', env: ['Path=C:\\app', 'A=1', 'X=1'] })
    const kept = JSON.parse((body.Labels as Record<string, string>)['dev.oriel.container'] ?? '')
    expect(kept).toMatchObject({ image: 'app:1', autoRemove: true, machine: 'test', folders: ['App'] })
  })

  test('an image that is not there', async () => {
    const { context } = engine(undefined)
    await expect(translateCreate(context, { Image: 'app' })).rejects.toMatchObject({
      status: 404,
      message: 'No such image: app:latest'
    })
  })

  test('a Linux image', async () => {
    const { context } = engine({ Id: 'sha256:2', Config: { Labels: null } })
    await expect(translateCreate(context, { Image: 'debian' })).rejects.toThrow(
      'image operating system "linux" cannot be used on this platform'
    )
  })

  test('IIS', async () => {
    const { context } = engine(undefined)
    const Image = 'mcr.microsoft.com/windows/servercore/iis:windowsservercore-ltsc2022'
    await expect(translateCreate(context, { Image })).rejects.toThrow('run IIS')
  })

  test('a volume that another machine owns, or nobody', async () => {
    const { context } = engine(ours)
    const create = (volume: string) =>
      translateCreate(context, { Image: 'app', HostConfig: { Binds: [`${volume}:C:\\x`] } })
    await expect(create('foreign')).rejects.toMatchObject({ status: 409 })
    await expect(create('own')).resolves.toBeDefined()
    await expect(create('new')).resolves.toBeDefined()
  })
})

test.each(['', 'windows', 'windows/amd64', 'Windows/AMD64'])('platform %j is taken', platform => {
  expect(() => checkPlatform(platform)).not.toThrow()
})

test.each([
  ['linux/amd64', /"linux" cannot be used/],
  ['windows/arm64', /cannot run programs for arm64/]
])('platform %s is refused', (platform, words) => {
  expect(() => checkPlatform(platform)).toThrow(words)
})
