import { connect } from 'node:net'
import type { EngineReference, MachinePlace } from '#driver/driver.ts'

/** What the host agent is told at start, in a file: nothing in it is secret. */
export interface AgentConfig {
  machine: string
  /** Version and content of the agent's program; another one means that the agent has to be replaced. */
  build: string
  /** Name of the machine's driver; it decides what the gateway has to rewrite, and whether there is a guest to look after. */
  driver: string
  /** Where the driver keeps what belongs to the machine. */
  place: MachinePlace
  engine: EngineReference
  /** Hash of the keys in the engine's folder, as `keysHash`. */
  keys?: string
  dockerSocket: string
  agentSocket: string
  logFile: string
}

/** What clients of the machine see of its engine, or why they see nothing. */
export type Health =
  | { ok: true; engine: { version: string; apiVersion: string; os: string; arch: string } }
  | { ok: false; why: string }

export interface AgentStatus extends Omit<AgentConfig, 'agentSocket' | 'logFile'> {
  pid: number
  startedAt: string
  health: Health
}

/** One JSON object a line each way, one request a connection. */
export type AgentRequest = { verb: 'status' } | { verb: 'stop' }
export type AgentReply = { status: AgentStatus } | { stopping: true } | { error: string }

const REPLY_BYTES = 64 * 1024

/**
 * Asks the agent behind a control socket. Undefined when nobody answers in time, which is how a dead or hung agent looks;
 * a process id alone would not tell, since ids are used again.
 */
export function askAgent(socketPath: string, request: AgentRequest, limitMs = 3000): Promise<AgentReply | undefined> {
  return new Promise(resolve => {
    const socket = connect(socketPath)
    const timer = setTimeout(() => finish(undefined), limitMs)
    let text = ''
    const finish = (reply: AgentReply | undefined) => {
      clearTimeout(timer)
      socket.destroy()
      resolve(reply)
    }
    socket.setEncoding('utf8')
    socket.on('connect', () => socket.write(`${JSON.stringify(request)}\n`))
    socket.on('data', (chunk: string) => {
      text += chunk
      if (text.includes('\n') || text.length > REPLY_BYTES) finish(parseReply(text))
    })
    socket.on('error', () => finish(undefined))
    socket.on('close', () => finish(parseReply(text)))
  })
}

/** The agent's status; undefined when no agent answers. */
export async function agentStatus(socketPath: string, limitMs?: number): Promise<AgentStatus | undefined> {
  const reply = await askAgent(socketPath, { verb: 'status' }, limitMs)
  return reply !== undefined && 'status' in reply ? reply.status : undefined
}

function parseReply(text: string): AgentReply | undefined {
  try {
    return JSON.parse(text) as AgentReply
  } catch {
    return undefined
  }
}
