import { createSocket } from 'node:dgram'
import { beforeAll, expect, test } from 'vitest'
import { buildNodeImage, NODE_IMAGE } from '../support/node-image.ts'
import { useMachine } from '../support/oriel.ts'
import { freePort, waitFor } from '../support/wait.ts'

const windows = useMachine('ports')

beforeAll(() => buildNodeImage(windows), 300_000)

const get = async (port: number | string, host = '127.0.0.1') =>
  (await fetch(`http://${host}:${port}/x`, { signal: AbortSignal.timeout(3000) })).text()

const reaches = (port: number | string, host?: string) =>
  waitFor(() => get(port, host).then(text => text.includes('hello from win32')), 20_000, `an answer on port ${port}`)

async function serving(name: string, ...options: string[]): Promise<void> {
  await windows.out(['run', '-d', '--name', name, ...options, NODE_IMAGE])
}

test('-p HOST:CONTAINER', async () => {
  const port = await freePort()
  await serving('fixed', '-p', `${port}:80`)
  await reaches(port)
  expect(await windows.out(['port', 'fixed', '80'])).toMatch(new RegExp(`^0\\.0\\.0\\.0:${port}`))
  expect(await windows.out(['ps', '--filter', 'name=fixed', '--format', '{{.Ports}}'])).toContain(`:${port}->80/tcp`)
  expect((await windows.inspectContainer('fixed')).HostConfig.PortBindings).toMatchObject({
    '80/tcp': [{ HostPort: String(port) }]
  })
  await windows.out(['restart', 'fixed'])
  await reaches(port)

  const taken = await windows.docker(['run', '--rm', '-p', `${port}:80`, NODE_IMAGE])
  expect(taken.code).toBe(125)
  expect(taken.stderr).toMatch(/already allocated|already in use/)
  await windows.out(['rm', '-f', 'fixed'])
  await expect(get(port)).rejects.toThrow()
})

test('-p ADDRESS::CONTAINER takes a free port of that address only', async () => {
  await serving('local', '-p', '127.0.0.1::80')
  const [address = '', port = ''] = (await windows.out(['port', 'local', '80'])).split(':')
  expect(address).toBe('127.0.0.1')
  await reaches(port)
  await windows.out(['rm', '-f', 'local'])
})

test('-p CONTAINER and -P', async () => {
  await serving('some', '-p', '80')
  await reaches((await windows.out(['port', 'some', '80'])).split('\n')[0]?.split(':').at(-1) ?? '')
  await windows.out(['rm', '-f', 'some'])

  await serving('every', '-P')
  await reaches((await windows.out(['port', 'every', '80/tcp'])).split('\n')[0]?.split(':').at(-1) ?? '')
  await windows.out(['rm', '-f', 'every'])
})

test('a range of host ports gives one of them', async () => {
  const port = await freePort()
  await serving('ranged', '-p', `${port}-${port + 9}:80`)
  const given = Number((await windows.out(['port', 'ranged', '80'])).split('\n')[0]?.split(':').at(-1))
  expect(given).toBeGreaterThanOrEqual(port)
  expect(given).toBeLessThan(port + 10)
  await reaches(given)
  await windows.out(['rm', '-f', 'ranged'])
})

test('-p with /udp', async () => {
  const port = await freePort()
  await serving('datagrams', '-p', `${port}:80/udp`)
  const socket = createSocket('udp4')
  let answer = ''
  socket.on('message', message => {
    answer = String(message)
  })
  const asks = () => {
    socket.send('ping', port, '127.0.0.1')
    return answer === 'back: ping'
  }
  await waitFor(asks, 20_000, 'a datagram comes back')
  socket.close()
  await windows.out(['rm', '-f', 'datagrams'])
})

test('containers of one network find each other by name', async () => {
  await windows.out(['network', 'create', 'inner'])
  await serving('web', '--network', 'inner')
  const script = "fetch('http://web/').then(r => r.text()).then(console.log)"
  const asks = async () =>
    (await windows.docker(['run', '--rm', '--network', 'inner', NODE_IMAGE, 'node', '-e', script])).stdout
  await waitFor(async () => (await asks()).includes('hello from win32'), 30_000, 'the other container answers')
  expect(await windows.out(['network', 'inspect', '--format', '{{.Driver}}', 'inner'])).toBe('nat')
  await windows.out(['rm', '-f', 'web'])
  await windows.out(['network', 'rm', 'inner'])
})
