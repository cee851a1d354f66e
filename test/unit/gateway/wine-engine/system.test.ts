import { afterEach, describe, expect, test } from 'vitest'
import { windowsInfo, windowsVersion } from '#gateway/wine-engine/system.ts'
import { cappedVersion, checkVersion, compareVersions } from '#gateway/wine-engine/version.ts'
import { refusalOf, type Stage, send, stage } from '../../../support/fake-engine.ts'

let open: Stage | undefined
afterEach(async () => {
  await open?.close()
  open = undefined
})

describe('ping', () => {
  test('says Windows and the classic builder, and caps the version', async () => {
    open = await stage({
      'GET /_ping': (_request, response) => {
        response.setHeader('Api-Version', '1.99')
        response.setHeader('Swarm', 'active/manager')
        response.end('OK')
      }
    })
    const { status, headers } = await open.client.request('HEAD', '/_ping')
    expect(status).toBe(200)
    expect(headers).toMatchObject({
      ostype: 'windows',
      'builder-version': '1',
      'api-version': '1.51',
      server: 'Docker/20.10.24 (windows)',
      swarm: 'inactive',
      'content-length': '0'
    })
  })

  test('is refused with words when the engine answers nonsense', async () => {
    open = await stage({ 'GET /_ping': (_request, response) => send(response, 502, { message: 'bad gateway' }) })
    expect(await refusalOf(open.client.json('GET', '/_ping'))).toMatchObject({ status: 503 })
  })

  test('is refused with words when the engine is gone', async () => {
    open = await stage({ 'GET /_ping': (_request, response) => response.destroy() })
    const refusal = await refusalOf(open.client.json('GET', '/_ping'))
    expect(refusal.status).toBe(503)
    expect(refusal.message).toContain('/_ping')
  })
})

describe('version', () => {
  test('is Windows, with Wine in the place of the Linux parts', () => {
    const version = windowsVersion({
      Os: 'linux',
      Arch: 'arm64',
      ApiVersion: '1.60',
      KernelVersion: '6.1.0',
      GoVersion: 'go1.19',
      Platform: { Name: 'Docker Engine - Community' },
      Components: [
        { Name: 'Engine', Version: '1', Details: { Os: 'linux', Arch: 'arm64', GitCommit: 'abc', KernelVersion: '6' } },
        { Name: 'containerd', Version: '1' },
        { Name: 'runc', Version: '1' }
      ]
    })
    expect(version).toMatchObject({ Os: 'windows', Arch: 'amd64', ApiVersion: '1.51', GoVersion: 'go1.19' })
    expect(version.KernelVersion).toMatch(/^10\.0 20348 \(20348\./)
    expect(version.Components).toMatchObject([
      { Name: 'Engine', Details: { Os: 'windows', Arch: 'amd64', GitCommit: 'abc' } },
      { Name: 'Wine', Version: '10.0' }
    ])
  })

  test('of an engine without components has none', () => {
    expect(windowsVersion({})).not.toHaveProperty('Components')
  })
})

describe('info', () => {
  test('names Wine, counts what is of this machine, and forgets cgroups', () => {
    const info = windowsInfo(
      {
        Containers: 40,
        Images: 90,
        CgroupDriver: 'systemd',
        RuncCommit: { ID: 'x' },
        Plugins: { Log: ['json-file'], Network: ['bridge'] },
        Labels: ['com.docker.desktop.address=unix:///x'],
        Swarm: { LocalNodeState: 'active' },
        NCPU: 2
      },
      { machine: 'm1', states: ['running', 'exited', 'paused', 'created'], images: 3 }
    )
    expect(info).toMatchObject({
      Containers: 4,
      ContainersRunning: 1,
      ContainersPaused: 1,
      ContainersStopped: 2,
      Images: 3,
      Isolation: 'process',
      Labels: ['dev.oriel.machine=m1'],
      NCPU: 2,
      OSType: 'windows',
      Plugins: { Log: ['json-file'], Volume: ['local'] },
      Swarm: { LocalNodeState: 'inactive' }
    })
    expect(info.OperatingSystem).toContain('Wine')
    expect(info).not.toHaveProperty('CgroupDriver')
    expect(info).not.toHaveProperty('RuncCommit')
  })
})

describe('versions', () => {
  test.each([
    ['1.9', '1.10', -1],
    ['1.41', '1.41', 0],
    ['2.0', '1.99', 1]
  ])('%s against %s', (a, b, sign) => {
    expect(Math.sign(compareVersions(a, b))).toBe(sign)
  })

  test('are capped at what the rewrites know', () => {
    expect(cappedVersion('1.41')).toBe('1.41')
    expect(cappedVersion('1.56')).toBe('1.51')
  })

  test('too old and too new are refused in the words of the engine', () => {
    expect(() => checkVersion('1.10', '1.12', '1.41')).toThrow(
      'client version 1.10 is too old. Minimum supported API version is 1.12, please upgrade your client to a newer version'
    )
    expect(() => checkVersion('1.42', '1.12', '1.41')).toThrow(
      'client version 1.42 is too new. Maximum supported API version is 1.41'
    )
    expect(() => checkVersion('', '1.12', '1.41')).not.toThrow()
    expect(() => checkVersion('1.41', '', '1.41')).not.toThrow()
  })

  test('in a path are refused before any route', async () => {
    open = await stage({})
    expect(await refusalOf(open.client.json('GET', '/v1.99/info'))).toMatchObject({ status: 400 })
  })
})

test('what no route names goes through, under the head of a Windows daemon', async () => {
  open = await stage({ 'GET /new/thing': { Any: 1 } })
  const answer = await open.client.request('GET', '/v1.41/new/thing?a=b')
  expect(answer.headers).toMatchObject({ ostype: 'windows', server: 'Docker/20.10.24 (windows)' })
  expect(JSON.parse(Buffer.concat(await answer.body.toArray()).toString())).toEqual({ Any: 1 })
  expect(open.seen.at(-1)).toMatchObject({ path: '/new/thing' })
})
