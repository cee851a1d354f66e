import { Engine, EngineError } from '#docker/engine.ts'
import { type EngineReference, endpointOf } from '#driver/driver.ts'
import { Fault, messageOf } from '#lib/fault.ts'

interface VersionAnswer {
  Version?: string
  ApiVersion?: string
  Os?: string
  Arch?: string
  Components?: { Name?: string }[]
}

interface InfoAnswer {
  OSType?: string
  Architecture?: string
  OperatingSystem?: string
  Labels?: string[] | null
  DockerRootDir?: string
  Name?: string
}

/** What an engine says of itself, as far as the wine driver cares. */
export interface EngineFacts {
  version: string
  apiVersion: string
  os: string
  arch: 'amd64' | 'arm64' | string
  operatingSystem: string
  /** Folder on the engine's host where images and containers are. */
  dataRoot: string
  podman: boolean
  /** It is itself the front of an Oriel machine. */
  gateway: boolean
}

const PROBE_MS = 10_000

// Images by platform and `rm=1` builds that say their id need 1.40; older engines are out of use since 2021.
const OLDEST_API = [1, 40] as const

/** Asks an engine what it is. Fault when it cannot be reached or is no Docker engine. */
export async function probeEngine(reference: EngineReference, signal?: AbortSignal): Promise<EngineFacts> {
  const engine = new Engine(await endpointOf(reference))
  const limit = AbortSignal.timeout(PROBE_MS)
  const options = {
    timeoutMs: PROBE_MS,
    signal: signal === undefined ? limit : AbortSignal.any([signal, limit])
  }
  try {
    const [version, info] = await Promise.all([
      engine.json<VersionAnswer>('GET', '/version', undefined, options),
      engine.json<InfoAnswer>('GET', '/info', undefined, options)
    ])
    return factsOf(version, info)
  } catch (error) {
    if (signal?.aborted) throw new Fault('interrupted.', { exitCode: 130 })
    // Its words name the address and the cause.
    if (error instanceof Fault && !limit.aborted) throw asMissing(error)
    const late = limit.aborted ? `no answer within ${PROBE_MS / 1000} s` : messageOf(error)
    const why = error instanceof EngineError ? `it answered ${error.status}: ${error.message}` : late
    throw new Fault(`the engine at ${reference.url} cannot be used: ${why}`, { exitCode: 4, cause: error })
  }
}

function asMissing(fault: Fault): Fault {
  const hint = fault.hint === undefined ? {} : { hint: fault.hint }
  return new Fault(fault.message, { exitCode: 4, cause: fault, ...hint })
}

function factsOf(version: VersionAnswer, info: InfoAnswer): EngineFacts {
  const operatingSystem = info.OperatingSystem ?? ''
  return {
    version: version.Version ?? '',
    apiVersion: version.ApiVersion ?? '',
    os: info.OSType ?? version.Os ?? '',
    arch: dockerArch(info.Architecture ?? version.Arch ?? ''),
    operatingSystem,
    dataRoot: info.DockerRootDir ?? '/var/lib/docker',
    podman: (version.Components ?? []).some(component => /podman/i.test(component.Name ?? '')),
    gateway: /\boriel\b/i.test(operatingSystem) || (info.Labels ?? []).some(label => label.startsWith('dev.oriel'))
  }
}

/** A Fault that says why this engine cannot carry Windows containers; undefined when it can. */
export function refusal(facts: EngineFacts, url: string): Fault | undefined {
  const hint = 'Name a Linux engine: oriel up --engine unix:///path/to/docker.sock'
  if (facts.gateway) {
    return new Fault(`${url} is an Oriel machine itself; the wine driver needs the Linux engine behind it.`, {
      exitCode: 4,
      hint
    })
  }
  // Tried with 4.3: the base builds, but networks, mounts and events go by other names there, so half would work.
  if (facts.podman) {
    return new Fault(`${url} is Podman, whose Docker API differs too much for the wine driver.`, {
      exitCode: 4,
      hint: 'Use a Docker engine: oriel up --engine unix:///path/to/docker.sock'
    })
  }
  if (facts.os === 'windows') {
    return new Fault(`${url} is a Windows engine, which runs Windows containers without Oriel.`, { exitCode: 4, hint })
  }
  if (facts.os !== 'linux') {
    return new Fault(`${url} is an engine on "${facts.os}"; the wine driver needs one on Linux.`, { exitCode: 4, hint })
  }
  if (facts.arch !== 'amd64' && facts.arch !== 'arm64') {
    return new Fault(
      `${url} runs on ${facts.arch}; the wine driver runs on amd64, and on arm64 with an emulator for amd64.`,
      { exitCode: 4, hint: 'Use an engine on an x86-64 or an Apple silicon host.' }
    )
  }
  const [major = 0, minor = 0] = facts.apiVersion.split('.').map(Number)
  if (major < OLDEST_API[0] || (major === OLDEST_API[0] && minor < OLDEST_API[1])) {
    return new Fault(
      `${url} is Docker ${facts.version} (API ${facts.apiVersion}); Oriel needs API ${OLDEST_API.join('.')}.`,
      {
        exitCode: 4,
        hint: 'Update the engine.'
      }
    )
  }
  return undefined
}

/** For people: `Docker 20.10.24 on Debian GNU/Linux 12 (bookworm), amd64`. */
export function describeEngine(facts: EngineFacts): string {
  return `Docker ${facts.version} on ${facts.operatingSystem || 'Linux'}, ${facts.arch}`
}

// uname's words (from /info) and Go's (from /version) for the same thing.
function dockerArch(name: string): string {
  const known: Record<string, string> = { x86_64: 'amd64', aarch64: 'arm64', armv7l: 'arm', i686: '386' }
  return known[name] ?? name
}
