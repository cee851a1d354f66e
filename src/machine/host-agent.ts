import { keysHash } from '#agent/keys.ts'
import type { EngineReference } from '#driver/driver.ts'
import type { MachineRequest } from './machine-lock.ts'
import { type MachinePaths, placeOf } from './paths.ts'
import { WORLD } from './world.ts'

/**
 * Makes sure that the machine's host agent serves this engine with the keys that are in its folder now. Says whether it was
 * there already. The caller holds the machine's lock.
 */
export async function startAgent(
  request: MachineRequest,
  paths: MachinePaths,
  driver: string,
  engine: EngineReference
): Promise<'running' | 'replaced' | 'started'> {
  const { name: machine, env, signal, world = WORLD } = request
  const keys = await keysHash(engine.tlsFolder)
  const config = {
    machine,
    build: await world.agentBuild(),
    driver,
    place: placeOf(paths, env),
    engine,
    ...(keys === undefined ? {} : { keys }),
    dockerSocket: paths.dockerSocket,
    agentSocket: paths.agentSocket,
    logFile: paths.agentLog
  }
  return (await world.ensureAgent(config, paths.agentConfig, signal)).was
}
