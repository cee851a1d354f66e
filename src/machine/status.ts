import { uptime } from 'node:os'
import { type AgentStatus, agentStatus } from '#agent/control.ts'
import type { Forward, MachinePlace, VirtualMachine } from '#driver/driver.ts'
import { virtualMachineOf } from '#driver/drivers.ts'
import { lockHolder } from '#lib/lock-holder.ts'
import { evaluationLeft } from './evaluation.ts'
import { contextName, placeOf } from './paths.ts'
import type { MachineState, MachineStateName } from './state.ts'
import { machineNames, openMachine } from './store.ts'
import type { VmState } from './vm.ts'

/** What `oriel status --json` prints, to the letter. */
export interface MachineStatus {
  name: string
  driver: string | null
  state: MachineStateName
  context: string
  socket: string | null
  engine: { version: string | null; apiVersion: string | null; os: string | null; arch: string | null }
  windows: { release: string | null; build: number | null }
  /** Of the Windows in a virtual machine; null when it is no evaluation, or has not told yet. */
  evaluation: { daysLeft: number; rearmsLeft: number | null } | null
  /** Null for a machine on a shared engine. */
  vm: { state: VmState; engine: string | null; forwards: Forward[] } | null
}

/** A status, and for people what is behind it. */
export interface StatusReport {
  status: MachineStatus
  /** Why the machine is broken, or in what way it is stopped. */
  why?: string
  /** URL of the engine behind the gateway, when an agent serves it. */
  engineUrl?: string
}

const AGENT_MS = 6000

/** What a machine is doing now. Asks its agent; loads as little code as it can, since prompts and scripts call it often. */
export async function machineStatus(
  name: string,
  env: NodeJS.ProcessEnv,
  vmOf: typeof virtualMachineOf = virtualMachineOf
): Promise<StatusReport> {
  const machine = await openMachine(name, env)
  const context = contextName(name)
  const nothing = { version: null, apiVersion: null, os: null, arch: null }
  if (machine === undefined) {
    const windows = { release: null, build: null }
    const none = { socket: null, engine: nothing, windows, evaluation: null, vm: null }
    return { status: { name, driver: null, state: 'absent', context, ...none } }
  }
  const { paths, state } = machine
  const driver = state?.driver ?? 'wine'
  const [agent, holder, guest] = await Promise.all([
    agentStatus(paths.agentSocket, AGENT_MS),
    lockHolder(paths.lock),
    // A driver that this version has not must not keep anybody from seeing the machine.
    vmOf(driver)
      .then(vm => vm && guestStatus(vm, placeOf(paths, env)))
      .catch(() => undefined)
  ])
  const [stateName, why] = judge(state, agent, holder !== undefined, { power: guest?.vm.state })
  return {
    status: {
      name,
      driver,
      state: stateName,
      context,
      socket: paths.dockerSocket,
      engine: agent?.health.ok ? agent.health.engine : nothing,
      windows: state?.windows ?? { release: null, build: null },
      evaluation: guest?.evaluation ?? null,
      vm: guest?.vm ?? null
    },
    ...(why === undefined ? {} : { why }),
    ...(agent === undefined ? {} : { engineUrl: agent.engine.url })
  }
}

async function guestStatus(
  vm: VirtualMachine<unknown>,
  place: MachinePlace
): Promise<Pick<MachineStatus, 'evaluation'> & { vm: NonNullable<MachineStatus['vm']> }> {
  const [state, facts, forwards, engine] = await Promise.all([
    vm.state(place),
    vm.facts(place).catch(() => undefined),
    vm.forwards.list(place).catch(() => []),
    vm.tls(place).catch(() => undefined)
  ])
  return { evaluation: evaluationLeft(facts) ?? null, vm: { state, engine: engine?.url ?? null, forwards } }
}

/** All machines, by name. */
export async function listMachines(
  env: NodeJS.ProcessEnv,
  vmOf: typeof virtualMachineOf = virtualMachineOf
): Promise<StatusReport[]> {
  return Promise.all((await machineNames(env)).map(name => machineStatus(name, env, vmOf)))
}

/** The state that a recorded state, an agent's answer, a command at work and a virtual machine's power add up to. */
export function judge(
  state: MachineState | undefined,
  agent: AgentStatus | undefined,
  locked: boolean,
  { power, bootedAt = Date.now() - uptime() * 1000 }: { power?: VmState | undefined; bootedAt?: number } = {}
): [MachineStateName, why?: string] {
  // A transition without a holder of the lock is that of a killed command.
  if (locked && state?.transition !== undefined) return [state.transition]
  const on = power === 'running' || power === 'paused'
  if (agent !== undefined) {
    if (agent.health.ok) return ['running']
    return ['broken', power === undefined || on ? agent.health.why : GUEST_GONE]
  }
  if (state?.wanted !== 'running') {
    if (on) return ['broken', 'its virtual machine runs, but the command that started it did not come to its end']
    return power === 'suspended' ? ['stopped', 'suspended'] : ['stopped']
  }
  // Nobody stopped it. After a reboot of the host that is in order; otherwise its agent was killed.
  if (!on && state.startedAt !== undefined && Date.parse(state.startedAt) < bootedAt) return ['stopped']
  return ['broken', power === undefined || on ? 'its host agent has ended unexpectedly' : GUEST_GONE]
}

const GUEST_GONE = 'its virtual machine has ended'
