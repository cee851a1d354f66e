import { agentStatus } from '#agent/control.ts'
import { Engine } from '#docker/engine.ts'
import {
  type ConfigureWork,
  type Driver,
  type DriverWork,
  type EngineReference,
  endpointOf,
  type UpOptions,
  type UpWork
} from '#driver/driver.ts'
import { writeFileAtomic } from '#lib/atomic-file.ts'
import { Fault, messageOf } from '#lib/fault.ts'
import { poll } from '#lib/wait.ts'
import { startContainers } from './containers.ts'
import { checkContext, ensureContext, switchContext } from './context.ts'
import { exampleImage } from './example-image.ts'
import { startAgent } from './host-agent.ts'
import { lockMachine, lockShared, type MachineRequest } from './machine-lock.ts'
import { contextName, type MachinePaths, machinePaths, placeOf } from './paths.ts'
import { DEFAULT_DRIVER, formatSpec, type MachineSpec, parseSpec } from './spec.ts'
import type { MachineState } from './state.ts'
import { writeState } from './state-file.ts'
import { makeFolders, openMachine, readSpecText, removeFolders } from './store.ts'
import { WORLD } from './world.ts'

export interface UpRequest extends MachineRequest {
  driver?: string
  /** What is to change in the machine's settings. */
  options?: UpOptions
  /** Make the machine's context the docker client's current one. */
  use?: boolean
}

export interface UpResult {
  name: string
  context: string
  socket: string
  windows: { release: string; build: number }
  /** An image to begin with. */
  image: string
}

/** Another command may be bringing the same machine up. */
const LOCK_MS = 30 * 60_000
/** Another machine may be building the base images, or installing the Windows that both begin from. */
const SHARED_MS = 4 * 3_600_000
const READY_MS = 20_000

/**
 * Makes the machine if need be and brings it up, stage by stage; every stage first looks whether it is done. Fault 3 when
 * the machine or its context is in the way, 4 when the host lacks something.
 */
export async function up(request: UpRequest): Promise<UpResult> {
  return lockMachine(request, 'up', LOCK_MS, signal => upLocked({ ...request, signal }))
}

/** As `up`, for a caller that holds the machine's lock. */
export async function upLocked(request: UpRequest): Promise<UpResult> {
  const { name, env, world = WORLD } = request
  const present = await openMachine(name, env)
  const paths = await choosePaths(name, env, present?.paths)
  const specText = await readSpecText(paths)
  const spec = specText === undefined ? undefined : await parseSpec(specText, paths.spec, world.driver)
  const driver = await chooseDriver(request, spec)
  const sockets = [paths.dockerSocket, ...(present === undefined ? [] : [present.paths.dockerSocket])]
  await checkContext({ name, sockets }, env)
  await makeFolders(paths)
  const state: MachineState = {
    wanted: 'stopped',
    ...present?.state,
    driver: driver.name,
    context: contextName(name),
    socket: paths.dockerSocket
  }
  await writeState(paths, { ...state, transition: 'starting' })
  let settled = state
  let configured = false
  try {
    const work = workOf(request, paths)
    const settings = await driver.configure(spec?.settings, request.options ?? {}, work)
    configured = true
    const text = formatSpec(driver.name, settings, name, specText)
    if (text !== specText) await writeFileAtomic(paths.spec, text)
    const { reference, windows } = await driver.bringUp(settings, work)
    settled = { ...state, windows }
    const fresh = await work.stage('agent', async () => {
      const was = await startAgent(request, paths, driver.name, reference)
      return [was, was !== 'running']
    })
    await work.stage('context', async () => [
      await ensureContext({ name, sockets }, paths.dockerSocket, env),
      undefined
    ])
    await work.stage('ready', async ready => [await waitUntilReady(driver, paths, ready), undefined])
    if (request.use) await switchContext(name, env)
    if (driver.sharedEngine !== undefined) await startAgain(request, reference, state.resume)
    const { resume: _, ...rest } = settled
    settled = {
      ...rest,
      wanted: 'running',
      startedAt: (fresh ? undefined : state.startedAt) ?? new Date().toISOString()
    }
    const image = exampleImage(driver.vm !== undefined, windows.release)
    return { name, context: state.context, socket: state.socket, windows, image }
  } finally {
    // A machine whose settings were refused never was: nothing of it should stay.
    if (!configured && specText === undefined) await removeFolders(paths)
    else await writeState(paths, settled)
  }
}

/** What the driver is given, bound to this command. */
function workOf(request: MachineRequest, paths: MachinePaths): UpWork {
  const { name: machine, env, signal, report } = request
  const work: DriverWork = { machine, env, signal, report }
  const stage: ConfigureWork['stage'] = (name, run) => runStage(work, name, run)
  return {
    ...work,
    place: placeOf(paths, env),
    logFile: paths.buildLog,
    stage,
    alone: (key, run) => lockShared(request, key, SHARED_MS, run)
  }
}

/** The sockets stay where a living agent has them; otherwise they go where this process would put them. */
async function choosePaths(
  name: string,
  env: NodeJS.ProcessEnv,
  recorded: MachinePaths | undefined
): Promise<MachinePaths> {
  const paths = machinePaths(name, env)
  if (recorded === undefined || recorded.dockerSocket === paths.dockerSocket) return paths
  return (await agentStatus(recorded.agentSocket)) === undefined ? paths : recorded
}

async function chooseDriver(request: UpRequest, spec: MachineSpec | undefined): Promise<Driver> {
  const { name, driver: asked, world = WORLD } = request
  if (spec === undefined) return world.driver(asked ?? DEFAULT_DRIVER)
  if (asked !== undefined && asked !== spec.driver.name) {
    // An unknown name is wrong usage, whatever the machine is.
    await world.driver(asked)
    throw new Fault(`machine "${name}" was made with the ${spec.driver.name} driver.`, {
      exitCode: 3,
      hint: `Give the new machine another name, or remove the old one: oriel rm ${name}`
    })
  }
  return spec.driver
}

/**
 * Waits until the machine's own socket answers as a docker client wants it. The engine of a virtual machine is passed through
 * as it is, so what it says of itself is true; in front of a shared Linux engine only the gateway's "windows" will do.
 */
async function waitUntilReady(driver: Driver, paths: MachinePaths, work: DriverWork): Promise<string> {
  const gateway = new Engine({ kind: 'unix', path: paths.dockerSocket })
  let last = 'no answer'
  const version = await poll(
    async () => {
      try {
        const limit = { timeoutMs: 5000, signal: work.signal }
        const answer = await gateway.json<{ Version?: string; Os?: string; Arch?: string }>(
          'GET',
          '/version',
          undefined,
          limit
        )
        if (driver.vm !== undefined || answer.Os === 'windows') return answer
        last = `it answers as an engine on ${answer.Os}`
      } catch (error) {
        last = messageOf(error)
      }
      return undefined
    },
    { limitMs: READY_MS, signal: work.signal }
  )
  if (version === undefined) {
    throw new Fault(`the machine's docker socket did not become ready within ${READY_MS / 1000} s: ${last}`, {
      hint: `See: oriel logs ${work.machine}, and: oriel doctor ${work.machine}`
    })
  }
  return `Docker ${version.Version}, ${version.Os}/${version.Arch}`
}

async function startAgain(request: UpRequest, reference: EngineReference, ids: readonly string[] = []): Promise<void> {
  if (ids.length === 0) return
  const engine = new Engine(await endpointOf(reference))
  for (const failure of await startContainers(engine, ids)) {
    request.report({ type: 'notice', text: `A container did not start again: ${failure}` })
  }
}

/** Runs one stage and tells of it. */
async function runStage<T>(
  work: DriverWork,
  name: string,
  run: (work: DriverWork) => Promise<[detail: string, result: T]>
): Promise<T> {
  const { report, signal } = work
  report({ type: 'stage', stage: name, state: 'started' })
  try {
    const [detail, result] = await run(work)
    report({ type: 'stage', stage: name, state: 'done', detail })
    return result
  } catch (error) {
    report({ type: 'stage', stage: name, state: 'failed' })
    if (signal.aborted) throw new Fault('interrupted.', { exitCode: 130, cause: error })
    throw error
  }
}
