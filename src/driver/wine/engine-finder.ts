import { access, constants, stat } from 'node:fs/promises'
import { homedir } from 'node:os'
import { join } from 'node:path'
import type { DriverWork, EngineReference } from '#driver/driver.ts'
import { Fault, messageOf } from '#lib/fault.ts'
import { type CurrentContext, currentContext } from './current-context.ts'
import { describeEngine, type EngineFacts, probeEngine, refusal } from './engine-probe.ts'

export interface FoundEngine {
  reference: EngineReference
  /** For people: what it is and where it was found. */
  description: string
}

/** What the search asks the world; tests give their own. */
export interface FinderHost {
  home: string
  platform: NodeJS.Platform
  uid: number
  currentContext(env: NodeJS.ProcessEnv): Promise<CurrentContext | undefined>
  probe(reference: EngineReference, signal?: AbortSignal): Promise<EngineFacts>
  /** Whether a socket is there, and may be opened. */
  socket(path: string): Promise<'there' | 'forbidden' | 'absent'>
}

export const realHost: FinderHost = {
  home: homedir(),
  platform: process.platform,
  uid: process.getuid?.() ?? 0,
  currentContext,
  probe: probeEngine,
  socket: async path => {
    const found = await stat(path).catch(() => undefined)
    if (!found?.isSocket()) return 'absent'
    return access(path, constants.R_OK | constants.W_OK).then(
      () => 'there',
      () => 'forbidden'
    )
  }
}

/**
 * Finds the Linux engine: the one asked for, the one used before, DOCKER_HOST's, the current docker context's, or one at
 * the usual sockets. What a person named is final; only the usual sockets are tried one after the other. Fault 4 if none.
 */
export async function findEngine(
  asked: { url?: string; recorded?: EngineReference },
  work: DriverWork,
  host: FinderHost = realHost
): Promise<FoundEngine> {
  const { env, signal } = work
  const accept = async (reference: EngineReference, via: string): Promise<FoundEngine> => {
    const facts = await host.probe(reference, signal)
    const no = refusal(facts, reference.url)
    if (no !== undefined) throw no
    return { reference, description: `${describeEngine(facts)} (${via})` }
  }

  if (asked.url !== undefined) {
    return accept({ ...dockerTls(env, asked.url), url: asked.url }, '--engine')
  }
  if (asked.recorded !== undefined) return accept(asked.recorded, asked.recorded.url)
  const dockerHost = env.DOCKER_HOST
  if (dockerHost !== undefined && dockerHost !== '') {
    return accept({ ...dockerTls(env, dockerHost), url: dockerHost }, 'DOCKER_HOST')
  }
  const context = await host.currentContext(env)
  if (context?.ours === false) return accept(context.reference, `docker context ${context.name}`)

  const seen: string[] = []
  for (const path of usualSockets(host, env)) {
    const there = await host.socket(path)
    if (there === 'absent') continue
    if (there === 'forbidden') {
      seen.push(`${path} is there, but may not be opened by this user`)
      continue
    }
    try {
      return await accept({ url: `unix://${path}` }, path)
    } catch (error) {
      if (signal.aborted) throw error
      seen.push(messageOf(error))
    }
  }
  throw new Fault(`no Linux Docker engine was found${seen.length === 0 ? '.' : `: ${seen.join('; ')}.`}`, {
    exitCode: 4,
    hint: howToGetOne(host.platform, seen)
  })
}

/** Where Docker, Docker Desktop, OrbStack, Colima, Rancher Desktop, Lima and Podman put their sockets. */
export function usualSockets(host: Pick<FinderHost, 'home' | 'platform' | 'uid'>, env: NodeJS.ProcessEnv): string[] {
  const runtime = env.XDG_RUNTIME_DIR ?? `/run/user/${host.uid}`
  const inHome = [
    '.docker/run',
    '.docker/desktop',
    '.orbstack/run',
    '.colima/default',
    '.colima',
    '.rd',
    '.lima/docker/sock'
  ]
  return [
    '/var/run/docker.sock',
    ...inHome.map(folder => join(host.home, folder, 'docker.sock')),
    ...(host.platform === 'darwin'
      ? [join(host.home, '.local/share/containers/podman/machine/podman.sock')]
      : [join(runtime, 'docker.sock'), join(runtime, 'podman/podman.sock'), '/run/podman/podman.sock'])
  ]
}

/** TLS as the docker client takes it from the environment; nothing for a socket or ssh. */
function dockerTls(env: NodeJS.ProcessEnv, url: string): Partial<EngineReference> {
  if (!/^(tcp|https?):/i.test(url)) return {}
  const verify = env.DOCKER_TLS_VERIFY !== undefined && env.DOCKER_TLS_VERIFY !== ''
  const tls = env.DOCKER_TLS !== undefined && env.DOCKER_TLS !== ''
  if (!verify && !tls) return {}
  const folder = env.DOCKER_CERT_PATH || env.DOCKER_CONFIG || join(env.HOME ?? homedir(), '.docker')
  return { tlsFolder: folder, ...(verify ? {} : { skipVerify: true }) }
}

function howToGetOne(platform: NodeJS.Platform, seen: string[]): string {
  if (seen.some(line => line.includes('may not be opened'))) {
    return 'Join the docker group (sudo usermod -aG docker $USER, then log in again), or run as root.'
  }
  return platform === 'darwin'
    ? 'Start Docker Desktop or OrbStack, or: brew install colima docker && colima start'
    : 'Install and start one (Debian: sudo apt-get install docker.io), or name one: oriel up --engine URL'
}
