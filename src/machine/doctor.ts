import type { Check } from '#driver/driver.ts'
import { driverNamed } from '#driver/drivers.ts'
import { run } from '#lib/child-process.ts'
import { Fault, messageOf } from '#lib/fault.ts'
import { orielVersion } from '#lib/package-root.ts'
import { contextTrouble } from './context.ts'
import type { MachineRequest } from './machine-lock.ts'
import { contextName } from './paths.ts'
import { type MachineSpec, parseSpec, recordedEngine } from './spec.ts'
import { machineStatus } from './status.ts'
import { openMachine, readSpecText } from './store.ts'

export type { Check }

/** Looks at all that a machine needs, and says what to do where something is missing. Changes nothing. */
export async function doctor(request: MachineRequest): Promise<Check[]> {
  const { name, env, signal, report } = request
  const machine = await openMachine(name, env)
  const checks: Check[] = [
    {
      name: 'oriel',
      result: 'ok',
      detail: `${orielVersion()} on Node ${process.version}, ${process.platform}/${process.arch}`
    },
    await checkDockerClient(env)
  ]
  let spec: MachineSpec = { driver: 'wine' }
  const text = machine === undefined ? undefined : await readSpecText(machine.paths)
  try {
    if (text !== undefined && machine !== undefined) spec = parseSpec(text, machine.paths.spec)
    const driver = await driverNamed(spec.driver)
    const recorded = spec.engine === undefined ? undefined : recordedEngine(spec.engine)
    checks.push(...(await driver.check(recorded, { machine: name, env, signal, report })))
  } catch (error) {
    const advice = error instanceof Fault && error.hint !== undefined ? error.hint : `oriel rm --force ${name}`
    checks.push({ name: 'machine', result: 'missing', detail: messageOf(error), advice })
  }
  checks.push(...checkEnvironment(name, env), await checkMachine(name, env))
  const socket = machine?.paths.dockerSocket
  if (socket !== undefined) checks.push(await checkContextOf(name, socket, env))
  return checks
}

async function checkDockerClient(env: NodeJS.ProcessEnv): Promise<Check> {
  const name = 'docker client'
  try {
    const { stdout } = await run(['docker', '--version'], { env, timeoutMs: 10_000 })
    return { name, result: 'ok', detail: stdout.trim() }
  } catch (error) {
    const advice =
      process.platform === 'darwin' ? 'brew install docker' : 'Debian: sudo apt-get install docker-cli (or docker.io)'
    return { name, result: 'missing', detail: messageOf(error), advice }
  }
}

function checkEnvironment(machine: string, env: NodeJS.ProcessEnv): Check[] {
  const checks: Check[] = []
  if (env.DOCKER_HOST) {
    checks.push({
      name: 'DOCKER_HOST',
      result: 'warning',
      detail: `is set to ${env.DOCKER_HOST.replace(/\/\/[^@/]*@/, '//…@')}, so docker ignores its current context`,
      advice: `unset DOCKER_HOST, or name the context each time: docker --context ${contextName(machine)} …`
    })
  }
  if (env.DOCKER_BUILDKIT === '1') {
    checks.push({
      name: 'DOCKER_BUILDKIT',
      result: 'warning',
      detail: 'is 1, which makes docker build insist on BuildKit; a Windows engine has the classic builder',
      advice: 'unset DOCKER_BUILDKIT'
    })
  }
  return checks
}

async function checkMachine(machine: string, env: NodeJS.ProcessEnv): Promise<Check> {
  const name = 'machine'
  const { status, why } = await machineStatus(machine, env)
  const detail = `${machine} is ${status.state}${why === undefined ? '' : `: ${why}`}`
  if (status.state === 'broken') return { name, result: 'missing', detail, advice: `oriel up ${machine}` }
  if (status.state === 'running') return { name, result: 'ok', detail }
  return { name, result: 'warning', detail, advice: `oriel up ${machine}` }
}

async function checkContextOf(machine: string, socket: string, env: NodeJS.ProcessEnv): Promise<Check> {
  const name = 'docker context'
  const trouble = await contextTrouble(machine, socket, env).catch(messageOf)
  if (trouble === undefined) return { name, result: 'ok', detail: contextName(machine) }
  return { name, result: 'warning', detail: trouble, advice: `oriel up ${machine}` }
}
