import { execFileSync } from 'node:child_process'
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { beforeAll, test } from 'vitest'
import { PROJECT, type Result, type RunOptions } from './command.ts'
import { type Home, temporaryHome } from './home.ts'
import { docker, oriel } from './oriel.ts'
import { type StandInVariant, standInDisc } from './stand-in.ts'

const STALE_MS = 24 * 60 * 60_000
/** Golden images of the stand-in, kept from one test to the next: only the first install of a run takes its time. */
const SHELF = join(process.env.ORIEL_TEST_CACHE || join(homedir(), '.cache', 'oriel-test'), 'golden')

/** The stand-in is made of Debian's packages, by root. */
const CAN_STAND_IN = existsSync('/etc/debian_version') && process.getuid?.() === 0

/** A test with a virtual machine; skipped where the stand-in cannot be made. */
export const vmTest = test.runIf(CAN_STAND_IN)

/** Makes the stand-in before the tests of a file, so that none of them waits for it. */
export function useStandIn(): void {
  beforeAll(async () => {
    if (CAN_STAND_IN) await standInDisc()
  }, 900_000)
}

/** A machine of the qemu driver whose Windows is played by the Linux stand-in. */
export class TestVm {
  readonly name: string
  readonly context: string
  readonly home: Home = temporaryHome()
  readonly #cpus: number

  /** With one processor, unless a test is about more: two of QEMU 7.2's TCG can wait for each other for good while a kernel starts. */
  constructor(name: string, cpus = 1) {
    this.name = name
    this.context = `oriel-${name}`
    this.#cpus = cpus
  }

  /** The machine's folder. */
  get folder(): string {
    return join(this.home.env.ORIEL_HOME, 'machines', this.name)
  }

  oriel(args: readonly string[], options?: RunOptions): Promise<Result> {
    return oriel(args, this.home, options)
  }

  /** As oriel, but failing rejects; gives its standard output. */
  async ok(args: readonly string[], options?: RunOptions): Promise<string> {
    const { code, stdout, stderr } = await this.oriel(args, options)
    if (code !== 0) throw new Error(`oriel ${args.join(' ')} ended with ${code}:\n${stdout}${stderr}`)
    return stdout
  }

  docker(args: readonly string[], options?: RunOptions): Promise<Result> {
    return docker(['--context', this.context, ...args], this.home, options)
  }

  async out(args: readonly string[], options?: RunOptions): Promise<string> {
    const { code, stdout, stderr } = await this.docker(args, options)
    if (code !== 0) throw new Error(`docker ${args.join(' ')} ended with ${code}:\n${stdout}${stderr}`)
    return stdout.replace(/\n$/, '')
  }

  /** The options that make this machine from the stand-in's disc. */
  async options(variant?: StandInVariant): Promise<string[]> {
    const { iso, engineArchive } = await standInDisc(variant === undefined ? {} : { variant })
    return [
      ...['--driver', 'qemu', '--windows', '2025', '--iso', iso, '--engine-archive', engineArchive.file],
      ...['--cpus', String(this.#cpus), '--memory', '1GiB', '--accel', 'tcg', '--locale', 'en-US', '--time-zone', 'UTC']
    ]
  }

  async up(extra: readonly string[] = [], variant?: StandInVariant): Promise<Result> {
    return this.oriel(['up', this.name, ...(await this.options(variant)), ...extra], { timeoutMs: 590_000 })
  }

  async upOk(extra: readonly string[] = []): Promise<void> {
    const { code, stdout, stderr } = await this.up(extra)
    if (code !== 0) throw new Error(`oriel up ended with ${code}:\n${stdout}${stderr}`)
  }

  /** Puts the golden image on the shelf into this home, as if another machine had been made here before. */
  takeGolden(): boolean {
    if (!existsSync(SHELF) || readdirSync(SHELF).length === 0) return false
    copyImages(SHELF, join(this.home.env.ORIEL_HOME, 'golden'))
    return true
  }

  /** Puts this home's golden images on the shelf; those of sources that have changed since go. */
  keepGolden(): void {
    copyImages(join(this.home.env.ORIEL_HOME, 'golden'), SHELF)
    for (const key of readdirSync(SHELF)) {
      if (Date.now() - statSync(join(SHELF, key)).mtimeMs > STALE_MS)
        rmSync(join(SHELF, key), { recursive: true, force: true })
    }
  }

  /** A small image for `docker run`, as nothing can be pulled here. */
  async loadImage(): Promise<void> {
    await this.out(['load', '-i', (await standInDisc()).image])
  }

  async status(): Promise<{
    state: string
    engine: { version: string | null }
    evaluation: { daysLeft: number | null } | null
  }> {
    return JSON.parse(await this.ok(['status', this.name, '--json']))
  }

  /** Process ids of QEMU for this machine, and for the installation that it waits for. */
  qemuPids(): number[] {
    return processesWith('qemu-system', this.home.env.ORIEL_HOME)
  }

  record(): { ports: { engine: number; ssh: number; vnc: number } } {
    return JSON.parse(readFileSync(join(this.folder, 'vm', 'vm.json'), 'utf8'))
  }

  /** Runs a shell command in the guest by ssh, with the machine's own key. */
  ssh(command: string): string {
    const folder = join(this.folder, 'ssh')
    const known = readdirSync(folder).find(name => name.startsWith('known_hosts'))
    const key = readdirSync(folder).find(name => /client|id_ed25519$/.test(name) && !name.endsWith('.pub'))
    const options = [
      ...['-F', '/dev/null', '-o', 'BatchMode=yes', '-o', `UserKnownHostsFile=${join(folder, known ?? 'known_hosts')}`],
      ...['-i', join(folder, key ?? ''), '-p', String(this.record().ports.ssh)]
    ]
    // By standard input: the guest's own command interpreter knows as little of `$` and `|` as Windows' does.
    return execFileSync('ssh', [...options, 'Administrator@127.0.0.1', 'sh'], {
      input: command,
      encoding: 'utf8',
      timeout: 60_000
    })
  }

  async remove(): Promise<void> {
    await this.oriel(['rm', '--force', this.name], { timeoutMs: 300_000 })
    for (const pid of this.qemuPids()) process.kill(pid, 'SIGKILL')
    this.home.remove()
  }
}

/** Process ids whose command line has both texts. */
export function processesWith(program: string, text: string): number[] {
  return readdirSync('/proc')
    .filter(name => /^\d+$/.test(name))
    .filter(pid => {
      try {
        const line = readFileSync(`/proc/${pid}/cmdline`, 'utf8')
        return line.split('\0')[0]?.includes(program) === true && line.includes(text)
      } catch {
        return false
      }
    })
    .map(Number)
}

/** Listening TCP addresses of a process. */
export function listenersOf(pid: number): string[] {
  return execFileSync('ss', ['-Hltnp'], { encoding: 'utf8' })
    .split('\n')
    .filter(line => line.includes(`pid=${pid},`))
    .map(line => line.trim().split(/\s+/)[3] ?? '')
}

/** Copies golden images, each whole or not at all: other tests copy at the same time. */
function copyImages(from: string, to: string): void {
  mkdirSync(to, { recursive: true })
  for (const key of readdirSync(from)) {
    if (!existsSync(join(from, key, 'golden.json')) || existsSync(join(to, key))) continue
    const own = join(to, `.${key}.${process.pid}`)
    cpSync(join(from, key), own, { recursive: true })
    try {
      renameSync(own, join(to, key))
    } catch {
      // Another test was faster.
      rmSync(own, { recursive: true, force: true })
    }
  }
}

export const ORIEL_PROGRAM = join(PROJECT, 'bin', 'oriel.js')
