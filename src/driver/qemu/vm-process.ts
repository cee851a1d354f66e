import { readFileSync } from 'node:fs'
import { open, readdir, readFile } from 'node:fs/promises'
import { run, startDetached } from '#lib/child-process.ts'
import { Fault, messageOf } from '#lib/fault.ts'
import { pause, poll } from '#lib/wait.ts'
import { qemuArgv, qmpChardev } from './argv.ts'
import { portHolder } from './ports.ts'
import { type Qmp, QmpError, withQmp } from './qmp.ts'
import { loadSnapshot } from './snapshot.ts'
import { startFailure } from './start-failure.ts'
import { type VmSpec, vmName } from './vm-spec.ts'

const START_MS = 60_000

/**
 * Starts QEMU in a session of its own and waits until its control socket answers; with `loadSnapshot` until the guest is
 * where the snapshot was. QEMU's messages are appended to `logFile` (0600). Fault with what QEMU said when it ends at
 * once, Fault 3 when the machine runs already.
 */
export async function startVm(
  spec: VmSpec,
  logFile: string,
  options: { env?: NodeJS.ProcessEnv; signal?: AbortSignal; timeoutMs?: number } = {}
): Promise<{ pid: number }> {
  const { qmp } = spec.files
  // QEMU removes a socket that is in its way, also one of a machine that runs.
  const running = await vmPid(qmp)
  if (running !== undefined) {
    throw new Fault(`the machine runs already (process ${running}).`, { exitCode: 3 })
  }
  const log = await open(logFile, 'a', 0o600)
  const from = (await log.stat()).size
  let pid: number
  try {
    // Sockets and logs that QEMU makes are for this user only; a umask of this process would be one of all its threads.
    pid = await startDetached(['/bin/sh', '-c', 'umask 077; exec "$@"', 'sh', ...qemuArgv(spec)], {
      cwd: '/',
      env: options.env ?? process.env,
      output: log.fd
    })
  } finally {
    await log.close()
  }
  try {
    await answers(spec, pid, { timeoutMs: options.timeoutMs ?? START_MS, ...options })
    const { loadSnapshot: tag } = spec
    if (tag !== undefined) {
      await withQmp(qmp, async connection => {
        await loadSnapshot(connection, tag)
        if (!spec.paused) await connection.execute('cont')
      })
    }
    return { pid }
  } catch (error) {
    const died = !isAlive(pid)
    if (!died) await killVm(qmp, pid)
    const interrupted = error instanceof Fault && error.exitCode === 130
    const said = (await readFile(logFile, 'utf8').catch(() => '')).slice(from)
    if (interrupted || (!died && said.trim() === '')) throw error
    throw await startFailure(spec, said, messageOf(error), portHolder)
  }
}

async function answers(spec: VmSpec, pid: number, options: { timeoutMs: number; signal?: AbortSignal }): Promise<void> {
  const wait = options.signal === undefined ? {} : { signal: options.signal }
  const end = Date.now() + options.timeoutMs
  const named = await poll(
    async () => {
      if (!isAlive(pid)) throw new Fault('QEMU ended at once.')
      try {
        return await withQmp(spec.files.qmp, nameOf, { timeoutMs: Math.max(1000, end - Date.now()), ...wait })
      } catch (error) {
        if (error instanceof QmpError) return undefined
        throw error
      }
    },
    { limitMs: options.timeoutMs, ...wait }
  )
  if (named === undefined) {
    throw new Fault(`QEMU did not answer on its control socket within ${options.timeoutMs / 1000} s.`)
  }
  if (named !== vmName(spec.name)) throw new Fault(`${spec.files.qmp} belongs to another machine: ${named}.`)
}

async function nameOf(qmp: Qmp): Promise<string> {
  return (await qmp.execute<{ name?: string }>('query-name')).name ?? ''
}

/** How a machine is, in Oriel's words where QEMU has several for the same. */
export type VmState =
  /** No process. */
  | 'absent'
  | 'running'
  | 'paused'
  /** The guest stands still because the host could not read or write its disk, as when the host's disk is full. */
  | 'io-error'
  /** The guest has shut down; QEMU is about to end. */
  | 'shutdown'
  /** The guest stands still for good: it panicked, or the accelerator cannot run what it does (KVM internal error). */
  | 'crashed'
  /** A saved state is being loaded. */
  | 'inmigrate'
  /** A process is there and does not answer. */
  | 'silent'

/** Asks a machine how it is. Never throws but for the signal. */
export async function vmState(
  qmpSocket: string,
  options: { timeoutMs?: number; signal?: AbortSignal } = {}
): Promise<VmState> {
  try {
    return await withQmp(qmpSocket, stateOf, { timeoutMs: 5000, ...options })
  } catch (error) {
    if (!(error instanceof QmpError)) throw error
    return (await vmPid(qmpSocket)) === undefined ? 'absent' : 'silent'
  }
}

/** As `vmState`, over a connection that is there. */
export async function stateOf(qmp: Qmp): Promise<VmState> {
  const { status } = await qmp.execute<{ status: string }>('query-status')
  switch (status) {
    case 'running':
    case 'io-error':
    case 'shutdown':
    case 'inmigrate':
      return status
    case 'guest-panicked':
    case 'internal-error':
      return 'crashed'
    default:
      // prelaunch, paused, debug, suspended, watchdog and the steps of saving and loading.
      return 'paused'
  }
}

/**
 * Presses the power button and waits until QEMU has ended; again every `againMs`, since Windows may miss the first while
 * it starts. Cuts the power after `limitMs`. Gives how it ended.
 */
export async function powerDown(
  qmp: Qmp,
  limitMs: number,
  options: { againMs?: number; signal?: AbortSignal } = {}
): Promise<'shut down' | 'power cut'> {
  const end = Date.now() + limitMs
  const ended = qmp.closed.then(() => true as const)
  const state = await stateOf(qmp)
  // A guest that stands still cannot see the button.
  if (state === 'paused' || state === 'io-error') await qmp.execute('cont')
  while (state !== 'crashed' && Date.now() < end) {
    try {
      await qmp.execute('system_powerdown')
    } catch (error) {
      if (error instanceof QmpError && error.errorClass === 'Closed') return 'shut down'
      throw error
    }
    const wait = Math.min(options.againMs ?? 30_000, Math.max(0, end - Date.now()))
    if (await Promise.race([ended, pauseUnlessEnded(wait, options.signal)])) return 'shut down'
  }
  await quit(qmp)
  return 'power cut'
}

/** Ends QEMU at once, as a cut of the power does; what the guest has flushed is on disk. */
export async function quit(qmp: Qmp): Promise<void> {
  await qmp.execute('quit').catch((error: unknown) => {
    // QEMU may be gone before its answer is read.
    if (!(error instanceof QmpError && error.errorClass === 'Closed')) throw error
  })
  await qmp.closed
}

async function pauseUnlessEnded(ms: number, signal: AbortSignal | undefined): Promise<false> {
  await pause(ms, signal)
  return false
}

/**
 * Kills the process of a machine and waits for its end. `pid` is a process that is to be killed only if it is the
 * machine's; without it the machine's process is looked for. Gives false when there is none. Never kills a stranger.
 */
export async function killVm(qmpSocket: string, pid?: number): Promise<boolean> {
  const found = pid === undefined ? await vmPid(qmpSocket) : (await isVm(pid, qmpSocket)) ? pid : undefined
  if (found === undefined) return false
  try {
    process.kill(found, 'SIGKILL')
  } catch {
    // It ended in between.
  }
  if (await waitForExit(found, 10_000)) return true
  throw new Fault(`QEMU (process ${found}) does not end, not even when killed.`, {
    hint: 'The host hangs in a system call of it; a restart of the host helps.'
  })
}

/** Waits for the end of a process; false when it lives for longer than `limitMs`. */
export async function waitForExit(pid: number, limitMs: number, signal?: AbortSignal): Promise<boolean> {
  const gone = await poll(async () => (isAlive(pid) ? undefined : true), {
    limitMs,
    ...(signal === undefined ? {} : { signal })
  })
  return gone === true
}

/** True when there is a process of this number, whatever it is. */
export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    // One that has ended and waits for its parent to take notice counts as gone.
    return !/^State:\s+Z/m.test(statusOf(pid))
  } catch (error) {
    return error instanceof Error && 'code' in error && error.code === 'EPERM'
  }
}

/** What Linux tells of a process; nothing elsewhere. */
function statusOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/status`, 'utf8')
  } catch {
    return ''
  }
}

/** The process of the machine with this control socket, found by its command line: no record of it can be out of date. */
export async function vmPid(qmpSocket: string): Promise<number | undefined> {
  const mark = qmpChardev(qmpSocket)
  if (process.platform === 'linux') {
    for (const name of await readdir('/proc')) {
      if (/^\d+$/.test(name) && (await commandOf(Number(name))).includes(mark)) return Number(name)
    }
    return undefined
  }
  const { stdout } = await run(['ps', '-axww', '-o', 'pid=,command='], { timeoutMs: 10_000 })
  const line = stdout.split('\n').find(text => text.includes(` ${mark} `))
  return line === undefined ? undefined : Number.parseInt(line.trim(), 10)
}

/** True when this process is the QEMU of the machine with this control socket. */
async function isVm(pid: number, qmpSocket: string): Promise<boolean> {
  const mark = qmpChardev(qmpSocket)
  if (process.platform === 'linux') return (await commandOf(pid)).includes(mark)
  const { stdout } = await run(['ps', '-ww', '-o', 'command=', '-p', String(pid)], { timeoutMs: 10_000 })
  return stdout.includes(` ${mark} `)
}

/** The arguments of a process (Linux); none when it is gone. */
async function commandOf(pid: number): Promise<string[]> {
  return (await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')).split('\0')
}

/** Processor time that a process has used, in seconds; undefined when it is gone. */
export async function cpuSeconds(pid: number): Promise<number | undefined> {
  if (process.platform !== 'linux') {
    const { stdout } = await run(['ps', '-o', 'time=', '-p', String(pid)], { timeoutMs: 10_000 })
    return secondsOf(stdout)
  }
  const text = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => undefined)
  if (text === undefined) return undefined
  // proc_pid_stat(5): the name in parentheses may hold anything, so count from its end. Fields 14 and 15, in hundredths.
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ')
  // One that has ended and waits for its parent to take notice does nothing any more.
  if (fields[0] === 'Z') return undefined
  return (Number(fields[11]) + Number(fields[12])) / 100
}

/** Reads a time of ps: `0:05.12`, `1:02:03`, `2-01:02:03`. */
export function secondsOf(text: string): number | undefined {
  const found = /^\s*(?:(\d+)-)?(?:(\d+):)?(\d+):(\d+(?:\.\d+)?)\s*$/.exec(text)
  if (found === null) return undefined
  const [days, hours, minutes, seconds] = found.slice(1).map(part => Number(part ?? 0))
  return (days ?? 0) * 86_400 + (hours ?? 0) * 3600 + (minutes ?? 0) * 60 + (seconds ?? 0)
}
