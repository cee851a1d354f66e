import { agentBuild, ensureAgent, stopAgent } from '#agent/start.ts'
import { driverNamed } from '#driver/drivers.ts'
import type { DriverOf } from './spec.ts'

/** What the verbs have of the rooms behind them; tests give their own. */
export interface World {
  driver: DriverOf
  agentBuild: typeof agentBuild
  ensureAgent: typeof ensureAgent
  stopAgent: typeof stopAgent
}

/** The real ones. */
export const WORLD: World = { driver: driverNamed, agentBuild, ensureAgent, stopAgent }
