import { execFileSync } from 'node:child_process'
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import type { AgentReply } from '#agent/control.ts'
import { serveControl } from '#agent/control-server.ts'
import { certificates, renewCertificates } from '#machine/certs.ts'
import { up } from '#machine/up.ts'
import { FakeVm } from './fake-vm.ts'

let fake: FakeVm
beforeEach(async () => {
  fake = new FakeVm()
  await up({ ...fake.request(), driver: 'fake' })
  fake.asked.length = 0
})
afterEach(() => fake.remove())

test('certificates are where they are, until when the one of the client holds', async () => {
  await expect(certificates(fake.request())).rejects.toMatchObject({ exitCode: 3, hint: 'oriel up win makes them.' })
  const folder = join(fake.paths.folder, 'tls')
  mkdirSync(folder)
  const files = ['-keyout', join(folder, 'key.pem'), '-out', join(folder, 'cert.pem')]
  const what = ['-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-subj', '/CN=x']
  execFileSync('openssl', ['req', ...what, '-days', '10', ...files], { stdio: 'ignore' })
  const { validTo, ...rest } = await certificates(fake.request())
  expect(rest).toEqual({ folder, engine: 'tcp://127.0.0.1:1' })
  expect(Math.round((Date.parse(validTo) - Date.now()) / 86_400_000)).toBe(10)
})

test('new certificates reach the agent that runs, and wake none that does not', async () => {
  await renewCertificates(fake.request())
  expect(fake.asked).toEqual(['vm.renewCertificates'])
  const place = { home: '/h', folder: '/h', socketFolder: '/h' }
  const status: AgentReply = {
    status: {
      build: 'b',
      pid: 1,
      machine: 'win',
      driver: 'fake',
      place,
      engine: { url: 'tcp://127.0.0.1:1' },
      dockerSocket: '/s',
      startedAt: '',
      health: { ok: false, why: 'x' }
    }
  }
  const control = await serveControl(fake.paths.agentSocket, async () => status)
  try {
    await renewCertificates(fake.request())
  } finally {
    await control.close()
  }
  expect(fake.asked).toEqual(['vm.renewCertificates', 'vm.renewCertificates', 'ensureAgent'])
})
