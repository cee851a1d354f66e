import { copyFileSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { makeCertificates } from '../support/certificates.ts'
import { type RealRegistry, startRegistry } from '../support/docker-registry.ts'
import { temporaryFolder } from '../support/installation-disc.ts'
import { useMachine } from '../support/oriel.ts'
import { tunnelTo } from '../support/tunnel.ts'
import { microsoftLayers, publish, windowsImage, windowsLayer } from '../support/windows-image.ts'

const VERSION = '10.0.20348.3091'
// On loopback no certificate would matter; a proxy, which the agent is told of, makes it another host.
const NAME = 'registry.example.invalid:5000'
const { path: folder, remove } = temporaryFolder()

let registry: RealRegistry
let tunnel: { url: string; close: () => Promise<void> }
beforeAll(async () => {
  const { server } = await makeCertificates(folder, 'DNS:registry.example.invalid')
  const tls = { certificate: join(server, 'cert.pem'), key: join(server, 'key.pem') }
  registry = await startRegistry(join(folder, 'registry'), { tls })
  tunnel = await tunnelTo(Number(registry.host.split(':')[1]))
  // Before the machine is there: its agent gets its environment from the command.
  Object.assign(windows.home.env, { https_proxy: tunnel.url })
})
const windows = useMachine('registry-tls')
afterAll(async () => {
  await tunnel?.close()
  await registry?.stop()
  remove()
})

test('a registry with a CA of its own is used once its certificate is where docker looks for it', async () => {
  const text = Buffer.from('from a team\r\n')
  const layer = await windowsLayer('COPY a.txt', [{ name: 'Files/a.txt', data: text }])
  const image = windowsImage([...(await microsoftLayers(VERSION)), layer], VERSION, {
    Cmd: ['cmd', '/c', 'type C:\\a.txt']
  })
  await publish(`${registry.host}/team/app:1`, image)
  const name = `${NAME}/team/app:1`
  const certificates = join(windows.home.env.HOME, '.docker', 'certs.d', NAME)

  const { code, stderr } = await windows.docker(['pull', name])
  expect(code).toBe(1)
  expect(stderr).toContain('tls: failed to verify certificate: x509: certificate signed by unknown authority')
  expect(stderr).toContain(`Put the certificate of its CA (PEM) into ${certificates} as ca.crt.`)

  mkdirSync(certificates, { recursive: true })
  copyFileSync(join(folder, 'other-authority', 'ca.pem'), join(certificates, 'ca.crt'))
  expect((await windows.docker(['pull', name])).stderr).toContain(certificates)

  copyFileSync(join(folder, 'authority', 'ca.pem'), join(certificates, 'ca.crt'))
  expect(await windows.out(['pull', name])).toContain(`Digest: ${image.digest}`)
  expect(await windows.out(['run', '--rm', name])).toBe('from a team')
  const copy = `${NAME}/team/copy:1`
  await windows.out(['tag', name, copy])
  expect(await windows.out(['push', copy])).toContain(`1: digest: ${image.digest}`)

  copyFileSync(join(folder, 'client', 'cert.pem'), join(certificates, 'client.cert'))
  expect((await windows.docker(['pull', copy])).stderr).toContain(
    'missing key client.key for client certificate client.cert'
  )
  copyFileSync(join(folder, 'client', 'key.pem'), join(certificates, 'client.key'))
  await windows.out(['pull', copy])
  await windows.out(['rmi', name, copy])
}, 120_000)
