import type { Check, GuestFacts } from '#driver/driver.ts'
import { run } from '#lib/child-process.ts'
import { Fault, messageOf } from '#lib/fault.ts'
import { orielVersion } from '#lib/package-root.ts'
import { contextTrouble } from './context.ts'
import { evaluationLeft } from './evaluation.ts'
import type { MachineRequest } from './machine-lock.ts'
import { contextName, machinePaths, placeOf } from './paths.ts'
import { DEFAULT_DRIVER, loadSpec } from './spec.ts'
import { machineStatus } from './status.ts'
import { type Machine, openMachine } from './store.ts'
import { WORLD } from './world.ts'

export type { Check }

/** Fewer days than these of an evaluation are worth a warning. */
const EVALUATION_DAYS = 14

/**
 * Looks at all that a machine needs, and says what to do where something is missing. Changes nothing. `driver` counts for a
 * machine that is not there yet.
 */
export async function doctor(request: MachineRequest & { driver?: string }): Promise<Check[]> {
  const { name, env } = request
  const machine = await openMachine(name, env)
  const checks: Check[] = [
    {
      name: 'oriel',
      result: 'ok',
      detail: `${orielVersion()} on Node ${process.version}, ${process.platform}/${process.arch}`
    },
    await checkDockerClient(env)
  ]
  try {
    checks.push(...(await checkDriver(machine, request)))
  } catch (error) {
    const advice = error instanceof Fault && error.hint !== undefined ? error.hint : `oriel rm --force ${name}`
    checks.push({ name: 'machine', result: 'missing', detail: messageOf(error), advice })
  }
  checks.push(...checkEnvironment(name, env), await checkMachine(name, env))
  const socket = machine?.paths.dockerSocket
  if (socket !== undefined) checks.push(await checkContextOf(name, socket, env))
  return checks
}

async function checkDriver(
  machine: Machine | undefined,
  { name, env, signal, report, driver: asked, world = WORLD }: MachineRequest & { driver?: string }
): Promise<Check[]> {
  const place = placeOf(machine?.paths ?? machinePaths(name, env), env)
  const work = { machine: name, env, signal, report, place }
  const spec = machine === undefined ? undefined : await loadSpec(machine.paths, world.driver)
  if (spec === undefined) return (await world.driver(asked ?? DEFAULT_DRIVER)).check(undefined, work)
  const checks = await spec.driver.check(spec.settings, work)
  const facts = await spec.driver.vm?.facts(place).catch(() => undefined)
  return [...checks, ...checkEvaluation(name, facts)]
}

/** How long the evaluation of the Windows in a machine lasts; nothing for a Windows that is none. */
export function checkEvaluation(machine: string, facts: GuestFacts | undefined, now = Date.now()): Check[] {
  const left = evaluationLeft(facts, now)
  if (left === undefined) return []
  const name = 'evaluation'
  const { daysLeft, rearmsLeft } = left
  const detail = `${days(daysLeft)} left${rearmsLeft === null ? '' : `, can be renewed ${rearmsLeft} times`}`
  if (daysLeft > EVALUATION_DAYS) return [{ name, result: 'ok', detail }]
  const advice =
    rearmsLeft === 0
      ? 'It cannot be renewed again. Make a new machine in time, or license the Windows in this one.'
      : `oriel rearm ${machine}`
  // Windows then shuts itself down every hour.
  if (daysLeft === 0) return [{ name, result: 'missing', detail: `is over; ${detail}`, advice }]
  return [{ name, result: 'warning', detail, advice }]
}

function days(count: number): string {
  return `${count} day${count === 1 ? '' : 's'}`
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
