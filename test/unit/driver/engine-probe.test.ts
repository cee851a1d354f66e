import { afterEach, beforeEach, expect, test } from 'vitest'
import { endpointOf } from '#driver/driver.ts'
import { driverNamed } from '#driver/drivers.ts'
import { probeEngine } from '#driver/wine/engine-probe.ts'
import { FakeEngine } from './fake-engine.ts'

let fake: FakeEngine
beforeEach(async () => {
  fake = await new FakeEngine().start()
})
afterEach(() => fake.stop())

test('an engine says what it is', async () => {
  expect(await probeEngine({ url: fake.url })).toEqual({
    version: '28.0.0',
    apiVersion: '1.48',
    os: 'linux',
    arch: 'amd64',
    operatingSystem: 'Debian',
    dataRoot: '/data',
    podman: false,
    gateway: false
  })
})

test('our own gateway and podman are recognised', async () => {
  fake.info = { OSType: 'windows', OperatingSystem: 'Windows Server 2022 (Oriel, Wine 10.0)' }
  expect(await probeEngine({ url: fake.url })).toMatchObject({ gateway: true, os: 'windows' })
  fake.info = { OSType: 'linux', Labels: ['dev.oriel.machine=x'] }
  fake.version = { Components: [{ Name: 'Podman Engine' }] }
  expect(await probeEngine({ url: fake.url })).toMatchObject({ gateway: true, podman: true })
})

test('an engine that refuses or is gone is told by its address', async () => {
  fake.other = (_, response) => {
    response.statusCode = 500
    response.end('{"message":"broken inside"}')
    return true
  }
  await expect(probeEngine({ url: fake.url })).rejects.toMatchObject({
    exitCode: 4,
    message: expect.stringContaining('500: broken inside')
  })
  await expect(probeEngine({ url: 'unix:///no/such.sock' })).rejects.toMatchObject({
    exitCode: 4,
    message: expect.stringContaining('unix:///no/such.sock')
  })
  await expect(probeEngine({ url: 'nonsense' })).rejects.toMatchObject({ exitCode: 2 })
})

test('an interrupted look says so', async () => {
  fake.other = () => true
  const controller = new AbortController()
  setTimeout(() => controller.abort(), 20)
  await expect(probeEngine({ url: fake.url }, controller.signal)).rejects.toMatchObject({ exitCode: 130 })
})

test('keys that are not there are left out; skipVerify alone means TLS', async () => {
  expect(await endpointOf({ url: 'tcp://h:1', tlsFolder: '/no/such/folder' })).toMatchObject({ kind: 'tcp', tls: {} })
  expect(await endpointOf({ url: 'tcp://h:1', skipVerify: true })).toMatchObject({ tls: { skipVerify: true } })
  expect(await endpointOf({ url: 'tcp://h:1' })).toEqual({ kind: 'tcp', host: 'h', port: 1 })
})

test('drivers of later versions and unknown ones are told apart', async () => {
  expect((await driverNamed('wine')).name).toBe('wine')
  await expect(driverNamed('fusion')).rejects.toMatchObject({
    exitCode: 4,
    message: 'the fusion driver is not part of this version.'
  })
  await expect(driverNamed('bochs')).rejects.toMatchObject({ exitCode: 2 })
})
