import { type ChildProcess, spawn } from 'node:child_process'
import type { Readable } from 'node:stream'
import { Fault, messageOf } from './fault.ts'

export interface RunOptions {
  signal?: AbortSignal
  timeoutMs?: number
  env?: NodeJS.ProcessEnv
  cwd?: string
  /** In a session of its own, without a terminal to ask at; what the program has started ends with it when it is stopped. */
  session?: boolean
}

export interface RunResult {
  exitCode: number
  stdout: string
  stderr: string
}

const TAIL_BYTES = 4096
const OUTPUT_BYTES = 4 * 1024 * 1024

/**
 * Runs a program to its end and gives back what it wrote; a non-zero exit is a result, not an error.
 * Fault when it cannot be started, is aborted or takes longer than `timeoutMs`.
 */
export async function run(argv: readonly [string, ...string[]], options: RunOptions = {}): Promise<RunResult> {
  const [program, ...args] = argv
  const child = spawn(program, args, { ...spawnOptions(options), stdio: ['ignore', 'pipe', 'pipe'] })
  let stdout = ''
  child.stdout?.setEncoding('utf8').on('data', (text: string) => {
    if (stdout.length < OUTPUT_BYTES) stdout += text
  })
  const stderr = tailOf(child.stderr)
  const exitCode = await ended(child, program, options)
  return { exitCode, stdout, stderr: stderr() }
}

/**
 * Starts a program whose output is a stream. `done` settles after the program has ended: a Fault with the end of its
 * stderr when it failed. The stream must be read for the program to go on.
 */
export function stream(
  argv: readonly [string, ...string[]],
  options: RunOptions & { onLine?: (line: string) => void } = {}
): { stdout: Readable; done: Promise<void> } {
  const [program, ...args] = argv
  const child = spawn(program, args, { ...spawnOptions(options), stdio: ['ignore', 'pipe', 'pipe'] })
  const stderr = tailOf(child.stderr, options.onLine)
  const done = ended(child, program, options).then(exitCode => {
    if (exitCode !== 0) throw new Fault(`${program} failed with exit code ${exitCode}: ${lastLines(stderr(), 5)}`)
  })
  return { stdout: child.stdout as Readable, done }
}

/** Starts a program in a session of its own that outlives this process. Its output goes to the open file `output`. */
export async function startDetached(
  argv: readonly [string, ...string[]],
  options: { cwd: string; env: NodeJS.ProcessEnv; output: number }
): Promise<number> {
  const [program, ...args] = argv
  const child = spawn(program, args, {
    cwd: options.cwd,
    env: options.env,
    detached: true,
    stdio: ['ignore', options.output, options.output]
  })
  return new Promise((resolve, reject) => {
    child.once('error', error => reject(new Fault(`${program} could not be started: ${error.message}`)))
    child.once('spawn', () => {
      child.unref()
      resolve(child.pid ?? 0)
    })
  })
}

/** Gives this terminal to a program and waits for its end; its exit code, 128 and up for a signal. */
export async function runInTerminal(argv: readonly [string, ...string[]], env: NodeJS.ProcessEnv): Promise<number> {
  const [program, ...args] = argv
  const child = spawn(program, args, { env, stdio: 'inherit' })
  // Ctrl-C belongs to the program in the terminal, not to us.
  const ignore = () => undefined
  process.on('SIGINT', ignore)
  try {
    return await ended(child, program, {})
  } finally {
    process.off('SIGINT', ignore)
  }
}

/** The last `count` lines of a text, in one line. */
export function lastLines(text: string, count: number): string {
  return text.trim().split('\n').slice(-count).join(' | ')
}

function spawnOptions(options: RunOptions) {
  return {
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
    ...(options.env === undefined ? {} : { env: options.env }),
    ...(options.session ? { detached: true } : {})
  }
}

function tailOf(readable: Readable | null, onLine?: (line: string) => void): () => string {
  let tail = ''
  let line = ''
  readable?.setEncoding('utf8').on('data', (text: string) => {
    tail = (tail + text).slice(-TAIL_BYTES)
    if (onLine === undefined) return
    const lines = (line + text).split(/[\r\n]+/)
    line = lines.pop() ?? ''
    for (const whole of lines) onLine(whole)
  })
  return () => tail
}

function kill(child: ChildProcess, signal: NodeJS.Signals, session: boolean): void {
  // Once it has been waited for, the number may be another's.
  const pid = child.exitCode === null && child.signalCode === null ? child.pid : undefined
  if (!session || pid === undefined) child.kill(signal)
  else process.kill(-pid, signal)
}

function ended(child: ChildProcess, program: string, options: RunOptions): Promise<number> {
  return new Promise((resolve, reject) => {
    const { signal, timeoutMs, session = false } = options
    let stopped: Fault | undefined
    const stop = (reason: Fault) => {
      stopped = reason
      kill(child, 'SIGTERM', session)
      setTimeout(() => kill(child, 'SIGKILL', session), 3000).unref()
    }
    const abort = () => stop(new Fault(`${program} was interrupted.`, { exitCode: 130 }))
    const timer =
      timeoutMs === undefined
        ? undefined
        : setTimeout(() => stop(new Fault(`${program} took longer than ${timeoutMs / 1000} s.`)), timeoutMs)
    if (signal?.aborted) abort()
    signal?.addEventListener('abort', abort, { once: true })
    const settle = () => {
      clearTimeout(timer)
      signal?.removeEventListener('abort', abort)
    }
    child.once('error', error => {
      settle()
      const missing = 'code' in error && error.code === 'ENOENT'
      reject(
        missing
          ? new Fault(`${program} is not installed or not on PATH.`, { exitCode: 4 })
          : new Fault(`${program} could not be started: ${messageOf(error)}`)
      )
    })
    child.once('close', (code, signalName) => {
      settle()
      if (stopped !== undefined) reject(stopped)
      else resolve(code ?? 128 + (signalName === 'SIGINT' ? 2 : signalName === 'SIGKILL' ? 9 : 15))
    })
  })
}
