import { createHash } from 'node:crypto'
import { closeSync, openSync } from 'node:fs'
import { mkdir, readFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { writeFileAtomic } from '#lib/atomic-file.ts'
import { lastLines, startDetached } from '#lib/child-process.ts'
import { Fault } from '#lib/fault.ts'
import { rotateLog } from '#lib/log.ts'
import { orielVersion, packageRoot } from '#lib/package-root.ts'
import { poll } from '#lib/wait.ts'
import { type AgentConfig, type AgentStatus, agentStatus, askAgent } from './control.ts'

const START_MS = 20_000
const STOP_MS = 8000

// The agent holds no big data: everything is streamed. A small young generation keeps its resident memory low.
const NODE_FLAGS = ['--max-semi-space-size=2', '--max-old-space-size=256', '--optimize-for-size']

/** The bundled program of the agent. */
function agentProgram(): string {
  return join(packageRoot(), 'dist', 'agent.js')
}

/** What tells one build of the agent from another: the version, and a hash since a checkout changes without one. */
export async function agentBuild(): Promise<string> {
  try {
    const program = await readFile(agentProgram())
    return `${orielVersion()}+${createHash('sha256').update(program).digest('hex').slice(0, 8)}`
  } catch {
    throw new Fault(`${agentProgram()} is missing.`, { hint: 'In a checkout, build it first: npm run build' })
  }
}

/**
 * Makes sure that an agent with exactly this configuration serves the machine. Gives its status, and whether it was there
 * already. Fault when a new one does not come up. The caller holds the machine's lock.
 */
export async function ensureAgent(
  config: AgentConfig,
  configFile: string,
  signal: AbortSignal
): Promise<{ status: AgentStatus; was: 'running' | 'replaced' | 'started' }> {
  const present = await agentStatus(config.agentSocket)
  if (present !== undefined && isSame(present, config)) return { status: present, was: 'running' }
  if (present !== undefined) await stopAgent(config.agentSocket)
  await mkdir(dirname(config.agentSocket), { recursive: true, mode: 0o700 })
  await writeFileAtomic(configFile, `${JSON.stringify(config, null, 2)}\n`)
  rotateLog(config.logFile)
  const output = openSync(config.logFile, 'a', 0o600)
  const { NODE_OPTIONS: _, ...env } = process.env
  let pid: number
  try {
    const argv = [...NODE_FLAGS, agentProgram(), config.machine, configFile]
    pid = await startDetached([process.execPath, ...argv], { cwd: '/', env, output })
  } finally {
    closeSync(output)
  }
  const status = await poll(
    async () => {
      const now = await agentStatus(config.agentSocket)
      if (now !== undefined && isSame(now, config)) return now
      return isAlive(pid) ? undefined : ('dead' as const)
    },
    { limitMs: START_MS, everyMs: 100, signal }
  )
  if (status === undefined || status === 'dead') {
    const log = await readFile(config.logFile, 'utf8').catch(() => '')
    throw new Fault(
      `the host agent ${status === 'dead' ? 'ended at once' : `did not answer within ${START_MS / 1000} s`}: ${lastLines(log, 2)}`,
      { hint: `Its log: oriel logs ${config.machine}` }
    )
  }
  return { status, was: present === undefined ? 'started' : 'replaced' }
}

/** Ends the agent behind a control socket, by force if it must. False when there was none. */
export async function stopAgent(agentSocket: string): Promise<boolean> {
  const present = await agentStatus(agentSocket)
  if (present === undefined) return false
  await askAgent(agentSocket, { verb: 'stop' })
  const gone = await poll(async () => (isAlive(present.pid) ? undefined : true), { limitMs: STOP_MS })
  // The agent itself has just told its process id, so it is not somebody else's by now.
  if (gone === undefined) kill(present.pid)
  return true
}

/** Whether an agent does exactly what this configuration asks for. */
export function isSame(status: AgentStatus, config: AgentConfig): boolean {
  const what = ({ build, driver, place, engine, keys, dockerSocket }: AgentConfig | AgentStatus) =>
    JSON.stringify([build, driver, place, engine, keys ?? null, dockerSocket])
  return what(status) === what(config)
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL')
  } catch {
    // It ended by itself in the meantime.
  }
}
