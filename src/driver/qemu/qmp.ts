import { randomBytes } from 'node:crypto'
import { createConnection, type Socket } from 'node:net'
import { Fault, messageOf } from '#lib/fault.ts'
import { checkAborted, interrupted, pause } from '#lib/wait.ts'

/**
 * An error of QEMU's control socket. `errorClass` is QEMU's own (`GenericError`, `CommandNotFound`, `DeviceNotActive`,
 * `DeviceNotFound`, `KVMMissingCap`), or ours: `Absent` nobody listens, `Closed` the connection ended, `Timeout`.
 */
export class QmpError extends Fault {
  readonly command: string
  readonly errorClass: string

  constructor(command: string, errorClass: string, message: string) {
    super(message)
    this.command = command
    this.errorClass = errorClass
  }
}

export interface QmpEvent {
  event: string
  data: Record<string, unknown>
  timestamp?: { seconds: number; microseconds: number }
}

type Listener = (event: QmpEvent) => void

interface Pending {
  command: string
  resolve(value: unknown): void
  reject(error: Error): void
  timer: NodeJS.Timeout
}

const COMMAND_MS = 30_000

/**
 * QEMU's control socket: JSON lines, https://www.qemu.org/docs/master/interop/qmp-spec.html.
 * QEMU serves one client at a time, so a connection is to be closed soon.
 */
export class Qmp {
  /** Of QEMU: major, minor, micro. */
  readonly version: readonly [number, number, number]
  /** Settles when the connection has ended, by whomever. */
  readonly closed: Promise<void>
  readonly #socket: Socket
  readonly #pending = new Map<string, Pending>()
  readonly #listeners = new Map<string, Set<Listener>>()
  #count = 0
  #open = true

  private constructor(socket: Socket, lines: Lines, version: readonly [number, number, number]) {
    this.#socket = socket
    this.version = version
    lines.receiver = message => this.#receive(message)
    this.closed = new Promise(resolve => {
      const end = () => {
        this.#end()
        resolve()
      }
      if (socket.destroyed) end()
      else socket.once('close', end)
    })
  }

  /**
   * Connects and negotiates. While QEMU serves another client this one waits in line, up to `timeoutMs` (10 s).
   * QmpError `Absent` when nobody listens, `Timeout` when the other client keeps QEMU for longer.
   */
  static async connect(path: string, options: { timeoutMs?: number; signal?: AbortSignal } = {}): Promise<Qmp> {
    const timeoutMs = options.timeoutMs ?? 10_000
    const end = Date.now() + timeoutMs
    for (;;) {
      checkAborted(options.signal)
      try {
        return await Qmp.#attempt(path, Math.max(1, end - Date.now()), options.signal)
      } catch (error) {
        // The queue of waiting clients is full: Linux says EAGAIN, macOS ECONNREFUSED, as if nobody listened.
        const code = error instanceof Error && 'code' in error ? error.code : undefined
        const full = code === 'EAGAIN' || (code === 'ECONNREFUSED' && process.platform === 'darwin')
        const patience = code === 'ECONNREFUSED' ? end - timeoutMs + Math.min(timeoutMs, 1000) : end
        if (full && Date.now() + 50 < patience) await pause(50, options.signal)
        else if (full && code === 'EAGAIN') throw busy(path, timeoutMs)
        else if (code === 'ENOENT' || code === 'ECONNREFUSED') {
          throw new QmpError('connect', 'Absent', `no QEMU listens on ${path}.`)
        } else
          throw error instanceof Fault
            ? error
            : new QmpError('connect', 'Closed', `cannot talk to QEMU on ${path}: ${messageOf(error)}`)
      }
    }
  }

  static async #attempt(path: string, timeoutMs: number, signal: AbortSignal | undefined): Promise<Qmp> {
    const socket = createConnection({ path })
    const lines = new Lines(socket)
    try {
      const greeting = await new Promise<unknown>((resolve, reject) => {
        const timer = setTimeout(() => reject(busy(path, timeoutMs)), timeoutMs)
        const abort = () => reject(interrupted())
        const settle = () => {
          clearTimeout(timer)
          signal?.removeEventListener('abort', abort)
        }
        signal?.addEventListener('abort', abort, { once: true })
        lines.receiver = message => {
          settle()
          resolve(message)
        }
        socket.once('error', error => {
          settle()
          reject(error)
        })
        socket.once('close', () => {
          settle()
          reject(new QmpError('connect', 'Closed', `QEMU on ${path} closed the connection before it said anything.`))
        })
      })
      const version = versionOf(greeting)
      if (version === undefined) throw new QmpError('connect', 'Closed', `what listens on ${path} is not QEMU.`)
      const qmp = new Qmp(socket, lines, version)
      // Errors of the socket arrive as the failure of whatever was waited for.
      socket.on('error', () => undefined)
      await qmp.execute('qmp_capabilities', undefined, { timeoutMs })
      return qmp
    } catch (error) {
      socket.on('error', () => undefined)
      socket.destroy()
      throw error
    }
  }

  /** Runs a command and gives its answer. QmpError with QEMU's class and words when it refuses. */
  execute<T = unknown>(
    command: string,
    args?: Record<string, unknown>,
    options: { timeoutMs?: number } = {}
  ): Promise<T> {
    if (!this.#open) return Promise.reject(closedError(command))
    this.#count += 1
    const id = `oriel-${this.#count}`
    const timeoutMs = options.timeoutMs ?? COMMAND_MS
    return new Promise<T>((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#pending.delete(id)
        reject(new QmpError(command, 'Timeout', `QEMU did not answer ${command} within ${timeoutMs / 1000} s.`))
      }, timeoutMs)
      this.#pending.set(id, { command, resolve: value => resolve(value as T), reject, timer })
      this.#socket.write(
        `${JSON.stringify({ execute: command, ...(args === undefined ? {} : { arguments: args }), id })}\n`
      )
    })
  }

  /** Runs a line of the human monitor, for what has no command of its own. Gives the text it prints. */
  human(line: string): Promise<string> {
    return this.execute<string>('human-monitor-command', { 'command-line': line })
  }

  /** Calls `listener` at each event of this name; gives the function that ends it. */
  on(event: string, listener: Listener): () => void {
    const listeners = this.#listeners.get(event) ?? new Set()
    this.#listeners.set(event, listeners)
    listeners.add(listener)
    return () => listeners.delete(listener)
  }

  /** The next event of this name that `matches`. QmpError `Timeout` or `Closed`; Fault 130 when the signal fires. */
  waitFor(
    event: string,
    options: { timeoutMs: number; signal?: AbortSignal; matches?: (event: QmpEvent) => boolean }
  ): Promise<QmpEvent> {
    return new Promise((resolve, reject) => {
      const settle = () => {
        clearTimeout(timer)
        off()
        options.signal?.removeEventListener('abort', abort)
      }
      const fail = (error: Error) => {
        settle()
        reject(error)
      }
      const timer = setTimeout(
        () => fail(new QmpError(event, 'Timeout', `QEMU told of no ${event} within ${options.timeoutMs / 1000} s.`)),
        options.timeoutMs
      )
      const abort = () => fail(interrupted())
      const off = this.on(event, found => {
        if (options.matches?.(found) === false) return
        settle()
        resolve(found)
      })
      options.signal?.addEventListener('abort', abort, { once: true })
      if (options.signal?.aborted) abort()
      void this.closed.then(() => fail(closedError(event)))
    })
  }

  /** Ends the connection, so that QEMU serves the next client. The machine goes on. */
  close(): void {
    this.#socket.destroy()
    this.#end()
  }

  #receive(message: unknown): void {
    if (!isRecord(message)) return
    if (typeof message.event === 'string') {
      const event = { ...message, event: message.event, data: isRecord(message.data) ? message.data : {} }
      for (const listener of [...(this.#listeners.get(message.event) ?? [])]) listener(event)
      return
    }
    const pending = this.#pending.get(String(message.id))
    if (pending === undefined) return
    this.#pending.delete(String(message.id))
    clearTimeout(pending.timer)
    if (!isRecord(message.error)) pending.resolve(message.return)
    else {
      const { class: errorClass, desc } = message.error
      pending.reject(
        new QmpError(pending.command, String(errorClass), `QEMU refused ${pending.command}: ${String(desc)}`)
      )
    }
  }

  #end(): void {
    this.#open = false
    for (const { command, reject, timer } of this.#pending.values()) {
      clearTimeout(timer)
      reject(closedError(command))
    }
    this.#pending.clear()
  }
}

/** Connects, works, and closes in any case. */
export async function withQmp<T>(
  path: string,
  work: (qmp: Qmp) => Promise<T>,
  options: { timeoutMs?: number; signal?: AbortSignal } = {}
): Promise<T> {
  const qmp = await Qmp.connect(path, options)
  try {
    return await work(qmp)
  } finally {
    qmp.close()
  }
}

interface JobInfo {
  id: string
  status: string
  error?: string
}

/**
 * Runs a command that QEMU carries out as a job (snapshot-save, -load, -delete) to its end. QmpError with the job's own
 * error. The signal ends only the waiting: such a job cannot be cancelled.
 */
export async function runJob(
  qmp: Qmp,
  command: string,
  args: Record<string, unknown>,
  options: { timeoutMs?: number; signal?: AbortSignal } = {}
): Promise<void> {
  const id = `oriel-${randomBytes(6).toString('hex')}`
  const timeoutMs = options.timeoutMs ?? 600_000
  const concluded = qmp.waitFor('JOB_STATUS_CHANGE', {
    timeoutMs,
    ...(options.signal === undefined ? {} : { signal: options.signal }),
    matches: ({ data }) => data.id === id && data.status === 'concluded'
  })
  // Awaited below; when the command itself is refused, nobody waits for it.
  concluded.catch(() => undefined)
  // The answer may come only after the work: QEMU 7.2 saves within the command when it can.
  await qmp.execute(command, { 'job-id': id, ...args }, { timeoutMs })
  await concluded
  const job = (await qmp.execute<JobInfo[]>('query-jobs')).find(info => info.id === id)
  await qmp.execute('job-dismiss', { id })
  if (job?.error !== undefined) throw new QmpError(command, 'GenericError', `${command} failed: ${job.error}`)
}

/** Cuts what a socket sends into lines and parses each; a line may come in many pieces. */
class Lines {
  receiver: (message: unknown) => void = () => undefined

  constructor(socket: Socket) {
    let pieces: string[] = []
    socket.setEncoding('utf8').on('data', (text: string) => {
      const lines = text.split('\n')
      const last = lines.pop() ?? ''
      for (const line of lines) {
        pieces.push(line)
        const whole = pieces.join('').trim()
        pieces = []
        if (whole !== '') this.receiver(parsed(whole))
      }
      if (last !== '') pieces.push(last)
    })
  }
}

function parsed(line: string): unknown {
  try {
    return JSON.parse(line)
  } catch {
    return undefined
  }
}

function versionOf(greeting: unknown): readonly [number, number, number] | undefined {
  const qmp = isRecord(greeting) ? greeting.QMP : undefined
  const version = isRecord(qmp) ? qmp.version : undefined
  const qemu = isRecord(version) ? version.qemu : undefined
  return isRecord(qemu) ? [Number(qemu.major), Number(qemu.minor), Number(qemu.micro)] : undefined
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null
}

function closedError(command: string): QmpError {
  return new QmpError(command, 'Closed', `QEMU ended, or closed the connection, during ${command}.`)
}

function busy(path: string, timeoutMs: number): QmpError {
  return new QmpError(
    'connect',
    'Timeout',
    `QEMU on ${path} did not answer within ${timeoutMs / 1000} s: another client holds it, or it hangs.`
  )
}
