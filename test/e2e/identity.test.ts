import { expect, test } from 'vitest'
import { useMachine } from '../support/oriel.ts'

const windows = useMachine('identity')

/** The lines that a command line of cmd prints in a new container. */
async function cmd(image: string, line: string, ...options: string[]): Promise<string[]> {
  const said = await windows.out(['run', '--rm', ...options, image, 'cmd', '/c', line])
  return said.split('\n').map(text => text.trim())
}

async function environment(image: string, ...options: string[]): Promise<Map<string, string>> {
  const lines = await cmd(image, 'set', ...options)
  return new Map(
    lines
      .filter(line => line.includes('='))
      .map(line => [line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1)])
  )
}

test.each([
  ['nanoserver', [], 'ContainerUser'],
  ['windowsservercore', [], 'ContainerAdministrator'],
  ['nanoserver', ['--user', 'ContainerAdministrator'], 'ContainerAdministrator'],
  ['windowsservercore', ['--user', 'containeruser'], 'ContainerUser']
])('%s %j runs as %s', async (image, options, user) => {
  const [whoami = '', name = '', profile = ''] = await cmd(
    image,
    'whoami& echo %USERNAME%& cd /d %USERPROFILE%& cd',
    ...options
  )
  expect(whoami.toLowerCase()).toMatch(new RegExp(`\\\\${user.toLowerCase()}$`))
  expect(name).toBe(user)
  expect(profile.toLowerCase()).toBe(`c:\\users\\${user.toLowerCase()}`)
})

test('an unknown user is refused by name', async () => {
  const { code, stderr } = await windows.docker(['run', '--rm', '--user', 'nobody', 'nanoserver', 'cmd', '/c', 'ver'])
  expect(code).toBe(125)
  expect(stderr).toContain('nobody')
})

test.each([
  ['mcr.microsoft.com/windows/nanoserver:ltsc2019', '17763'],
  ['mcr.microsoft.com/windows/nanoserver:ltsc2022', '20348'],
  ['mcr.microsoft.com/windows/nanoserver:ltsc2025', '26100']
])('%s says build %s everywhere', async (image, build) => {
  expect((await cmd(image, 'ver')).join('')).toMatch(new RegExp(`Microsoft Windows.*10\\.0\\.${build}`))
  const key = 'HKLM\\SOFTWARE\\Microsoft\\Windows NT\\CurrentVersion'
  const said = await windows.out(['run', '--rm', image, 'reg', 'query', key, '/v', 'CurrentBuildNumber'])
  expect(said).toMatch(new RegExp(`CurrentBuildNumber\\s+REG_SZ\\s+${build}`))
  const osVersion = await windows.out(['image', 'inspect', '--format', '{{.OsVersion}}', image])
  expect(osVersion).toMatch(new RegExp(`^10\\.0\\.${build}\\.\\d+$`))
})

test('the environment is that of Windows, without a trace of Wine or Linux', async () => {
  const variables = await environment('windowsservercore', '--hostname', 'web')
  expect(Object.fromEntries(variables)).toMatchObject({
    OS: 'Windows_NT',
    COMPUTERNAME: 'WEB',
    PROCESSOR_ARCHITECTURE: 'AMD64',
    SystemDrive: expect.stringMatching(/^C:$/i),
    SystemRoot: expect.stringMatching(/^C:\\windows$/i),
    TEMP: expect.stringMatching(/^C:\\/i)
  })
  const path = [...variables].find(([name]) => name.toLowerCase() === 'path')?.[1] ?? ''
  expect(path.toLowerCase()).toContain('c:\\windows\\system32')
  const names = [...variables.keys()].join('\n')
  expect(names).not.toMatch(/^(WINE|ORIEL|LD_|XDG|LANG|LC_|HOME$|PWD$|SHLVL$|HOSTNAME$|TERM$|_$)/m)
  expect([...variables.values()].join('\n')).not.toMatch(/\/oriel|drive_c|\/usr|\/root|wine/i)
})

test('-e overlays what the image sets, and names compare without case', async () => {
  const variables = await environment('nanoserver', '-e', 'Colour=red', '-e', 'COLOUR=deep red', '-e', 'EMPTY_ONE=')
  const colours = [...variables].filter(([name]) => name.toLowerCase() === 'colour')
  // One of the two: docker's client sends its -e options in no certain order.
  expect(colours.map(([, value]) => value)).toEqual([expect.stringMatching(/^(deep )?red$/)])
  const [path] = await cmd('nanoserver', 'path', '-e', 'path=C:\\mine;C:\\windows\\system32')
  expect(path?.toLowerCase()).toBe('path=c:\\mine;c:\\windows\\system32')
})

test('-w sets the working directory and makes it', async () => {
  expect(await cmd('nanoserver', 'cd', '-w', 'C:\\some\\Where')).toEqual(['C:\\some\\Where'])
  expect(await cmd('nanoserver', 'cd', '-w', 'c:/windows')).toEqual([expect.stringMatching(/^C:\\windows$/i)])
  expect(await cmd('nanoserver', 'cd')).toEqual(['C:\\'])
})

test('C: is the only drive', async () => {
  const drives = [...'ABDEFGHIJKLMNOPQRSTUVWXYZ'].join(' ')
  const line = `for %d in (${drives}) do @if exist %d:\\ echo drive %d`
  expect(await cmd('nanoserver', line)).toEqual([''])
  expect(await cmd('nanoserver', 'if exist C:\\ echo there')).toEqual(['there'])
})

test('the host name is that of the container', async () => {
  expect(await cmd('windowsservercore', 'hostname', '--hostname', 'web')).toEqual([expect.stringMatching(/^web$/i)])
})
