import { spawn } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, inject, test } from 'vitest'
import { keysHash } from '#agent/keys.ts'
import { agentBuild, ensureAgent, stopAgent } from '#agent/start.ts'
import { agentPids, residentBytes } from '../support/agent.ts'
import { type Certificates, makeCertificates } from '../support/certificates.ts'
import { cleanEnv, type Result, type RunOptions, run } from '../support/command.ts'
import { claimSlot, type Engine, startEngine } from '../support/engine.ts'
import { temporaryHome } from '../support/home.ts'
import { makeTar } from '../support/tar.ts'
import { TerminalSession } from '../support/terminal.ts'
import { freePort, waitFor } from '../support/wait.ts'

// The engine of a virtual machine as far as the gateway goes: a real dockerd behind mutual TLS on a loopback port, which the
// gateway passes through. What it runs are Linux containers; the bytes are the same.

const IMAGE = 'debian:trixie-slim'
const home = temporaryHome()
const slot = claimSlot()
let engine: Engine
let port: number
let certificates: Certificates
let socket: string

beforeAll(async () => {
  certificates = await makeCertificates(home.root)
  port = await freePort()
  engine = await startTlsEngine()
  // The engine's folder is kept between runs, and one of them may have been killed.
  await removeContainers()
  const load = `docker -H '${inject('engine')}' save ${IMAGE} | docker -H '${engine.url}' load`
  const loaded = await run('sh', ['-c', load], { timeoutMs: 300_000 })
  if (loaded.code !== 0) throw new Error(loaded.stderr)
  socket = await startAgent('win', certificates.client)
}, 600_000)

afterAll(async () => {
  if (engine !== undefined) await removeContainers()
  for (const name of ['win', 'stranger', 'expired']) await stopAgent(join(folderOf(name), 'agent.sock'))
  await engine?.stop()
  slot.release()
  home.remove()
}, 120_000)

async function removeContainers(): Promise<void> {
  const ids = (await run('docker', ['-H', engine.url, 'ps', '-aq'])).stdout.split('\n').filter(Boolean)
  if (ids.length > 0) await run('docker', ['-H', engine.url, 'rm', '-f', '-v', ...ids])
}

function startTlsEngine(): Promise<Engine> {
  const { server } = certificates
  const tls = ['--tlsverify', '--tlscacert', `${server}/ca.pem`, '--tlscert', `${server}/cert.pem`]
  const host = ['--host', `tcp://127.0.0.1:${port}`]
  return startEngine(slot, undefined, [...host, ...tls, '--tlskey', `${server}/key.pem`])
}

const folderOf = (name: string) => join(home.env.ORIEL_HOME, 'machines', name)

/** Starts the real agent in front of the engine, with the keys of this folder. Gives the path of its docker socket. */
async function startAgent(machine: string, tlsFolder: string): Promise<string> {
  const folder = folderOf(machine)
  mkdirSync(folder, { recursive: true })
  const keys = await keysHash(tlsFolder)
  const config = {
    machine,
    build: await agentBuild(),
    driver: 'qemu',
    place: { home: home.env.ORIEL_HOME, folder, socketFolder: folder },
    engine: { url: `tcp://127.0.0.1:${port}`, tlsFolder },
    ...(keys === undefined ? {} : { keys }),
    dockerSocket: join(folder, 'docker.sock'),
    agentSocket: join(folder, 'agent.sock'),
    logFile: join(folder, 'agent.log')
  }
  const former = process.env.ORIEL_HOME
  process.env.ORIEL_HOME = home.env.ORIEL_HOME
  try {
    await ensureAgent(config, join(folder, 'agent.json'), AbortSignal.timeout(30_000))
  } finally {
    if (former === undefined) delete process.env.ORIEL_HOME
    else process.env.ORIEL_HOME = former
  }
  return config.dockerSocket
}

function docker(args: readonly string[], options: RunOptions = {}, path = socket): Promise<Result> {
  const env = { ...home.env, DOCKER_HOST: `unix://${path}`, DOCKER_BUILDKIT: '0', ...options.env }
  return run('docker', args, { ...options, env })
}

async function out(args: readonly string[], options: RunOptions = {}): Promise<string> {
  const { code, stdout, stderr } = await docker(args, options)
  expect(code, stderr).toBe(0)
  return stdout.trim()
}

test('the engine is seen as it is', async () => {
  const direct = await run('docker', ['-H', engine.url, 'version', '-f', '{{json .Server}}'])
  expect(JSON.parse(await out(['version', '-f', '{{json .Server}}']))).toEqual(JSON.parse(direct.stdout))
})

test.each(['a length', 'chunks'])('a build ends with its client, when the context came with %s', async framing => {
  const context = await makeTar([
    { name: 'Dockerfile', data: Buffer.from(`FROM ${IMAGE}\nRUN sleep 120 # ${framing}\n`) }
  ])
  const lines = ['POST /build HTTP/1.1', 'Host: d', 'Content-Type: application/x-tar']
  const body =
    framing === 'a length'
      ? [`Content-Length: ${context.length}\r\n\r\n`, context]
      : [`Transfer-Encoding: chunked\r\n\r\n${context.length.toString(16)}\r\n`, context, '\r\n0\r\n\r\n']
  const client = connect(socket)
  client.write(`${lines.join('\r\n')}\r\n`)
  for (const piece of body) client.write(piece)
  let said = ''
  client.setEncoding('utf8').on('data', text => {
    said += text
  })
  await waitFor(() => said.includes('Running in'), 30_000, 'the RUN has begun')
  const running = async () => (await run('docker', ['-H', engine.url, 'ps', '-q'])).stdout !== ''
  await waitFor(running, 10_000, 'its container runs')
  client.destroy()
  await waitFor(async () => !(await running()), 20_000, 'its container is ended')
})

test('run gives output and exit code', async () => {
  const { code, stdout, stderr } = await docker(['run', '--rm', IMAGE, 'sh', '-c', 'echo out; echo err >&2; exit 7'])
  expect({ code, stdout, stderr }).toEqual({ code: 7, stdout: 'out\n', stderr: 'err\n' })
})

test('the end of standard input reaches the container, and what it says after that comes back', async () => {
  expect(await out(['run', '--rm', '-i', IMAGE, 'cat'], { input: 'hello' })).toBe('hello')
  const after = ['run', '--rm', '-i', IMAGE, 'sh', '-c', 'cat >/dev/null; sleep 2; echo after']
  expect(await out(after, { input: 'x' })).toBe('after')
  expect(await out(['run', '--rm', '-i', IMAGE, 'wc', '-c'], { input: '' })).toBe('0')
})

test('a large input arrives whole, and a large output too', async () => {
  const data = randomBytes(24 * 1024 * 1024)
  const hash = createHash('sha256').update(data).digest('hex')
  expect(await out(['run', '--rm', '-i', IMAGE, 'sha256sum'], { input: data })).toBe(`${hash}  -`)
  const { stdout } = await docker(['run', '--rm', IMAGE, 'sh', '-c', 'yes 0123456789abcde | head -c 16777216'])
  expect(stdout).toHaveLength(16 * 1024 * 1024)
})

test('exec under a terminal talks both ways', async () => {
  await out(['run', '-d', '--name', 'talker', IMAGE, 'sleep', '600'])
  const session = new TerminalSession(['docker', 'exec', '-it', 'talker', 'sh'], {
    ...home.env,
    DOCKER_HOST: `unix://${socket}`
  })
  try {
    await session.seeLast(/# $|#$/)
    session.type('echo $((6 * 7)); stty size\r')
    await session.see(/^42$/)
    await session.see(/^40 120$/)
    session.type('exit 5\r')
    expect(await session.exitCode()).toBe(5)
  } finally {
    session.close()
  }
})

test('exec -i ends with its input', async () => {
  await out(['run', '-d', '--name', 'worker', IMAGE, 'sleep', '600'])
  expect(await out(['exec', '-i', 'worker', 'wc', '-c'], { input: '12345' })).toBe('5')
})

test('logs -f follows to the end of the container', async () => {
  await out(['run', '-d', '--name', 'logged', IMAGE, 'sh', '-c', 'for i in 1 2 3; do echo line $i; sleep 1; done'])
  expect(await out(['logs', '-f', 'logged'])).toBe('line 1\nline 2\nline 3')
})

test('files are copied both ways', async () => {
  await out(['run', '-d', '--name', 'copied', IMAGE, 'sleep', '600'])
  const here = join(home.root, 'here.bin')
  const back = join(home.root, 'back.bin')
  writeFileSync(here, randomBytes(3_000_000))
  await out(['cp', here, 'copied:/there.bin'])
  await out(['cp', 'copied:/there.bin', back])
  expect(readFileSync(back).equals(readFileSync(here))).toBe(true)
})

test('an image is built', async () => {
  const context = join(home.root, 'context')
  mkdirSync(context)
  writeFileSync(join(context, 'file'), 'from the context\n')
  writeFileSync(join(context, 'Dockerfile'), `FROM ${IMAGE}\nCOPY file /file\nRUN echo built >> /file\nCMD cat /file\n`)
  await out(['build', '-t', 'oriel-test/tls', context])
  expect(await out(['run', '--rm', 'oriel-test/tls'])).toBe('from the context\nbuilt')
  await out(['rmi', 'oriel-test/tls'])
})

test('events come as they happen', async () => {
  const child = spawn('docker', ['events', '--filter', 'container=eventful', '--format', '{{.Action}}'], {
    env: cleanEnv({ ...home.env, DOCKER_HOST: `unix://${socket}` })
  })
  let said = ''
  child.stdout.on('data', chunk => {
    said += chunk
  })
  try {
    await waitFor(
      async () => {
        await out(['run', '--rm', '--name', 'eventful', IMAGE, 'true'])
        return said.includes('start') && said.includes('die')
      },
      30_000,
      'events of a container'
    )
  } finally {
    child.kill('SIGKILL')
  }
})

test('the agent stays small, and holds no connection that a client has left', async () => {
  const [pid = 0] = agentPids(home)
  expect(residentBytes(pid)).toBeLessThan(120e6)
  const open = async () => {
    const { stdout } = await run('ss', ['-Htn', 'state', 'established', `( dport = :${port} )`])
    return stdout.split('\n').filter(Boolean).length
  }
  const during = await open()
  for (let i = 0; i < 20; i++) await out(['ps', '-q'])
  expect(await open()).toBeLessThanOrEqual(during + 1)
})

test('the engine is on the loopback interface alone', async () => {
  const { stdout } = await run('ss', ['-Htln', `( sport = :${port} )`])
  expect(stdout.match(/\S+:\d+/g)?.[0]).toBe(`127.0.0.1:${port}`)
})

const straight = (...args: string[]) =>
  run('docker', ['-H', `tcp://127.0.0.1:${port}`, ...args, 'version'], { env: home.env })
const withKeys = (folder: string) =>
  straight(
    '--tlsverify',
    '--tlscacert',
    `${folder}/ca.pem`,
    '--tlscert',
    `${folder}/cert.pem`,
    '--tlskey',
    `${folder}/key.pem`
  )

test('the engine lets nobody in without a certificate of its authority', async () => {
  expect((await withKeys(certificates.client)).code).toBe(0)
  expect((await straight()).stderr).toMatch(/HTTP request to an HTTPS server/i)
  const refused = [
    await straight('--tlsverify', '--tlscacert', `${certificates.client}/ca.pem`),
    await withKeys(certificates.stranger),
    await withKeys(certificates.expired)
  ]
  for (const { code, stderr } of refused) {
    expect(code).toBe(1)
    // With TLS 1.3 the client may be cut off while it still writes, before it has read why.
    expect(stderr).toMatch(/certificate|unknown authority|expired|connection reset|broken pipe|EOF/i)
  }
})

test.each(['stranger', 'expired'] as const)('a gateway with the keys of one who is %s says so', async who => {
  const path = await startAgent(who, certificates[who])
  const { code, stderr } = await docker(['ps'], {}, path)
  expect(code).toBe(1)
  expect(stderr).toMatch(/the engine does not accept our certificate \([a-z ]+\); it may be over/)
})

test('an engine that is gone is told in words, and one that is back is served', async () => {
  await engine.stop()
  const { code, stderr } = await docker(['ps'])
  expect(code).toBe(1)
  expect(stderr).toContain('the engine of machine "win" does not answer')
  engine = await startTlsEngine()
  expect((await docker(['ps'])).code).toBe(0)
})
