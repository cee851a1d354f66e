import { agentStatus } from '#agent/control.ts'
import { agentBuild, ensureAgent } from '#agent/start.ts'
import { Engine } from '#docker/engine.ts'
import { type Driver, type DriverWork, type EngineReference, endpointOf } from '#driver/driver.ts'
import { driverNamed } from '#driver/drivers.ts'
import { writeFileAtomic } from '#lib/atomic-file.ts'
import { Fault, messageOf } from '#lib/fault.ts'
import { poll } from '#lib/wait.ts'
import { startContainers } from './containers.ts'
import { checkContext, ensureContext, switchContext } from './context.ts'
import { lockEngine, lockMachine, type MachineRequest } from './machine-lock.ts'
import { contextName, type MachinePaths, machinePaths } from './paths.ts'
import { formatSpec, type MachineSpec, parseSpec, recordedEngine } from './spec.ts'
import type { MachineState } from './state.ts'
import { writeState } from './state-file.ts'
import { makeFolders, openMachine, readSpecText, removeFolders } from './store.ts'

export interface UpRequest extends MachineRequest {
  driver?: string
  /** URL of the Linux engine. */
  engine?: string
  /** Make the machine's context the docker client's current one. */
  use?: boolean
}

export interface UpResult {
  name: string
  context: string
  socket: string
  windows: { release: string; build: number }
}

/** Another command may be building the base images. */
const LOCK_MS = 30 * 60_000
const READY_MS = 20_000

/**
 * Makes the machine if need be and brings it up, stage by stage; every stage first looks whether it is done. Fault 3 when
 * the machine or its context is in the way, 4 when the host lacks something.
 */
export async function up(request: UpRequest): Promise<UpResult> {
  const { name, env, report, signal } = request
  return lockMachine({ name, env, report, signal }, 'up', LOCK_MS, held => upLocked({ ...request, signal: held }))
}

/** As `up`, for a caller that holds the machine's lock. */
export async function upLocked(request: UpRequest): Promise<UpResult> {
  const { name, env } = request
  const present = await openMachine(name, env)
  const paths = await choosePaths(name, env, present?.paths)
  const specText = await readSpecText(paths)
  const spec = specText === undefined ? undefined : parseSpec(specText, paths.spec)
  const driver = await chooseDriver(request, spec)
  const sockets = [paths.dockerSocket, ...(present === undefined ? [] : [present.paths.dockerSocket])]
  await checkContext({ name, sockets }, env)
  await makeFolders(paths)
  const state: MachineState = {
    wanted: 'stopped',
    ...present?.state,
    driver: driver.name,
    context: contextName(name),
    socket: paths.dockerSocket,
    windows: driver.windows
  }
  await writeState(paths, { ...state, transition: 'starting' })
  let settled = state
  let found = false
  try {
    const reference = await stage(request, 'engine', async work => {
      const asked = {
        ...(request.engine === undefined ? {} : { url: request.engine }),
        ...(spec?.engine === undefined ? {} : { recorded: recordedEngine(spec.engine) })
      }
      const engine = await driver.findEngine(asked, work)
      return [engine.description, engine.reference]
    })
    found = true
    const text = formatSpec({ driver: driver.name, engine: reference }, name, specText)
    if (text !== specText) await writeFileAtomic(paths.spec, text)
    for (const step of driver.stages) {
      await lockEngine(request, reference.url, LOCK_MS, held =>
        stage({ ...request, signal: held }, step.name, async work => {
          return [await step.run(reference, { ...work, logFile: paths.buildLog }), undefined]
        })
      )
    }
    const fresh = await startAgent(request, paths, reference)
    await stage(request, 'context', async () => [
      await ensureContext({ name, sockets }, paths.dockerSocket, env),
      undefined
    ])
    await stage(request, 'ready', async work => [await waitUntilReady(paths, work), undefined])
    if (request.use) await switchContext(name, env)
    await startAgain(request, reference, state.resume)
    const { resume: _, ...rest } = state
    settled = {
      ...rest,
      wanted: 'running',
      startedAt: (fresh ? undefined : state.startedAt) ?? new Date().toISOString()
    }
    return { name, context: state.context, socket: state.socket, windows: state.windows }
  } finally {
    // A machine that got no engine never was: nothing of it should stay.
    if (!found && specText === undefined) await removeFolders(paths)
    else await writeState(paths, settled)
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
  const driver = await driverNamed(request.driver ?? spec?.driver ?? 'wine')
  if (spec !== undefined && spec.driver !== driver.name) {
    throw new Fault(`machine "${request.name}" was made with the ${spec.driver} driver.`, {
      exitCode: 3,
      hint: `Give the new machine another name, or remove the old one: oriel rm ${request.name}`
    })
  }
  return driver
}

async function startAgent(request: UpRequest, paths: MachinePaths, engine: EngineReference): Promise<boolean> {
  return stage(request, 'agent', async work => {
    const config = {
      machine: request.name,
      build: await agentBuild(),
      engine,
      dockerSocket: paths.dockerSocket,
      agentSocket: paths.agentSocket,
      logFile: paths.agentLog
    }
    const { was } = await ensureAgent(config, paths.agentConfig, work.signal)
    return [was, was !== 'running']
  })
}

/** Waits until the machine's own socket answers as a Windows engine, which is all that a docker client looks at. */
async function waitUntilReady(paths: MachinePaths, work: DriverWork): Promise<string> {
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
        if (answer.Os === 'windows') return answer
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

/** Runs one stage and tells of it; its errors say in which stage they happened. */
async function stage<T>(
  request: UpRequest,
  name: string,
  run: (work: DriverWork) => Promise<[detail: string, result: T]>
): Promise<T> {
  const { report, env, signal } = request
  report({ type: 'stage', stage: name, state: 'started' })
  try {
    const [detail, result] = await run({ machine: request.name, env, signal, report })
    report({ type: 'stage', stage: name, state: 'done', detail })
    return result
  } catch (error) {
    report({ type: 'stage', stage: name, state: 'failed' })
    if (signal.aborted) throw new Fault('interrupted.', { exitCode: 130, cause: error })
    throw error
  }
}
