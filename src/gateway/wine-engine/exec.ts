import { randomUUID } from 'node:crypto'
import { EngineError } from '#docker/engine.ts'
import type { Handling } from '#gateway/proxy/handling.ts'
import { readJson, sendJson } from '#gateway/proxy/respond.ts'
import { joinTarget, type Route, type RouteMatch } from '#gateway/routes.ts'
import { commandLineOf, execState, launchArguments, readLaunch } from '#image/launch.ts'
import { mergeEnv } from '#image/windows-config.ts'
import { normalizeWindowsPath } from '#image/windows-path.ts'
import { refuseProgram, splitCommandLine } from './command-line.ts'
import type { WineContext } from './context.ts'
import { accountOf, wordsOf } from './create-config.ts'
import { execExitCodeOf } from './exit-code.ts'
import { type Json, numberOf, objectOf, stringOf } from './json.ts'
import { type ContainerRecord, findContainer, inWindowsWords } from './record.ts'
import { Refusal } from './refusal.ts'

export function execRoutes(context: WineContext): Route[] {
  return [
    { method: 'POST', template: '/containers/{id}/exec', action: match => create(context, match) },
    { method: 'GET', template: '/exec/{id}/json', action: match => inspect(context, match) },
    ...(['start', 'resize'] as const).map(
      (verb): Route => ({
        method: 'POST',
        template: `/exec/{id}/${verb}`,
        action: async ({ head, params, query, version }) => {
          const { id } = await findExec(context, params.id ?? '')
          return {
            kind: 'splice',
            request: { ...head, target: joinTarget(version, `/exec/${id}/${verb}`, query) },
            onError: (status, message) => ({ status, message: inWindowsWords(message) })
          }
        }
      })
    )
  ]
}

function create(context: WineContext, { params, query, version }: RouteMatch): Handling {
  return {
    kind: 'handle',
    handler: async (request, response) => {
      const { id, record } = await findContainer(context, params.id ?? '')
      const asked = objectOf(await readJson(request))
      const body = translateExec(asked, record, randomUUID())
      const target = joinTarget(version, `/containers/${id}/exec`, query)
      sendJson(response, 201, await context.engine.json('POST', target, body))
    }
  }
}

/** The exec request for the Linux engine. `uuid` names its state file. A Refusal for what a Windows daemon refuses. */
export function translateExec(asked: Json, record: ContainerRecord, uuid: string): Json {
  const words = wordsOf(asked.Cmd) ?? []
  if (words.length === 0) throw new Refusal('no exec command specified')
  if (asked.Privileged === true) throw new Refusal('Windows does not support privileged mode')
  const commandLine = commandLineOf({ Cmd: words })
  refuseProgram(commandLine)
  const { config } = record
  const workingDir = stringOf(asked.WorkingDir)
  return {
    ...asked,
    Cmd: launchArguments({
      commandLine,
      cwd: normalizeWindowsPath(workingDir || config.WorkingDir || 'C:\\'),
      user: accountOf(stringOf(asked.User) || (config.User ?? '')),
      env: mergeEnv(config.Env, wordsOf(asked.Env)),
      role: 'exec',
      services: 'auto',
      state: execState(uuid)
    }),
    Env: [],
    User: '',
    WorkingDir: '',
    Privileged: false
  }
}

async function inspect(context: WineContext, { params, version }: RouteMatch): Promise<Handling> {
  const exec = await findExec(context, params.id ?? '', version)
  return {
    kind: 'handle',
    handler: async (_request, response) => {
      const shown = windowsExec(exec.inspect, exec.record)
      if (typeof exec.inspect.ExitCode === 'number') {
        const state = launchOf(exec.inspect)?.state ?? ''
        shown.ExitCode = await execExitCodeOf(context, exec.container, state, numberOf(exec.inspect.ExitCode))
      }
      sendJson(response, 200, shown)
    }
  }
}

function launchOf(inspect: Json) {
  const process = objectOf(inspect.ProcessConfig)
  return readLaunch([stringOf(process.entrypoint), ...(wordsOf(process.arguments) ?? [])])
}

/** An engine's inspect of an exec as a Windows daemon would say it: all that it needs is in the launch. */
export function windowsExec(inspect: Json, record: ContainerRecord): Json {
  const launch = launchOf(inspect)
  const [entrypoint = '', ...words] = splitCommandLine(launch?.commandLine ?? '')
  const process = objectOf(inspect.ProcessConfig)
  const user = launch?.user ?? ''
  const shownUser = user === accountOf(record.config.User ?? '') ? {} : { user }
  return {
    ...inspect,
    ProcessConfig: { tty: process.tty ?? false, entrypoint, arguments: words, privileged: false, ...shownUser }
  }
}

async function findExec(
  context: WineContext,
  id: string,
  version = ''
): Promise<{ id: string; container: string; inspect: Json; record: ContainerRecord }> {
  let inspect: Json
  try {
    inspect = objectOf(await context.engine.json('GET', joinTarget(version, `/exec/${encodeURIComponent(id)}/json`)))
  } catch (error) {
    if (error instanceof EngineError && error.status === 404) throw noSuchExec(id)
    throw error
  }
  const container = stringOf(inspect.ContainerID)
  try {
    const { record } = await findContainer(context, container)
    return { id: stringOf(inspect.ID), container, inspect, record }
  } catch (error) {
    if (error instanceof Refusal && error.status === 404) throw noSuchExec(id)
    throw error
  }
}

function noSuchExec(id: string): Refusal {
  return new Refusal(`No such exec instance: ${id}`, 404)
}
