import { expect, test } from 'vitest'
import { run } from '../support/command.ts'
import { useMachine } from '../support/oriel.ts'

const windows = useMachine('images')

test.each([
  ['windowsservercore', '20348'],
  ['nanoserver', '20348'],
  ['windowsservercore:1809', '17763'],
  ['microsoft/windowsservercore', '20348'],
  ['microsoft/nanoserver:latest', '20348'],
  ['mcr.microsoft.com/windows/nanoserver:ltsc2019', '17763'],
  ['mcr.microsoft.com/windows/nanoserver:10.0.20348.1487', '20348'],
  ['mcr.microsoft.com/windows/servercore:ltsc2022-amd64', '20348'],
  ['mcr.microsoft.com/windows/servercore:ltsc2025', '26100'],
  ['mcr.microsoft.com/windows/server:ltsc2022', '20348']
])('docker pull %s', async (name, build) => {
  const said = await windows.out(['pull', name])
  expect(said).toMatch(/Wine/)
  const image = await windows.inspectImage(name)
  expect(image.Os).toBe('windows')
  expect(image.Architecture).toBe('amd64')
  expect(await windows.out(['image', 'inspect', '-f', '{{.OsVersion}}', name])).toMatch(
    new RegExp(`^10\\.0\\.${build}\\.`)
  )
  expect(image.RepoTags.some(tag => tag.startsWith(name.replace(/:.*/, '')))).toBe(true)
})

test('the config is that of the image that the name stands for', async () => {
  await windows.out(['pull', 'nanoserver'])
  await windows.out(['pull', 'windowsservercore'])
  const nano = await windows.inspectImage('nanoserver')
  expect(nano.Config.Cmd).toEqual(['c:\\windows\\system32\\cmd.exe'])
  expect(nano.Config.User).toBe('ContainerUser')
  // PATH is in the registry, where setx can add to it.
  expect(nano.Config.Env ?? []).toEqual([])
  const core = await windows.inspectImage('windowsservercore')
  expect(core.Config.Cmd).toEqual(['c:\\windows\\system32\\cmd.exe'])
  expect(core.Config.User).toBe('')
  for (const image of [nano, core]) {
    expect(JSON.stringify(image)).not.toMatch(/\/oriel|dev\.oriel|drive_c|overlay2/i)
    expect(image.Config.Labels ?? {}).toEqual({})
  }
})

test('images, tag, history and rmi', async () => {
  await windows.out(['pull', 'nanoserver:1809'])
  await windows.out(['tag', 'nanoserver:1809', 'oriel-test/mine:v1'])
  const list = async () => windows.out(['images', '--format', '{{.Repository}}:{{.Tag}}'])
  expect(await list()).toMatch(/^oriel-test\/mine:v1$/m)
  expect(await windows.out(['images', '-q', 'oriel-test/mine:v1'])).toBe(
    await windows.out(['images', '-q', 'nanoserver:1809'])
  )
  expect(await windows.out(['run', '--rm', 'oriel-test/mine:v1', 'cmd', '/c', 'echo tagged'])).toBe('tagged')
  const history = await windows.out([
    'history',
    '--no-trunc',
    '--format',
    '{{.ID}}|{{.CreatedBy}}|{{.Comment}}',
    'oriel-test/mine:v1'
  ])
  const { Id: id, OsVersion: version } = await windows.inspectImage('oriel-test/mine:v1')
  expect(history.split('\n')).toEqual([
    `${id}|Install update ${version}|`,
    `<missing>|Apply image ${version?.replace(/\d+$/, '1')}|`
  ])
  await windows.out(['rmi', 'oriel-test/mine:v1'])
  expect(await list()).not.toMatch(/oriel-test\/mine/)
  expect((await windows.docker(['rmi', 'oriel-test/mine:v1'])).stderr).toMatch(/No such image/)
})

test('Linux images of the engine are not shown, and not run', async () => {
  const linux = (await run('docker', ['-H', windows.engine, 'images', '--format', '{{.Repository}}:{{.Tag}}'])).stdout
  expect(linux).toMatch(/debian|oriel\/wine/)
  expect(await windows.out(['images', '-a'])).not.toMatch(/debian|oriel\/wine/)
  expect((await windows.docker(['image', 'inspect', 'debian:trixie-slim'])).stderr).toMatch(/No such image/)
})

test('an image removed while its container lives is refused as docker does', async () => {
  await windows.out(['pull', 'nanoserver:21H2'])
  await windows.out(['tag', 'nanoserver:21H2', 'oriel-test/used'])
  await windows.out(['create', '--name', 'user', 'oriel-test/used', 'cmd'])
  const filtered = await windows.out(['ps', '-a', '--filter', 'ancestor=oriel-test/used', '--format', '{{.Names}}'])
  expect(filtered).toContain('user')
  await windows.out(['rm', 'user'])
  await windows.out(['rmi', 'oriel-test/used'])
})

test('df and info tell of a Windows engine, and of Wine honestly', async () => {
  const info = JSON.parse(await windows.out(['info', '--format', '{{json .}}']))
  expect(info).toMatchObject({ OSType: 'windows', Isolation: 'process', Driver: 'windowsfilter' })
  expect(info.OperatingSystem).toMatch(/Wine/)
  expect(info.Plugins.Network).toContain('nat')
  expect(await windows.out(['network', 'ls', '--format', '{{.Name}} {{.Driver}}'])).toMatch(/^nat nat$/m)
  expect(await windows.out(['system', 'df'])).toMatch(/Images\s+\d+/)
})
