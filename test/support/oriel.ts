import { join } from 'node:path'
import type { ContainerInspectInfo, ImageInspectInfo } from 'dockerode'
import { afterAll, beforeAll, inject } from 'vitest'
import { PROJECT, type Result, type RunOptions, run } from './command.ts'
import { type Home, temporaryHome } from './home.ts'
import { TerminalSession } from './terminal.ts'

declare module 'vitest' {
  interface ProvidedContext {
    /** URL of the Linux engine that the end-to-end tests use. */
    engine: string
  }
}

const ORIEL = join(PROJECT, 'bin', 'oriel.js')

/** Runs the built command line as a person with this home would. */
export function oriel(args: readonly string[], home: Home, options: RunOptions = {}): Promise<Result> {
  return run(process.execPath, [ORIEL, ...args], {
    timeoutMs: 300_000,
    ...options,
    env: { ...home.env, ...options.env }
  })
}

/** Runs the docker CLI as a person with this home would. */
export function docker(args: readonly string[], home: Home, options: RunOptions = {}): Promise<Result> {
  return run('docker', args, { ...options, env: { ...home.env, ...options.env } })
}

/** A machine of the wine driver that lives as long as its test file. */
export class TestMachine {
  readonly name: string
  readonly context: string
  readonly home = temporaryHome()
  /** The Linux engine beneath, for tests that look behind the curtain. */
  readonly engine = inject('engine')
  /** Path of the gateway's socket. */
  socket = ''

  constructor(name: string) {
    this.name = name
    this.context = `oriel-${name}`
  }

  get url(): string {
    return `unix://${this.socket}`
  }

  oriel(args: readonly string[], options?: RunOptions): Promise<Result> {
    return oriel(args, this.home, options)
  }

  /** `docker --context …` of this machine. */
  docker(args: readonly string[], options?: RunOptions): Promise<Result> {
    return docker(['--context', this.context, ...args], this.home, options)
  }

  /** As docker, but failing rejects; gives standard output with line ends made `\n`, and without the last one. */
  async out(args: readonly string[], options?: RunOptions): Promise<string> {
    const result = await this.docker(args, options)
    if (result.code !== 0) {
      throw new Error(`docker ${args.join(' ')} ended with ${result.code}:\n${result.stdout}${result.stderr}`)
    }
    return result.stdout.replaceAll('\r\n', '\n').replace(/\n$/, '')
  }

  /** `docker --context …` under a pseudo-terminal. */
  terminal(args: readonly string[]): TerminalSession {
    return new TerminalSession(['docker', '--context', this.context, ...args], this.home.env)
  }

  async inspectContainer(name: string): Promise<ContainerInspectInfo> {
    return JSON.parse(await this.out(['container', 'inspect', name]))[0]
  }

  async inspectImage(name: string): Promise<ImageInspectInfo> {
    return JSON.parse(await this.out(['image', 'inspect', name]))[0]
  }

  async up(): Promise<void> {
    const { code, stdout, stderr } = await this.oriel(['up', this.name, '--engine', this.engine], {
      timeoutMs: 590_000
    })
    if (code !== 0) throw new Error(`oriel up ended with ${code}:\n${stdout}${stderr}`)
    this.socket = JSON.parse((await this.oriel(['status', this.name, '--json'])).stdout).socket
  }

  /** Removes every container and the machine, and its home. */
  async remove(): Promise<void> {
    const ids = (await this.docker(['ps', '-aq'])).stdout.split('\n').filter(Boolean)
    if (ids.length > 0) await this.docker(['rm', '-f', '-v', ...ids])
    await this.oriel(['rm', '--force', this.name])
    this.home.remove()
  }
}

/** A machine that is brought up before the tests of this file and removed after them. */
export function useMachine(name: string): TestMachine {
  const machine = new TestMachine(name)
  beforeAll(() => machine.up(), 600_000)
  afterAll(() => machine.remove(), 120_000)
  return machine
}
