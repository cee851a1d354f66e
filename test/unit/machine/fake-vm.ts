import { existsSync, mkdirSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import { join } from 'node:path'
import * as v from 'valibot'
import type { Driver, Forward, GuestFacts, Snapshot, UpOptions } from '#driver/driver.ts'
import type { Fault } from '#lib/fault.ts'
import type { ProgressEvent } from '#lib/progress.ts'
import type { MachineRequest } from '#machine/machine-lock.ts'
import { machinePaths } from '#machine/paths.ts'
import type { VmState } from '#machine/vm.ts'
import type { World } from '#machine/world.ts'

const Settings = v.strictObject({ cpus: v.optional(v.number('must be a number'), 2) })
type Settings = v.InferOutput<typeof Settings>

/** A home with machines of a driver whose virtual machines are a word in memory, and whose agent is a server in this process. */
export class FakeVm {
  readonly env: { ORIEL_HOME: string; DOCKER_CONFIG: string }
  readonly paths
  /** Everything that was asked of the driver and of the agent, in order. */
  readonly asked: string[] = []
  readonly told: ProgressEvent[] = []
  power: VmState = 'absent'
  facts: GuestFacts | undefined
  snapshots: Snapshot[] = []
  forwards: Forward[] = []
  /** What the next call of this name fails with. */
  failing: Record<string, Fault> = {}
  #agent: Server | undefined

  constructor() {
    const root = mkdtempSync(join(realpathSync('/tmp'), 'oriel-vm-'))
    this.env = { ORIEL_HOME: join(root, 'oriel'), DOCKER_CONFIG: join(root, 'docker') }
    mkdirSync(this.env.DOCKER_CONFIG)
    this.paths = machinePaths('win', this.env)
  }

  async remove(): Promise<void> {
    await this.#stopAgent()
    rmSync(join(this.env.ORIEL_HOME, '..'), { recursive: true, force: true })
  }

  request(more: Partial<MachineRequest> = {}): MachineRequest {
    return {
      name: 'win',
      env: this.env,
      signal: new AbortController().signal,
      report: event => this.told.push(event),
      world: this.world,
      ...more
    }
  }

  get agentRuns(): boolean {
    return this.#agent !== undefined
  }

  #ask(what: string): void {
    this.asked.push(what)
    const fault = this.failing[what]
    delete this.failing[what]
    if (fault !== undefined) throw fault
  }

  readonly driver: Driver<Settings> = {
    name: 'fake',
    settings: Settings,
    configure: async (former: Settings | undefined, options: UpOptions) => {
      this.#ask('configure')
      return { cpus: options.cpus ?? former?.cpus ?? 2 }
    },
    bringUp: async (settings, work) => {
      this.#ask(`bringUp with ${settings.cpus}`)
      const detail = await work.alone('golden', async () => (this.power === 'suspended' ? 'resumed' : 'started'))
      await work.stage('start', async () => [detail, undefined])
      writeFileSync(join(work.place.folder, 'disk.qcow2'), Buffer.alloc(4096, 1))
      this.power = 'running'
      return { reference: { url: 'tcp://127.0.0.1:1' }, windows: { release: 'ltsc2025', build: 26100 } }
    },
    reference: async () => ({ url: 'tcp://127.0.0.1:1' }),
    check: async (settings, work) => [
      { name: 'fake', result: 'ok', detail: `${settings?.cpus ?? 'no'} cpus in ${work.place.folder}` }
    ],
    vm: {
      state: async () => this.power,
      stop: async () => {
        this.#ask('vm.stop')
        this.power = 'off'
        return 'shut down'
      },
      suspend: async () => {
        this.#ask('vm.suspend')
        this.power = 'suspended'
        return '1 GB written'
      },
      discard: async () => {
        this.#ask('vm.discard')
        this.power = 'off'
        return 'gone'
      },
      snapshots: {
        create: async name => {
          this.#ask('snapshots.create')
          this.snapshots.push({ name, madeAt: new Date().toISOString(), live: this.power === 'running' })
          return 'kept'
        },
        restore: async () => {
          this.#ask('snapshots.restore')
          this.power = 'off'
          return 'restored'
        },
        list: async () => [...this.snapshots],
        remove: async name => {
          this.snapshots = this.snapshots.filter(each => each.name !== name)
        }
      },
      screenshot: async file => writeFileSync(file, 'PNG'),
      view: async () => ({ host: '127.0.0.1', port: 5900, password: 'secret' }),
      forwards: {
        add: async ({ hostPort = 40_000, guestPort }) => {
          this.forwards.push({ hostPort, guestPort })
          return { hostPort, guestPort }
        },
        list: async () => [...this.forwards],
        remove: async hostPort => {
          this.forwards = this.forwards.filter(each => each.hostPort !== hostPort)
        }
      },
      facts: async () => this.facts,
      logs: async place => ({ guest: join(place.folder, 'guest.log'), hypervisor: join(place.folder, 'vm.log') }),
      tls: async place => ({ url: 'tcp://127.0.0.1:1', tlsFolder: join(place.folder, 'tls') }),
      renewCertificates: async () => {
        this.#ask('vm.renewCertificates')
        return 'renewed'
      },
      rearm: async () => {
        this.#ask('vm.rearm')
        return 'renewed'
      },
      upgrade: async version => {
        this.#ask(`vm.upgrade ${version}`)
        return 'replaced'
      },
      remove: async () => {
        this.#ask('vm.remove')
        this.power = 'absent'
      },
      watch: async () => undefined
    }
  }

  readonly world: World = {
    driver: async name => {
      if (name === 'fake') return this.driver
      const { driverNamed } = await import('#driver/drivers.ts')
      return driverNamed(name)
    },
    agentBuild: async () => 'b',
    ensureAgent: async config => {
      this.#ask('ensureAgent')
      const was = this.#agent === undefined ? 'started' : 'running'
      this.#agent ??= await answerVersion(config.dockerSocket)
      const { agentSocket: _, logFile: __, ...told } = config
      return { status: { ...told, pid: 1, startedAt: '', health: { ok: false, why: 'not asked' } }, was }
    },
    stopAgent: async () => {
      this.#ask('stopAgent')
      return this.#stopAgent()
    }
  }

  async #stopAgent(): Promise<boolean> {
    const agent = this.#agent
    this.#agent = undefined
    if (agent === undefined) return false
    agent.closeAllConnections()
    await new Promise(resolve => agent.close(resolve))
    return true
  }

  get folderExists(): boolean {
    return existsSync(this.paths.folder)
  }
}

/** The machine's docker socket, behind which an engine says that it is a Linux one. */
async function answerVersion(socket: string): Promise<Server> {
  const server = createServer((_, response) =>
    response.end(JSON.stringify({ Version: '29.7.2', Os: 'linux', Arch: 'amd64' }))
  )
  await new Promise<void>(resolve => {
    server.listen(socket, resolve)
  })
  return server
}
