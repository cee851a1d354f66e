import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Engine } from '#docker/engine.ts'
import { endpointOf } from '#driver/driver.ts'
import { virtualMachineOf } from '#driver/drivers.ts'
import { messageOf } from '#lib/fault.ts'
import { type Log, openLog } from '#lib/log.ts'
import type { AgentConfig, AgentReply, AgentRequest } from './control.ts'
import { serveControl } from './control-server.ts'
import { EngineMonitor } from './engine-monitor.ts'
import { removeStaleSocket } from './stale-socket.ts'
import { keepWatching } from './watch.ts'

const PROBE_EVERY_MS = 5000
const CLOSE_MS = 3000

/** The host agent of one machine: `node agent.js NAME CONFIG`. The name is there for people who read `ps`. */
async function main(configFile: string): Promise<void> {
  // Sockets and logs are the owner's alone, from their first moment on.
  process.umask(0o077)
  const config = JSON.parse(await readFile(configFile, 'utf8')) as AgentConfig
  const log = openLog(config.logFile)
  process.on('uncaughtException', error => {
    log.error('uncaught exception', { error: error.message, stack: error.stack })
    process.exit(1)
  })
  try {
    await serve(config, log)
  } catch (error) {
    log.error('the agent cannot start', { error: messageOf(error) })
    process.exit(1)
  }
}

async function serve(config: AgentConfig, log: Log): Promise<void> {
  const startedAt = new Date().toISOString()
  const engine = new Engine(await endpointOf(config.engine))
  const monitor = new EngineMonitor(new Engine({ kind: 'unix', path: config.dockerSocket }), engine, log)
  const control = await serveControl(config.agentSocket, answer)
  await removeStaleSocket(config.dockerSocket)
  const { machine, dockerSocket: socketPath, agentSocket: _, logFile: __, ...told } = config
  const imagesFolder = join(config.place.home, 'images')
  const gateway = await (await gatewayOf(config.driver))({ machine, socketPath, engine, imagesFolder, log })
  log.info('the agent serves', { machine, build: config.build, pid: process.pid, engine: config.engine.url })
  const watching = new AbortController()
  void watch(config, log, watching.signal)

  let ending = false
  async function end(why: string): Promise<void> {
    if (ending) return
    ending = true
    log.info('the agent ends', { why })
    watching.abort()
    // Connections that do not want to end must not keep the agent.
    setTimeout(() => process.exit(0), CLOSE_MS)
    await control.close()
    await gateway.close()
    process.exit(0)
  }
  async function answer(request: AgentRequest): Promise<AgentReply> {
    if (request.verb === 'stop') {
      setImmediate(() => void end('told to stop'))
      return { stopping: true }
    }
    return {
      status: {
        ...told,
        machine,
        dockerSocket: socketPath,
        pid: process.pid,
        startedAt,
        health: await monitor.health()
      }
    }
  }
  process.on('SIGTERM', () => void end('SIGTERM'))
  process.on('SIGINT', () => void end('SIGINT'))
  // A terminal that closes is no reason to end.
  process.on('SIGHUP', () => undefined)
  await monitor.look()
  setInterval(() => {
    if (control.owned()) void monitor.look()
    else {
      // Somebody removed the machine's folder, or another agent took over while this one was suspended. Both want nothing
      // of this one, and the paths of the sockets are not its own any more.
      log.warn('the control socket is gone; the agent ends')
      process.exit(0)
    }
  }, PROBE_EVERY_MS)
}

// Each is loaded by the agents that need it: what an agent never runs would stay in its memory all the same.
async function gatewayOf(driver: string) {
  return driver === 'wine'
    ? (await import('#gateway/wine-engine/gateway.ts')).startWineGateway
    : (await import('#gateway/windows-engine/gateway.ts')).startWindowsGateway
}

async function watch({ driver, place }: AgentConfig, log: Log, signal: AbortSignal): Promise<void> {
  try {
    const vm = await virtualMachineOf(driver)
    if (vm !== undefined) await keepWatching(until => vm.watch(place, log, until), log, signal)
  } catch (error) {
    log.error('nobody looks after the guest', { error: messageOf(error) })
  }
}

const configFile = process.argv[3]
if (configFile === undefined) {
  process.stderr.write('usage: node agent.js NAME CONFIG (started by oriel up)\n')
  process.exit(2)
}
await main(configFile)
