import { spawn } from 'node:child_process'
import type { Readable } from 'node:stream'
import { fileURLToPath } from 'node:url'

export const PROJECT = fileURLToPath(new URL('../..', import.meta.url))

export interface Result {
  code: number
  stdout: string
  stderr: string
}

export interface RunOptions {
  /** Added to, or with undefined taken from, the test's own environment. */
  env?: Record<string, string | undefined>
  cwd?: string
  /** Standard input; none by default. */
  input?: string | Buffer | Readable
  timeoutMs?: number
}

/** The environment of this process without what would lead a client to another engine or home. */
export function cleanEnv(extra: RunOptions['env'] = {}): NodeJS.ProcessEnv {
  const kept = Object.entries(process.env).filter(
    ([name]) => !/^(DOCKER|ORIEL|COMPOSE|BUILDX|BUILDKIT|VITEST)/.test(name)
  )
  return { ...Object.fromEntries(kept), ...extra }
}

/** Runs a program to its end and keeps what it printed. A program that outlives the limit is killed and rejects. */
export function run(program: string, args: readonly string[], options: RunOptions = {}): Promise<Result> {
  const { timeoutMs = 120_000, input } = options
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, {
      env: cleanEnv(options.env),
      cwd: options.cwd ?? PROJECT,
      stdio: [input === undefined ? 'ignore' : 'pipe', 'pipe', 'pipe']
    })
    const stdout: Buffer[] = []
    const stderr: Buffer[] = []
    const said = () =>
      `${Buffer.concat(stdout).toString().slice(-2000)}${Buffer.concat(stderr).toString().slice(-2000)}`
    const timer = setTimeout(() => {
      child.kill('SIGKILL')
      reject(new Error(`${program} ${args.join(' ')} did not end within ${timeoutMs} ms. It said:\n${said()}`))
    }, timeoutMs)
    child.stdout?.on('data', chunk => stdout.push(chunk))
    child.stderr?.on('data', chunk => stderr.push(chunk))
    child.on('error', error => {
      clearTimeout(timer)
      reject(error)
    })
    child.on('close', (code, signal) => {
      clearTimeout(timer)
      resolve({
        code: code ?? (signal === 'SIGINT' ? 130 : 137),
        stdout: Buffer.concat(stdout).toString(),
        stderr: Buffer.concat(stderr).toString()
      })
    })
    if (child.stdin === null || input === undefined) return
    // A program may end before it has read everything.
    child.stdin.on('error', () => {})
    if (typeof input === 'string' || Buffer.isBuffer(input)) child.stdin.end(input)
    else input.pipe(child.stdin)
  })
}

/** As run, but an exit code other than 0 rejects with what the program said. Gives its standard output. */
export async function runOk(program: string, args: readonly string[], options: RunOptions = {}): Promise<string> {
  const result = await run(program, args, options)
  if (result.code !== 0) {
    throw new Error(`${program} ${args.join(' ')} ended with ${result.code}:\n${result.stdout}${result.stderr}`)
  }
  return result.stdout
}
