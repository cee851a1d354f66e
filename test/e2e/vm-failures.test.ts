import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { afterEach, expect } from 'vitest'
import { agentPids } from '../support/agent.ts'
import { cleanEnv } from '../support/command.ts'
import { ORIEL_PROGRAM, TestVm, useStandIn, vmTest } from '../support/vm.ts'
import { waitFor } from '../support/wait.ts'

const LONG = { timeout: 1_200_000 }
const machines: TestVm[] = []
const ups: Up[] = []

useStandIn()
afterEach(async () => {
  // Of a test that failed, one may still hold the machine.
  for (const up of ups.splice(0)) up.child.kill('SIGKILL')
  for (const vm of machines.splice(0)) await vm.remove()
}, 300_000)

function machine(name: string): TestVm {
  const vm = new TestVm(name)
  machines.push(vm)
  return vm
}

/** `oriel up` as a process of its own, to be killed in the middle. */
class Up {
  readonly child: ChildProcess
  said = ''
  readonly ended: Promise<number>

  constructor(vm: TestVm, args: readonly string[]) {
    this.child = spawn(process.execPath, [ORIEL_PROGRAM, 'up', vm.name, ...args], {
      env: cleanEnv(vm.home.env),
      stdio: ['ignore', 'pipe', 'pipe']
    })
    for (const stream of [this.child.stdout, this.child.stderr]) {
      stream?.on('data', chunk => {
        this.said += String(chunk)
      })
    }
    this.ended = new Promise(resolve => this.child.on('close', (code, signal) => resolve(code ?? (signal ? 137 : 1))))
    ups.push(this)
  }

  async untilSaid(pattern: RegExp, limitMs = 400_000): Promise<void> {
    await waitFor(
      () => {
        if (this.child.exitCode !== null) throw new Error(`oriel up ended with ${this.child.exitCode}:\n${this.said}`)
        return pattern.test(this.said)
      },
      limitMs,
      `oriel up to say ${pattern}; it said:\n${this.said}`
    )
  }
}

function killQemu(vm: TestVm): void {
  const pids = vm.qemuPids()
  expect(pids).toHaveLength(1)
  for (const pid of pids) process.kill(pid, 'SIGKILL')
}

vmTest('kill -9, Ctrl-C and power cuts, stage by stage: the next up goes on from there', LONG, async () => {
  const vm = machine('cut')
  const options = await vm.options()

  // Windows Setup does not survive a power cut: it begins again.
  const first = new Up(vm, options)
  await first.untilSaid(/^install: (?!.*(prepares|copied))/m).catch(() => undefined)
  await waitFor(() => vm.qemuPids().length === 1, 120_000, 'the installation to run')
  killQemu(vm)
  expect(await first.ended).toBe(1)
  expect(first.said).toContain('ended in the middle of the installation')

  // `up` is killed: the installation goes on, and the next `up` watches it.
  const second = new Up(vm, options)
  await second.untilSaid(/has to begin again/)
  await second.untilSaid(/install: containers/)
  second.child.kill('SIGKILL')
  await second.ended
  const [pid] = vm.qemuPids()
  const third = new Up(vm, options)
  await third.untilSaid(/install: goes on/)
  expect(vm.qemuPids()).toEqual([pid])

  // Ctrl-C halts the guest, and `stop` ends it.
  third.child.kill('SIGINT')
  expect(await third.ended).toBe(130)
  expect(third.said).toContain('The installation is halted')
  const busy = cpuTicks(pid ?? 0)
  await new Promise(resolve => setTimeout(resolve, 2000))
  expect(cpuTicks(pid ?? 0) - busy).toBeLessThan(60)
  expect((await vm.oriel(['stop', 'cut'])).stderr).toContain('installation was ended')
  expect(vm.qemuPids()).toEqual([])

  // A power cut after Setup: our stages go on where they were.
  const cut = new Up(vm, options)
  await cut.untilSaid(/install: starts the guest again/)
  await cut.untilSaid(/install: engine/)
  killQemu(vm)
  expect(await cut.ended).toBe(1)
  const fourth = new Up(vm, options)
  await fourth.untilSaid(/install: starts the guest again/)
  expect(fourth.said).not.toContain('begin again')

  // The machine's own first start: killed with the disc half applied.
  await fourth.untilSaid(/provision: (identity|certificates|access)/)
  fourth.child.kill('SIGKILL')
  await fourth.ended
  killQemu(vm)
  const fifth = new Up(vm, options)
  await fifth.untilSaid(/provision: docker/)
  fifth.child.kill('SIGKILL')
  await fifth.ended
  const last = await vm.oriel(['up', 'cut'], { timeoutMs: 400_000 })
  expect(last.code, last.stderr).toBe(0)
  vm.keepGolden()
  await vm.loadImage()
  await vm.out([
    'run',
    '--name',
    'writer',
    '-v',
    'kept:/data',
    'stand-in/busybox',
    'sh',
    '-c',
    'echo safe > /data/file; sync'
  ])

  // QEMU, and then the agent, of a running machine.
  killQemu(vm)
  await waitFor(async () => (await vm.status()).state === 'broken', 30_000, 'status to see that the machine is gone')
  await vm.ok(['up', 'cut'], { timeoutMs: 400_000 })
  expect(await vm.out(['run', '--rm', '-v', 'kept:/data', 'stand-in/busybox', 'cat', '/data/file'])).toBe('safe')
  const [agent = 0] = agentPids(vm.home)
  process.kill(agent, 'SIGKILL')
  await waitFor(async () => (await vm.status()).state === 'broken', 30_000, 'status to see that the agent is gone')
  const before = vm.qemuPids()
  await vm.ok(['up', 'cut'])
  expect(vm.qemuPids()).toEqual(before)
  expect(await vm.out(['run', '--rm', '-v', 'kept:/data', 'stand-in/busybox', 'cat', '/data/file'])).toBe('safe')
})

vmTest('a stage that fails in the guest is told, and tried again by the next up', LONG, async () => {
  const vm = machine('fails')
  const { code, stderr } = await vm.up([], 'fails-containers')
  expect(code).toBe(1)
  expect(stderr).toMatch(/the guest failed in its stage "containers": \S/)
  expect(stderr).toContain('oriel up fails')
  expect(vm.qemuPids()).toEqual([])
  expect(agentPids(vm.home)).toEqual([])
})

vmTest('a guest that stands still is photographed, and up names the stage', LONG, async () => {
  const vm = machine('still')
  // Declared before it is made, as a person may; minutes are far too long for a test.
  mkdirSync(vm.folder, { recursive: true, mode: 0o700 })
  writeFileSync(join(vm.folder, 'machine.yaml'), 'driver: qemu\nstallMinutes: 0.3\n')
  const { code, stderr } = await vm.up([], 'hangs-in-setup')
  expect(code).toBe(1)
  expect(stderr).toMatch(/has done nothing for .* in stage "install"/)
  const picture = /Its screen is in (\S+\.png)/.exec(stderr)?.[1] ?? ''
  expect(readFileSync(picture).subarray(1, 4).toString()).toBe('PNG')
  expect(vm.qemuPids()).toEqual([])
})

vmTest(
  "a person's script that fails, and a port that is taken, are named, and the next up tries again",
  LONG,
  async () => {
    const vm = machine('named')
    vm.takeGolden()
    const script = join(vm.home.root, 'tools.ps1')
    writeFileSync(script, '# stand-in: echo no licence for you >&2; exit 3\n')
    const failed = await vm.up(['--provision', script])
    expect(failed.code).toBe(1)
    expect(failed.stderr).toMatch(/stage "provision"/)
    expect(vm.qemuPids()).toEqual([])
    writeFileSync(script, '# stand-in: echo done > /provisioned\n')
    const again = await vm.oriel(['up', 'named'], { timeoutMs: 400_000 })
    expect(again.code, again.stderr).toBe(0)
    expect(vm.ssh('cat /provisioned').trim()).toBe('done')

    await vm.ok(['stop', 'named'], { timeoutMs: 300_000 })
    const { engine } = vm.record().ports
    const server = createServer().listen(engine, '127.0.0.1')
    await new Promise(resolve => server.once('listening', resolve))
    const taken = await vm.oriel(['up', 'named'])
    server.close()
    expect(taken.code).toBe(1)
    expect(taken.stderr).toContain(String(engine))
    expect(taken.stderr).toContain(`process ${process.pid}`)
    expect(taken.stderr).toContain('ports.engine')
    await vm.ok(['up', 'named'], { timeoutMs: 300_000 })
    expect(vm.record().ports.engine).toBe(engine)
  }
)

vmTest('a full disk of the host halts the guest, and nothing is lost', LONG, async () => {
  const vm = machine('full')
  mkdirSync(vm.home.env.ORIEL_HOME)
  const mount = (...args: string[]) => execFileSync('mount', args)
  mount('-t', 'tmpfs', '-o', 'size=1200m,mode=0700', 'oriel-test', vm.home.env.ORIEL_HOME)
  try {
    vm.takeGolden()
    await vm.upOk()
    await vm.loadImage()
    await vm.out(['run', '--rm', '-v', 'kept:/data', 'stand-in/busybox', 'sh', '-c', 'echo safe > /data/file; sync'])
    writeFileSync(join(vm.home.env.ORIEL_HOME, 'ballast'), Buffer.alloc(freeBytes(vm.home.env.ORIEL_HOME) - 30_000_000))
    const writer = vm.docker([
      'run',
      '--rm',
      '-v',
      'kept:/data',
      'stand-in/busybox',
      'sh',
      '-c',
      'dd if=/dev/urandom of=/data/big bs=1M count=150; sync'
    ])
    await waitFor(async () => (await vm.status()).state === 'broken', 120_000, 'the machine to be halted', 1000)
    const full = await vm.oriel(['up', 'full'], { timeoutMs: 300_000 })
    expect(full.code).toBe(1)
    expect(full.stderr).toMatch(/disk of this host is full/)
    execFileSync('rm', [join(vm.home.env.ORIEL_HOME, 'ballast')])
    const again = await vm.oriel(['up', 'full'], { timeoutMs: 300_000 })
    expect(again.code, again.stderr).toBe(0)
    await writer
    expect(await vm.out(['run', '--rm', '-v', 'kept:/data', 'stand-in/busybox', 'cat', '/data/file'])).toBe('safe')
    await vm.oriel(['rm', '--force', 'full'], { timeoutMs: 300_000 })
  } finally {
    for (const pid of vm.qemuPids()) process.kill(pid, 'SIGKILL')
    execFileSync('umount', ['-l', vm.home.env.ORIEL_HOME])
  }
})

vmTest('what is no disc of Windows Server is refused before there is a machine', async () => {
  const vm = machine('wrong')
  const page = join(vm.home.root, 'server.iso')
  writeFileSync(page, '<!DOCTYPE html><html><head><title>Access denied</title></head></html>')
  const { code, stderr } = await vm.oriel(['up', 'wrong', '--driver', 'qemu', '--iso', page])
  expect(code).not.toBe(0)
  expect(stderr).toMatch(/HTML|web page/)
  expect(stderr).toContain('Access denied')
  expect(vm.qemuPids()).toEqual([])
  expect(JSON.parse(await vm.ok(['golden', 'ls', '--json']))).toEqual([])
})

function cpuTicks(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? []
  return Number(fields[11]) + Number(fields[12])
}

function freeBytes(folder: string): number {
  const [, line = ''] = execFileSync('df', ['-B1', '--output=avail', folder], { encoding: 'utf8' }).trim().split('\n')
  return Number(line.trim())
}
