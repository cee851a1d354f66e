import { execFileSync } from 'node:child_process'
import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { join } from 'node:path'
import { connect as connectTls } from 'node:tls'
import { afterAll, expect } from 'vitest'
import { agentPids, residentBytes } from '../support/agent.ts'
import { run } from '../support/command.ts'
import { standInDisc } from '../support/stand-in.ts'
import { listenersOf, TestVm, useStandIn, vmTest } from '../support/vm.ts'
import { freePort, waitFor } from '../support/wait.ts'

// One machine through its whole life, in order: an installation takes a minute, so it is not made for each test.
const vm = new TestVm('win', 2)
const LONG = { timeout: 1_200_000 }

useStandIn()
afterAll(() => vm.remove(), 300_000)

vmTest('up installs a machine from a disc, and docker reaches it by its context', LONG, async () => {
  const { code, stdout, stderr } = await vm.up()
  expect(code, stderr).toBe(0)
  for (const stage of ['media', 'install', 'disk', 'provision', 'engine', 'agent', 'context', 'ready']) {
    expect(stderr, stage).toMatch(new RegExp(`^${stage}: (?!failed)`, 'm'))
  }
  expect(stderr).toContain('Windows Server 2025')
  expect(stderr).toMatch(/TCG|slow/i)
  expect(stdout).toContain('docker --context oriel-win run')
  vm.keepGolden()
  await vm.loadImage()
  expect(await vm.out(['run', '--rm', 'stand-in/busybox', 'echo', 'hello'])).toBe('hello')
  const status = await vm.status()
  expect(status).toMatchObject({ state: 'running', evaluation: { daysLeft: 180 } })
})

vmTest('up again changes nothing and is quick', LONG, async () => {
  const pids = vm.qemuPids()
  expect(pids).toHaveLength(1)
  const { code, stderr } = await vm.oriel(['up', 'win'])
  expect(code, stderr).toBe(0)
  expect(stderr).toContain('was running')
  expect(vm.qemuPids()).toEqual(pids)
})

vmTest('streams go through: standard input with its end, exec, logs, cp, build', LONG, async () => {
  const sorted = await vm.docker(['run', '--rm', '-i', 'stand-in/busybox', 'sort'], { input: 'b\na\n' })
  expect(sorted.stdout).toBe('a\nb\n')
  await vm.out(['run', '-d', '--name', 'worker', 'stand-in/busybox', 'sh', '-c', 'echo begun; sleep 1000'])
  expect(await vm.out(['exec', 'worker', 'echo', 'inside'])).toBe('inside')
  await waitFor(async () => (await vm.out(['logs', 'worker'])) === 'begun', 20_000, 'the log of the container')
  const file = join(vm.home.root, 'up.txt')
  writeFileSync(file, 'content')
  await vm.out(['cp', file, 'worker:/tmp/up.txt'])
  await vm.out(['cp', 'worker:/tmp/up.txt', join(vm.home.root, 'down.txt')])
  expect(readFileSync(join(vm.home.root, 'down.txt'), 'utf8')).toBe('content')
  const built = await vm.docker(['build', '-q', '-'], {
    input: 'FROM stand-in/busybox\nRUN echo built > /built\n',
    env: { DOCKER_BUILDKIT: '0' }
  })
  expect(built.code, built.stderr).toBe(0)
  await vm.out(['rm', '-f', 'worker'])
})

vmTest('nothing listens outside of loopback, secrets are private, and none is in a command line', LONG, async () => {
  const [pid = 0] = vm.qemuPids()
  const listeners = listenersOf(pid)
  expect(listeners.length).toBeGreaterThanOrEqual(3)
  for (const address of listeners) expect(address).toMatch(/^127\.0\.0\.1:/)
  const password = readFileSync(join(vm.folder, 'vm', 'password'), 'utf8').trim()
  expect(password.length).toBeGreaterThanOrEqual(16)
  expect(readFileSync(`/proc/${pid}/cmdline`, 'utf8')).not.toContain(password)
  expect(readFileSync(join(vm.folder, 'agent.log'), 'utf8')).not.toContain(password)
  for (const [folder, mode] of filesBelow(vm.folder)) expect((mode & 0o077).toString(8), folder).toBe('0')
  expect(existsSync(join(vm.folder, 'vm', 'machine.iso'))).toBe(false)
})

vmTest('the engine refuses who has no certificate, one of another authority, or an expired one', LONG, async () => {
  const { port, folder } = await tlsOf()
  const ca = readFileSync(join(folder, 'ca.pem'), 'utf8')
  const own = {
    cert: readFileSync(join(folder, 'cert.pem'), 'utf8'),
    key: readFileSync(join(folder, 'key.pem'), 'utf8')
  }
  expect(await ping(port, { ca, ...own })).toContain('200 OK')
  await expect(ping(port, { ca })).rejects.toThrow()
  await expect(ping(port, { ca, ...certificate('/CN=stranger') })).rejects.toThrow()
  const authority = join(vm.folder, 'pki')
  await expect(ping(port, { ca, ...certificate('/CN=late', authority) })).rejects.toThrow()
  // And a client that trusts another authority does not talk to this engine.
  await expect(ping(port, { ca: certificate('/CN=other').cert, ...own })).rejects.toThrow(/self.signed|verify|issuer/i)
})

vmTest('env --tls serves tools that need TCP', LONG, async () => {
  const lines = await vm.ok(['env', 'win', '--tls', '--shell', 'bash'])
  const env = Object.fromEntries([...lines.matchAll(/^export (\w+)='(.*)'$/gm)].map(([, name, value]) => [name, value]))
  expect(env.DOCKER_TLS_VERIFY).toBe('1')
  const { stdout } = await run('docker', ['version', '-f', '{{.Server.Version}}'], { env: { ...vm.home.env, ...env } })
  expect(stdout.trim()).toBe(await vm.out(['version', '-f', '{{.Server.Version}}']))
})

vmTest('forward opens a loopback port to the guest until it is removed', LONG, async () => {
  const port = await freePort()
  await vm.ok(['forward', 'win', `${port}:22`])
  expect(await banner(port)).toMatch(/^SSH-2/)
  expect(JSON.parse(await vm.ok(['forward', 'ls', 'win', '--json']))).toEqual([{ hostPort: port, guestPort: 22 }])
  await vm.ok(['forward', 'win', '--rm', String(port)])
  await expect(banner(port)).rejects.toThrow()
  const { code, stderr } = await vm.oriel(['forward', 'win', `${vm.record().ports.ssh}:22`])
  expect(code).toBe(1)
  expect(stderr).toMatch(/port \d+ on this host cannot be opened/)
})

vmTest('screenshot and view show the guest', LONG, async () => {
  const file = join(vm.home.root, 'screen.png')
  await vm.ok(['screenshot', 'win', '-o', file])
  expect(readFileSync(file).subarray(1, 4).toString()).toBe('PNG')
  const shown = await vm.ok(['view', 'win', '--print'])
  const [, port = '0'] = /127\.0\.0\.1:(\d+)/.exec(shown) ?? []
  expect(Number(port)).toBe(vm.record().ports.vnc)
  expect(await banner(Number(port))).toMatch(/^RFB 003/)
})

vmTest('a clock that has drifted is set by the host agent', LONG, async () => {
  vm.ssh('date -s "@$(( $(date +%s) - 7200 ))"')
  await waitFor(() => Math.abs(guestClock() - Date.now()) < 5000, 60_000, 'the guest to have the right time', 2000)
  await waitFor(async () => (await vm.ok(['logs', 'win'])).includes('clock was set'), 20_000, 'the agent to say so')
})

vmTest('suspend and resume: containers go on where they were, and the clock is right', LONG, async () => {
  await vm.out([
    'run',
    '-d',
    '--name',
    'counter',
    'stand-in/busybox',
    'sh',
    '-c',
    'n=0; while sleep 1; do n=$((n+1)); echo $n; done'
  ])
  const pid = await vm.out(['inspect', '-f', '{{.State.Pid}}', 'counter'])
  await vm.ok(['suspend', 'win'])
  expect(vm.qemuPids()).toEqual([])
  expect((await vm.status()).state).toBe('stopped')
  const before = await vm.oriel(['up', 'win'])
  expect(before.stderr).toContain('resumed')
  expect(await vm.out(['inspect', '-f', '{{.State.Pid}} {{.State.Running}}', 'counter'])).toBe(`${pid} true`)
  expect(Math.abs(guestClock() - Date.now())).toBeLessThan(5000)
  await vm.out(['rm', '-f', 'counter'])
})

vmTest(
  'stop shuts the guest down; a volume is still there after the next start, and settings of machine.yaml count',
  LONG,
  async () => {
    await vm.out(['run', '--rm', '-v', 'kept:/data', 'stand-in/busybox', 'sh', '-c', 'echo precious > /data/file'])
    await vm.ok(['stop', 'win'], { timeoutMs: 300_000 })
    expect(vm.qemuPids()).toEqual([])
    const spec = join(vm.folder, 'machine.yaml')
    const yaml = readFileSync(spec, 'utf8')
    writeFileSync(
      spec,
      yaml
        .replace(/^cpus: 2$/m, 'cpus: 1')
        .replace(/^engine:.*$/m, '')
        .concat('\nengine:\n  labels: [team=blue]\n')
    )
    const { code, stderr } = await vm.oriel(['up', 'win', '--disk', '70GiB'])
    expect(code, stderr).toBe(0)
    expect(await vm.out(['run', '--rm', '-v', 'kept:/data', 'stand-in/busybox', 'cat', '/data/file'])).toBe('precious')
    expect(await vm.out(['info', '-f', '{{json .Labels}}'])).toBe('["team=blue"]')
    expect(vm.ssh('nproc').trim()).toBe('1')
    const gigabytes = Number(vm.ssh("df -B1G / | awk 'NR==2{print $2}'").trim())
    expect(gigabytes).toBeGreaterThan(60)
  }
)

vmTest(
  'a snapshot of the running machine brings back memory and disk; one of the stopped machine its disk',
  LONG,
  async () => {
    await vm.out(['run', '-d', '--name', 'alive', 'stand-in/busybox', 'sleep', '10000'])
    const pid = await vm.out(['inspect', '-f', '{{.State.Pid}}', 'alive'])
    await vm.ok(['snapshot', 'create', 'win', 'live'])
    await vm.out(['rm', '-f', 'alive'])
    await vm.ok(['stop', 'win'], { timeoutMs: 300_000 })
    await vm.ok(['snapshot', 'create', 'win', 'cold'])
    expect(JSON.parse(await vm.ok(['snapshot', 'ls', 'win', '--json']))).toMatchObject([
      { name: 'live', live: true },
      { name: 'cold', live: false }
    ])
    await vm.ok(['snapshot', 'restore', 'win', 'live'])
    await vm.ok(['up', 'win'])
    expect(await vm.out(['inspect', '-f', '{{.State.Pid}} {{.State.Running}}', 'alive'])).toBe(`${pid} true`)
    await vm.ok(['snapshot', 'restore', 'win', 'cold'])
    await vm.ok(['up', 'win'], { timeoutMs: 300_000 })
    expect(await vm.out(['ps', '-aq'])).toBe('')
    expect(await vm.out(['run', '--rm', '-v', 'kept:/data', 'stand-in/busybox', 'cat', '/data/file'])).toBe('precious')
    await vm.ok(['snapshot', 'rm', 'win', 'live'])
    await vm.ok(['snapshot', 'rm', 'win', 'cold'])
    expect((await vm.oriel(['snapshot', 'restore', 'win', 'cold'])).code).toBe(3)
  }
)

vmTest('certs renew puts new certificates into the running guest', LONG, async () => {
  const { port, folder } = await tlsOf()
  const before = await serverSerial(port, folder)
  await vm.ok(['certs', 'win', 'renew'], { timeoutMs: 300_000 })
  expect(await serverSerial(port, folder)).not.toBe(before)
  expect(await vm.out(['version', '-f', '{{.Server.Os}}'])).toBe('linux')
})

vmTest('upgrade replaces the engine, and goes back when the new one does not answer', LONG, async () => {
  const { newerArchive, brokenArchive } = await standInDisc()
  const spec = join(vm.folder, 'machine.yaml')
  const original = readFileSync(spec, 'utf8')
  const use = (archive: { file: string; version: string }) =>
    writeFileSync(
      spec,
      original.replace(
        /^engineArchive:\n( .*\n)+/m,
        `engineArchive:\n  file: ${archive.file}\n  version: ${archive.version}\n`
      )
    )
  use(newerArchive)
  await vm.ok(['upgrade', 'win', '--engine', newerArchive.version], { timeoutMs: 300_000 })
  expect(engineOf()).toBe(newerArchive.version)
  use(brokenArchive)
  const { code, stderr } = await vm.oriel(['upgrade', 'win', '--engine', brokenArchive.version], { timeoutMs: 300_000 })
  expect(code).toBe(1)
  expect(stderr).toMatch(/29\.9\.0-broken does not answer .*; 29\.8\.0 runs again/)
  expect(await vm.out(['version', '-f', '{{.Server.Os}}'])).toBe('linux')
  writeFileSync(spec, original)
})

vmTest('rearm renews the evaluation', LONG, async () => {
  const { code, stderr } = await vm.oriel(['rearm', 'win'], { timeoutMs: 300_000 })
  expect(code, stderr).toBe(0)
  expect(stderr).toMatch(/180 days left/)
  expect(await vm.out(['version', '-f', '{{.Server.Os}}'])).toBe('linux')
})

vmTest('logs --guest tells what the guest said, without what the firmware wrote to the same port', LONG, async () => {
  const said = await vm.ok(['logs', 'win', '--guest'])
  expect(said).toMatch(/^docker done: 29\.7\.2 answers$/m)
  expect(said).toMatch(/^ready done$/m)
  expect(said).not.toContain('\u001b')
})

vmTest('doctor knows QEMU, firmware, accelerator and certificates', LONG, async () => {
  const checks: { name: string; result: string; detail: string }[] = JSON.parse(
    await vm.ok(['doctor', 'win', '--json'])
  )
  expect(checks.filter(check => check.result === 'missing')).toEqual([])
  expect(checks.map(check => check.name).join(' ')).toMatch(/qemu.*certificates/is)
})

vmTest('the idle host agent is small', LONG, async () => {
  const [pid = 0] = agentPids(vm.home)
  expect(residentBytes(pid)).toBeLessThan(120e6)
})

vmTest('a second machine comes from the golden image, with its own name, keys and certificates', LONG, async () => {
  const { code, stderr } = await vm.oriel(['up', 'second', ...(await vm.options())], { timeoutMs: 590_000 })
  expect(code, stderr).toBe(0)
  expect(stderr).toContain('golden image present')
  const [golden] = JSON.parse(await vm.ok(['golden', 'ls', '--json'])) as {
    seconds: number
    machines: string[]
    key: string
  }[]
  expect(golden?.machines.sort()).toEqual(['second', 'win'])
  expect(stderr).not.toMatch(/^media:/m)
  const second = join(vm.home.env.ORIEL_HOME, 'machines', 'second')
  for (const file of ['vm/password', 'pki/ca.pem']) {
    expect(readFileSync(join(second, file), 'utf8'), file).not.toBe(readFileSync(join(vm.folder, file), 'utf8'))
  }
  const refused = await vm.oriel(['golden', 'rm', golden?.key ?? ''])
  expect(refused.code).toBe(3)
  await vm.ok(['rm', '--force', 'second'], { timeoutMs: 300_000 })
  expect(vm.qemuPids()).toHaveLength(1)
})

vmTest('rm asks, and removes the disk, the context and the processes', LONG, async () => {
  const asked = await vm.oriel(['rm', 'win'])
  expect(asked.code).toBe(2)
  expect(asked.stderr).toContain('--force')
  expect(vm.qemuPids()).toHaveLength(1)
  await vm.ok(['rm', '--force', 'win'], { timeoutMs: 300_000 })
  expect(vm.qemuPids()).toEqual([])
  expect(agentPids(vm.home)).toEqual([])
  expect(existsSync(vm.folder)).toBe(false)
  const { stdout } = await run('docker', ['context', 'ls', '-q'], { env: vm.home.env })
  expect(stdout).not.toContain('oriel-win')
  const [golden] = JSON.parse(await vm.ok(['golden', 'ls', '--json'])) as { key: string }[]
  await vm.ok(['golden', 'rm', golden?.key ?? ''])
  expect(JSON.parse(await vm.ok(['golden', 'ls', '--json']))).toEqual([])
})

async function tlsOf(): Promise<{ port: number; folder: string }> {
  const lines = await vm.ok(['env', 'win', '--tls', '--shell', 'bash'])
  const port = Number(/127\.0\.0\.1:(\d+)/.exec(lines)?.[1])
  return { port, folder: /DOCKER_CERT_PATH='(.*)'/.exec(lines)?.[1] ?? '' }
}

function ping(port: number, tls: { ca: string; cert?: string; key?: string }): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connectTls({ host: '127.0.0.1', port, ...tls }, () => socket.write('GET /_ping HTTP/1.0\r\n\r\n'))
    let text = ''
    socket.setTimeout(20_000, () => socket.destroy(new Error('no answer')))
    socket.on('data', chunk => {
      text += chunk.toString()
    })
    socket.on('error', reject)
    socket.on('close', () => (text === '' ? reject(new Error('closed without an answer')) : resolve(text)))
  })
}

function serverSerial(port: number, folder: string): Promise<string> {
  const tls = Object.fromEntries(
    ['ca', 'cert', 'key'].map(part => [part, readFileSync(join(folder, `${part}.pem`), 'utf8')])
  )
  return new Promise((resolve, reject) => {
    const socket = connectTls({ host: '127.0.0.1', port, ...tls }, () => {
      resolve(socket.getPeerCertificate().serialNumber)
      socket.destroy()
    })
    socket.on('error', reject)
  })
}

/** A client certificate by openssl: of an authority of its own, or an expired one of the authority in `folder`. */
function certificate(subject: string, folder?: string): { cert: string; key: string } {
  const at = join(vm.home.root, `cert-${Math.random().toString(36).slice(2)}`)
  const openssl = (...args: string[]) => execFileSync('openssl', args, { stdio: ['ignore', 'pipe', 'ignore'] })
  openssl('ecparam', '-name', 'prime256v1', '-genkey', '-noout', '-out', `${at}.key`)
  if (folder === undefined) {
    openssl('req', '-x509', '-new', '-key', `${at}.key`, '-subj', subject, '-days', '30', '-out', `${at}.pem`)
  } else {
    const authority = readdirSync(folder).filter(name => /^ca.*\.pem$/.test(name))
    const caKey = authority.find(name => name.includes('key')) ?? ''
    const caCert = authority.find(name => !name.includes('key')) ?? ''
    openssl('req', '-new', '-key', `${at}.key`, '-subj', subject, '-out', `${at}.csr`)
    const dates = ['-not_before', '20200101000000Z', '-not_after', '20210101000000Z']
    const sign = ['x509', '-req', '-in', `${at}.csr`, '-CA', join(folder, caCert), '-CAkey', join(folder, caKey)]
    try {
      openssl(...sign, ...dates, '-out', `${at}.pem`)
    } catch {
      // Before OpenSSL 3.4, days may be negative instead.
      openssl(...sign, '-days', '-1', '-out', `${at}.pem`)
    }
  }
  return { cert: readFileSync(`${at}.pem`, 'utf8'), key: readFileSync(`${at}.key`, 'utf8') }
}

/** The first bytes that a server says. */
function banner(port: number): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket: Socket = connect(port, '127.0.0.1')
    socket.setTimeout(20_000, () => socket.destroy(new Error('silence')))
    socket.once('data', chunk => {
      resolve(chunk.toString())
      socket.destroy()
    })
    socket.on('error', reject)
    socket.on('close', () => reject(new Error('closed')))
  })
}

function guestClock(): number {
  return Number(vm.ssh('date +%s').trim()) * 1000
}

/** The engine of the guest, as it last told. */
function engineOf(): string {
  return JSON.parse(readFileSync(join(vm.folder, 'vm', 'facts.json'), 'utf8')).engine
}

function filesBelow(folder: string): [path: string, mode: number][] {
  return readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .map(name => join(folder, name))
    .filter(path => !path.endsWith('.pub'))
    .map(path => [path, statSync(path).mode])
}
