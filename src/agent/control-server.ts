import { statSync } from 'node:fs'
import { chmod, unlink } from 'node:fs/promises'
import { createServer, type Server, type Socket } from 'node:net'
import { Fault } from '#lib/fault.ts'
import { type AgentReply, type AgentRequest, agentStatus } from './control.ts'

const REQUEST_BYTES = 4096
const REQUEST_MS = 5000

export interface ControlServer {
  /** False once another agent has taken the socket's path, or somebody removed it: then nobody can reach this one. */
  owned(): boolean
  /** Stops listening, and removes the socket when it is still its own. */
  close(): Promise<void>
}

/**
 * Listens on the control socket. Having it is what makes this the only agent of its machine: a socket that a killed agent
 * left behind is replaced, one that answers is a Fault.
 */
export async function serveControl(
  path: string,
  answer: (request: AgentRequest) => Promise<AgentReply>
): Promise<ControlServer> {
  const server = createServer(socket => converse(socket, answer))
  try {
    await listen(server, path)
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'EADDRINUSE')) throw error
    const other = await agentStatus(path)
    if (other !== undefined) throw new Fault(`an agent with process id ${other.pid} serves this machine already.`)
    await unlink(path)
    await listen(server, path)
  }
  // Connecting needs the right to write; the mask of the process leaves a useless x.
  await chmod(path, 0o600)
  const inode = inodeOf(path)
  const owned = () => inodeOf(path) === inode
  return {
    owned,
    // Node unlinks the path of a server that it closes, whoever has it by then.
    close: () => (owned() ? new Promise(resolve => server.close(() => resolve())) : Promise.resolve())
  }
}

function listen(server: Server, path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen(path, () => {
      server.off('error', reject)
      resolve()
    })
  })
}

function inodeOf(path: string): number | undefined {
  return statSync(path, { throwIfNoEntry: false })?.ino
}

function converse(socket: Socket, answer: (request: AgentRequest) => Promise<AgentReply>): void {
  let text = ''
  socket.setTimeout(REQUEST_MS, () => socket.destroy())
  socket.setEncoding('utf8')
  socket.on('error', () => socket.destroy())
  socket.on('data', (chunk: string) => {
    text += chunk
    const end = text.indexOf('\n')
    if (end < 0) {
      if (text.length > REQUEST_BYTES) socket.destroy()
      return
    }
    socket.pause()
    reply(text.slice(0, end), answer).then(
      line => socket.end(line),
      () => socket.destroy()
    )
  })
}

async function reply(line: string, answer: (request: AgentRequest) => Promise<AgentReply>): Promise<string> {
  let request: unknown
  try {
    request = JSON.parse(line)
  } catch {
    return `${JSON.stringify({ error: 'not JSON' })}\n`
  }
  const verb = typeof request === 'object' && request !== null && 'verb' in request ? request.verb : undefined
  if (verb !== 'status' && verb !== 'stop') return `${JSON.stringify({ error: 'unknown verb' })}\n`
  return `${JSON.stringify(await answer({ verb }))}\n`
}
