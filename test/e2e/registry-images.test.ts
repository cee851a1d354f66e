import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { run } from '../support/command.ts'
import { LOGIN, type RealRegistry, startRegistry } from '../support/docker-registry.ts'
import { layered, makeHive } from '../support/hive.ts'
import { temporaryFolder } from '../support/installation-disc.ts'
import { useMachine } from '../support/oriel.ts'
import type { TestEntry } from '../support/tar.ts'
import {
  microsoftLayers,
  publish,
  type TestImage,
  type TestLayer,
  windowsImage,
  windowsLayer
} from '../support/windows-image.ts'

const VERSION = '10.0.20348.2700'
const windows = useMachine('registry-images')
const { path: folder, remove } = temporaryFolder()

let registry: RealRegistry
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
})

afterAll(async () => {
  await registry?.stop()
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
  const history = await windows.out(['history', '--no-trunc', '--format', '{{.CreatedBy}}', 'mine:built'])
  expect(history.split('\n').slice(-5)).toEqual(
    [...layers.map(({ createdBy }) => createdBy), 'cmd /S /C #(nop)  CMD ["app"]'].reverse()
  )
  expect(history).not.toMatch(/oriel|drive_c/)
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
