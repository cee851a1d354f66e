import { readFile } from 'node:fs/promises'

/** What `oriel status` calls a machine. */
export type MachineStateName = 'absent' | 'stopped' | 'starting' | 'running' | 'stopping' | 'broken'

/** The content of state.json: what Oriel did last, so that the next command can go on from there. */
export interface MachineState {
  driver: string
  /** What the machine is meant to be; `running` while no agent answers means that something went wrong. */
  wanted: 'running' | 'stopped'
  /** Set while a command works on it. Believed only while the lock is held. */
  transition?: 'starting' | 'stopping'
  context: string
  socket: string
  /** Absent until the machine was up for the first time. */
  windows?: { release: string; build: number }
  /** When it was last brought up (ISO 8601), to tell a crash from a reboot of the host. */
  startedAt?: string
  /** Containers with a restart policy that `stop` has ended: the next `up` starts them, as a starting engine would. */
  resume?: string[]
}

/** Reads state.json; undefined when there is none or it is damaged, which both mean: start over. */
export async function readState(path: string): Promise<MachineState | undefined> {
  try {
    const state: unknown = JSON.parse(await readFile(path, 'utf8'))
    return typeof state === 'object' && state !== null && 'wanted' in state ? (state as MachineState) : undefined
  } catch {
    return undefined
  }
}
