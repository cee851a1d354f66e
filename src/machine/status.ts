import { uptime } from 'node:os'
import { type AgentStatus, agentStatus } from '#agent/control.ts'
import { lockHolder } from '#lib/lock-holder.ts'
import { contextName } from './paths.ts'
import type { MachineState, MachineStateName } from './state.ts'
import { machineNames, openMachine } from './store.ts'

/** What `oriel status --json` prints, to the letter. */
export interface MachineStatus {
  name: string
  driver: string | null
  state: MachineStateName
  context: string
  socket: string | null
  engine: { version: string | null; apiVersion: string | null; os: string | null; arch: string | null }
  windows: { release: string | null; build: number | null }
}

/** A status, and for people what is behind it. */
export interface StatusReport {
  status: MachineStatus
  /** Why the machine is broken. */
  why?: string
  /** URL of the engine behind the gateway, when an agent serves it. */
  engineUrl?: string
}

const AGENT_MS = 6000

/** What a machine is doing now. Asks its agent; loads as little code as it can, since prompts and scripts call it often. */
export async function machineStatus(name: string, env: NodeJS.ProcessEnv): Promise<StatusReport> {
  const machine = await openMachine(name, env)
  const context = contextName(name)
  const nothing = { version: null, apiVersion: null, os: null, arch: null }
  if (machine === undefined) {
    const windows = { release: null, build: null }
    return { status: { name, driver: null, state: 'absent', context, socket: null, engine: nothing, windows } }
  }
  const { paths, state } = machine
  const [agent, holder] = await Promise.all([agentStatus(paths.agentSocket, AGENT_MS), lockHolder(paths.lock)])
  const [stateName, why] = judge(state, agent, holder !== undefined)
  return {
    status: {
      name,
      driver: state?.driver ?? 'wine',
      state: stateName,
      context,
      socket: paths.dockerSocket,
      engine: agent?.health.ok ? agent.health.engine : nothing,
      windows: state?.windows ?? { release: null, build: null }
    },
    ...(why === undefined ? {} : { why }),
    ...(agent === undefined ? {} : { engineUrl: agent.engine.url })
  }
}

/** All machines, by name. */
export async function listMachines(env: NodeJS.ProcessEnv): Promise<StatusReport[]> {
  return Promise.all((await machineNames(env)).map(name => machineStatus(name, env)))
}

/** The state that a recorded state, an agent's answer and a command at work add up to. */
export function judge(
  state: MachineState | undefined,
  agent: AgentStatus | undefined,
  locked: boolean,
  bootedAt = Date.now() - uptime() * 1000
): [MachineStateName, why?: string] {
  // A transition without a holder of the lock is that of a killed command.
  if (locked && state?.transition !== undefined) return [state.transition]
  if (agent !== undefined) return agent.health.ok ? ['running'] : ['broken', agent.health.why]
  if (state?.wanted !== 'running') return ['stopped']
  // Nobody stopped it. After a reboot of the host that is in order; otherwise its agent was killed.
  if (state.startedAt !== undefined && Date.parse(state.startedAt) < bootedAt) return ['stopped']
  return ['broken', 'its host agent has ended unexpectedly']
}
