import { cpSync, mkdirSync, writeFileSync } from 'node:fs'
import { request } from 'node:http'
import { join } from 'node:path'
import { PassThrough } from 'node:stream'
import Docker from 'dockerode'
import { beforeAll, expect, test } from 'vitest'
import { PROJECT, run } from '../support/command.ts'
import { buildNodeImage, NODE_IMAGE } from '../support/node-image.ts'
import { useMachine } from '../support/oriel.ts'
import { freePort, waitFor } from '../support/wait.ts'

const windows = useMachine('clients')
let dockerode: Docker

beforeAll(async () => {
  await buildNodeImage(windows)
  dockerode = new Docker({ socketPath: windows.socket })
}, 300_000)

/** Gathers what comes out of a stream. */
function gather(stream: NodeJS.ReadableStream): { text: () => string } {
  let text = ''
  stream.on('data', chunk => {
    text += chunk
  })
  return { text: () => text }
}

test('dockerode: version, pull, run and its exit code', async () => {
  expect(await dockerode.version()).toMatchObject({ Os: 'windows', Arch: 'amd64' })
  const pull = await dockerode.pull('nanoserver:latest')
  await new Promise(resolve => dockerode.modem.followProgress(pull, resolve))
  const output = new PassThrough()
  const said = gather(output)
  const [result] = await dockerode.run('nanoserver', ['cmd', '/c', 'echo from dockerode& exit 300'], output, {
    Tty: false
  })
  expect(result.StatusCode).toBe(300)
  expect(said.text().trim()).toContain('from dockerode')
})

test('dockerode: attach with standard input, hijacked', async () => {
  const container = await dockerode.createContainer({
    Image: NODE_IMAGE,
    Cmd: ['node', 'upper.mjs'],
    OpenStdin: true,
    StdinOnce: true,
    AttachStdin: true,
    AttachStdout: true
  })
  const stream = await container.attach({ stream: true, stdin: true, stdout: true, stderr: true, hijack: true })
  const output = new PassThrough()
  const said = gather(output)
  dockerode.modem.demuxStream(stream, output, output)
  await container.start()
  stream.write('typed by dockerode')
  stream.end()
  expect((await container.wait()).StatusCode).toBe(0)
  await waitFor(() => said.text() === 'TYPED BY DOCKERODE', 5000, 'the output')
  await container.remove()
})

test('dockerode: exec, stats, top, putArchive and events', async () => {
  const container = await dockerode.createContainer({ Image: NODE_IMAGE, name: 'ode', Labels: { made: 'by-ode' } })
  await container.start()
  const exec = await container.exec({
    Cmd: ['cmd', '/c', 'echo exec& exit 1000'],
    AttachStdout: true,
    AttachStderr: true
  })
  const stream = await exec.start({ hijack: true, stdin: false })
  const said = gather(stream)
  await new Promise(resolve => stream.on('end', resolve))
  expect(said.text()).toContain('exec')
  expect((await exec.inspect()).ExitCode).toBe(1000)
  expect((await container.top()).Titles).toContain('Private Working Set')
  const stats = await container.stats({ stream: false })
  expect(stats.memory_stats).toHaveProperty('privateworkingset')
  const listed = await dockerode.listContainers({ filters: { label: ['made=by-ode'] } })
  expect(listed.map(({ Names }) => Names)).toEqual([['/ode']])
  await container.stop()
  await container.remove()
})

test('attach over a websocket', async () => {
  await windows.out(['run', '-d', '-i', '--name', 'socket', 'nanoserver', 'cmd', '/q'])
  const path = '/v1.41/containers/socket/attach/ws?stream=1&stdin=1&stdout=1&logs=1'
  const headers = {
    Connection: 'Upgrade',
    Upgrade: 'websocket',
    'Sec-WebSocket-Version': '13',
    'Sec-WebSocket-Key': 'b3JpZWwtb3JpZWwtb3JpZQ==',
    Origin: 'http://localhost'
  }
  let said = ''
  const call = request({ socketPath: windows.socket, path, headers })
  call.on('upgrade', (response, socket, head) => {
    expect(response.statusCode).toBe(101)
    said += head.toString()
    socket.on('data', chunk => {
      said += chunk
    })
    const text = Buffer.from('echo by websocket\r\n')
    // A client's frame is masked; a mask of zeros leaves the text as it is.
    socket.write(Buffer.concat([Buffer.from([0x81, 0x80 | text.length, 0, 0, 0, 0]), text]))
  })
  call.end()
  await waitFor(() => said.includes('by websocket'), 15_000, 'the answer over the websocket')
  call.destroy()
  await windows.out(['rm', '-f', 'socket'])
})

test('docker-compose: two services, a build, a volume and a port', async () => {
  const folder = join(windows.home.root, 'compose')
  mkdirSync(join(folder, 'web'), { recursive: true })
  const port = await freePort()
  cpSync(join(PROJECT, 'test', 'fixtures', 'node', 'serve.mjs'), join(folder, 'web', 'page.mjs'))
  writeFileSync(
    join(folder, 'web', 'Dockerfile'),
    `FROM ${NODE_IMAGE}\nCOPY page.mjs C:/app/\nCMD ["node", "page.mjs"]\n`
  )
  const ask =
    "const s = 'C:/data/answer.txt'; setInterval(() => fetch('http://web/').then(r => r.text()).then(t => { fs.writeFileSync(s, t); console.log(t) }, () => {}), 300)"
  writeFileSync(
    join(folder, 'docker-compose.yml'),
    JSON.stringify({
      version: '3.7',
      services: {
        web: { build: './web', ports: [`${port}:80`] },
        asker: {
          image: NODE_IMAGE,
          command: ['node', '-e', ask],
          // The short form of a volume is split wrongly by docker-compose 1 on a client that is not Windows.
          volumes: [
            { type: 'volume', source: 'answers', target: 'C:\\data' },
            { type: 'bind', source: './web', target: 'C:\\web', read_only: true }
          ],
          depends_on: ['web']
        }
      },
      volumes: { answers: {} }
    })
  )
  const compose = async (...args: string[]) => {
    const env = { ...windows.home.env, DOCKER_HOST: windows.url, COMPOSE_PROJECT_NAME: 'oriel-test' }
    const said = await run('docker-compose', args, { cwd: folder, env, timeoutMs: 300_000 })
    if (said.code !== 0) throw new Error(`docker-compose ${args.join(' ')}: ${said.code}\n${said.stdout}${said.stderr}`)
    return said.stdout
  }
  await compose('up', '-d')
  try {
    const text = await waitFor(async () => (await fetch(`http://127.0.0.1:${port}/`)).text(), 30_000, 'the web service')
    expect(text).toContain('hello from win32')
    const logs = await waitFor(
      async () => /hello from win32/.exec(await compose('logs', 'asker'))?.[0],
      30_000,
      'one service reaches the other by its name'
    )
    expect(logs).toBe('hello from win32')
    expect(await compose('exec', '-T', 'asker', 'cmd', '/c', 'type C:\\data\\answer.txt')).toContain('hello from win32')
    expect(await compose('exec', '-T', 'asker', 'cmd', '/c', 'dir /b C:\\web')).toContain('page.mjs')
    expect(await compose('ps')).toMatch(/web[\s\S]*(Up|running)/i)
  } finally {
    await compose('down', '-v')
  }
  expect(await windows.out(['volume', 'ls', '-q'])).not.toContain('oriel-test_answers')
}, 300_000)
