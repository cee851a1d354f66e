import { readJson, sendJson } from '#gateway/proxy/respond.ts'
import { joinTarget, type Route } from '#gateway/routes.ts'
import { INIT } from '#image/launch.ts'
import {
  builtOn,
  CONTAINER_LABEL,
  type HistoryEntry,
  IMAGE_LABEL,
  MACHINE_LABEL,
  mergeEnv,
  type WindowsConfig,
  type WindowsImage,
  windowsImageOf
} from '#image/windows-config.ts'
import { splitCommandLine } from './command-line.ts'
import type { WineContext } from './context.ts'
import { mergeConfig, workingDirectory } from './create-config.ts'
import { type Json, objectOf, stringOf, stringsOf } from './json.ts'
import { findContainer } from './record.ts'
import { Refusal } from './refusal.ts'

export function commitRoutes(context: WineContext): Route[] {
  return [
    {
      method: 'POST',
      template: '/commit',
      action: ({ query, version }) => ({
        kind: 'handle',
        handler: async (request, response) => {
          const { id, inspect, state, record } = await findContainer(context, query.get('container') ?? '')
          if (state.Running === true) throw new Refusal('windows does not support commit of a running container')
          const asked = objectOf(await readJson(request))
          const image = windowsImageOf(stringsOf(objectOf(inspect.Config).Labels))
          if (image === undefined) throw new Refusal('the image of this container is not known any more', 500)
          const config = applyChanges(mergeConfig(record.config, asked), query.getAll('changes'))
          query.delete('changes')
          query.set('container', id)
          const entry = {
            created_by: (record.config.Cmd ?? []).join(' '),
            empty: false,
            comment: query.get('comment') ?? ''
          }
          const body = engineCommit(image, config, entry)
          sendJson(response, 201, await context.engine.json('POST', joinTarget(version, '/commit', query), body))
        }
      })
    }
  ]
}

/**
 * The config that makes the engine's image a Windows one: the container's own arguments must not stay in it. `entry` is what
 * `docker history` shows of it.
 */
export function engineCommit(image: WindowsImage, config: WindowsConfig, entry: HistoryEntry): Json {
  const committed: WindowsImage = {
    ...builtOn(image),
    config,
    history: [...image.history, entry]
  }
  return {
    Entrypoint: [INIT],
    Cmd: [],
    Env: [],
    ExposedPorts: config.ExposedPorts ?? {},
    // The engine keeps the container's labels that are not named here.
    Labels: { ...config.Labels, [IMAGE_LABEL]: JSON.stringify(committed), [CONTAINER_LABEL]: '', [MACHINE_LABEL]: '' }
  }
}

/** Applies the Dockerfile instructions of `docker commit --change`. A Refusal for those that it does not take. */
export function applyChanges(config: WindowsConfig, changes: readonly string[]): WindowsConfig {
  return changes
    .flatMap(change => change.split('\n'))
    .filter(line => line.trim() !== '')
    .reduce(applyChange, config)
}

function applyChange(config: WindowsConfig, line: string): WindowsConfig {
  const [, word = '', rest = ''] = /^\s*(\w+)\s+(.*)$/s.exec(line) ?? []
  const shell = config.Shell ?? ['cmd', '/S', '/C']
  const json = jsonWords(rest)
  const command = json ?? [`${shell.join(' ')} ${rest}`]
  const escaped = json === undefined ? { ArgsEscaped: true } : {}
  switch (word.toUpperCase()) {
    case 'CMD':
      return { ...withoutEscape(config), Cmd: command, ...escaped }
    case 'ENTRYPOINT':
      return { ...withoutEscape(config), Entrypoint: command, Cmd: null, ...escaped }
    case 'ENV':
      return { ...config, Env: mergeEnv(config.Env, pairs(rest)) }
    case 'LABEL':
      return { ...config, Labels: { ...config.Labels, ...Object.fromEntries(pairs(rest).map(split)) } }
    case 'WORKDIR':
      return { ...config, WorkingDir: workingDirectory(unquote(rest)) ?? config.WorkingDir ?? '' }
    case 'USER':
      return { ...config, User: unquote(rest) }
    case 'EXPOSE': {
      const ports = rest.split(/\s+/).map(port => [port.includes('/') ? port : `${port}/tcp`, {}])
      return { ...config, ExposedPorts: { ...config.ExposedPorts, ...Object.fromEntries(ports) } }
    }
    case 'VOLUME':
      return {
        ...config,
        Volumes: { ...config.Volumes, ...Object.fromEntries((json ?? rest.split(/\s+/)).map(path => [path, {}])) }
      }
    case 'SHELL':
      if (json === undefined) throw new Refusal('SHELL requires the arguments to be in JSON form')
      return { ...config, Shell: json }
    case 'STOPSIGNAL':
      return { ...config, StopSignal: rest }
    default:
      throw new Refusal(`${word === '' ? line : word.toLowerCase()} is not a valid change command`)
  }
}

function withoutEscape({ ArgsEscaped: _, ...config }: WindowsConfig): WindowsConfig {
  return config
}

function jsonWords(text: string): string[] | undefined {
  if (!text.trim().startsWith('[')) return undefined
  try {
    const words: unknown = JSON.parse(text)
    return Array.isArray(words) && words.every(word => typeof word === 'string') ? words : undefined
  } catch {
    return undefined
  }
}

/** `A=1 B="two words"`, or the old form `A one value`. */
function pairs(text: string): string[] {
  const words = splitCommandLine(text)
  if (words[0]?.includes('=')) return words
  const [name = '', ...rest] = text.trim().split(/\s+/)
  return [`${name}=${rest.join(' ')}`]
}

function split(pair: string): [string, string] {
  const at = pair.indexOf('=')
  return at < 0 ? [pair, ''] : [pair.slice(0, at), pair.slice(at + 1)]
}

function unquote(text: string): string {
  return stringOf(/^"(.*)"$/.exec(text.trim())?.[1]) || text.trim()
}
