import { expect, test } from 'vitest'
import { FolderNames } from '#image/layer/folder-names.ts'
import { originalImage, originConfig, playableBuilds, releaseFor, windowsConfigOf } from '#image/origin.ts'

test.each([
  ['10.0.20348.2700', 'ltsc2022'],
  ['10.0.17763.1', 'ltsc2019'],
  ['10.0.14393.5000', 'ltsc2019'],
  ['10.0.20349.1', 'ltsc2025'],
  ['10.0.99999.1', 'ltsc2025'],
  ['', 'ltsc2022'],
  ['what', 'ltsc2022']
])('Windows %s is played by %s', (version, tag) => {
  expect(releaseFor(version).tag).toBe(tag)
})

test('of an index the default release is preferred', () => {
  expect(playableBuilds()).toEqual({ maxBuild: 26100, preferBuild: 20348 })
})

test('a config is taken as it is, but for what is of a wrong type or is Oriel’s own', () => {
  expect(
    windowsConfigOf({
      Cmd: ['a b'],
      Entrypoint: 'no list',
      Env: ['A=b', 7],
      User: 'ContainerUser',
      WorkingDir: 7,
      ArgsEscaped: true,
      ExposedPorts: { '80/tcp': {}, '81/tcp': 'x' },
      Volumes: {},
      Labels: { a: 'b', n: 1, 'dev.oriel.image': '{}' },
      Shell: ['powershell'],
      StopSignal: '',
      Healthcheck: { Test: ['CMD', 'x'], Interval: 5, Evil: 'y' }
    })
  ).toEqual({
    Cmd: ['a b'],
    Entrypoint: null,
    Env: [],
    User: 'ContainerUser',
    WorkingDir: '',
    ArgsEscaped: true,
    ExposedPorts: { '80/tcp': {}, '81/tcp': {} },
    Volumes: null,
    Labels: { a: 'b' },
    OnBuild: null,
    Shell: ['powershell'],
    Healthcheck: { Test: ['CMD', 'x'], Interval: 5 }
  })
  for (const value of [undefined, null, [], 'x']) expect(windowsConfigOf(value)).toMatchObject({ Cmd: null, Env: [] })
})

test('an original tells its release, version and folders', () => {
  const origin = { id: 'sha256:1', manifest: 'sha256:2', config: '{"a":1}' }
  const config = { os: 'windows', architecture: 'amd64', osVersion: '10.0.17763.5', diffIds: [], history: [], json: {} }
  expect(originalImage(config, origin, ['App'])).toMatchObject({
    osVersion: '10.0.17763.5',
    release: 'ltsc2019',
    folders: ['App'],
    origin
  })
  expect(originConfig(origin)).toEqual({ a: 1 })
  expect(originConfig({ ...origin, config: '[' })).toEqual({})
})

test('folders keep the name that came first, whatever the case', () => {
  const names = new FolderNames(['App'])
  names.add(['APP', 'Lib', 'x', 'y', 'too deep'])
  names.add(['Windows', 'SYSTEM32'])
  names.add(['Users', 'Me'])
  expect(names.made).toEqual(['App', 'App/Lib', 'App/Lib/x', 'App/Lib/x/y', 'users/Me'])
  names.remove(['app', 'LIB'])
  expect(new FolderNames(names.made).made).toEqual(['App', 'users/Me'])
})

test('folders without end do not fill a label', () => {
  const names = new FolderNames([])
  for (let at = 0; at < 5000; at += 1) names.add([`folder-${at}`])
  expect(names.made.length).toBeLessThanOrEqual(1000)
})
