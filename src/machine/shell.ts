import { runInTerminal } from '#lib/child-process.ts'
import { Fault } from '#lib/fault.ts'
import { exampleImage } from './example-image.ts'
import { machineStatus } from './status.ts'
import { absent } from './store.ts'

/** Opens a Windows prompt in a new container, gone after its end. Gives its exit code; Fault 3 when the machine is not running. */
export async function openShell(request: {
  name: string
  /** Without one, one that the machine can run. */
  image?: string
  command: string[]
  terminal: boolean
  env: NodeJS.ProcessEnv
}): Promise<number> {
  const { name, env, command } = request
  const { status } = await machineStatus(name, env)
  if (status.state === 'absent') throw absent(name)
  if (status.state !== 'running' || status.socket === null) {
    throw new Fault(`machine "${name}" is ${status.state}.`, { exitCode: 3, hint: `Start it with: oriel up ${name}` })
  }
  const image = request.image ?? exampleImage(status.vm !== null, status.windows.release ?? undefined)
  const { DOCKER_CONTEXT: _context, DOCKER_TLS_VERIFY: _verify, DOCKER_TLS: _tls, ...rest } = env
  const flags = request.terminal ? '-it' : '-i'
  return runInTerminal(['docker', 'run', '--rm', flags, image, ...command], {
    ...rest,
    DOCKER_HOST: `unix://${status.socket}`
  })
}
