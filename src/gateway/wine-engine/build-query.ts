import { cannot, Refusal } from './refusal.ts'

/** What the client asked of POST /build, where Oriel itself acts on it. */
export interface BuildRequest {
  /** The URL of the context; empty for what the client sends. */
  remote: string
  /** Path of the Dockerfile in the context, with forward slashes. */
  dockerfile: string
  target: string
  buildArgs: Record<string, string | null>
  labels: Record<string, string>
  /** Show that intermediate containers are removed. */
  rm: boolean
  forceRm: boolean
  pull: boolean
  /** The query for the engine; `dockerfile` is still to be set. */
  engineQuery: URLSearchParams
}

/** Query parameters that mean the same to the Linux engine. */
const PASSED = ['t', 'q', 'nocache', 'cachefrom', 'memory', 'memswap', 'shmsize', 'extrahosts', 'version'] as const
const CPU = ['cpushares', 'cpuperiod', 'cpuquota', 'cpusetcpus', 'cpusetmems'] as const

/** Reads the query of POST /build. Throws a Refusal for what a Windows daemon or Wine refuses. */
export function readBuildQuery(query: URLSearchParams): BuildRequest {
  if (query.get('version') === '2') {
    throw new Refusal('BuildKit is not enabled on a Windows engine; build with DOCKER_BUILDKIT=0', 400)
  }
  refusePlatform(query.get('platform') ?? '')
  refuseIsolation(query.get('isolation') ?? '')
  if (flag(query, 'squash')) throw new Refusal('squash is not supported on Windows engines')
  const network = (query.get('networkmode') ?? '').toLowerCase()
  if (network === 'host') throw cannot('build with the network of the host')
  if (query.get('securityopt') ?? '') {
    const options = list(query.get('securityopt'), 'securityopt')
    if (options.length > 0)
      throw new Refusal('The daemon on this platform does not support setting security options on build')
  }
  const engineQuery = new URLSearchParams()
  for (const name of [...PASSED, ...CPU]) for (const value of query.getAll(name)) engineQuery.append(name, value)
  engineQuery.set('version', '1')
  // Oriel removes what a failed step leaves itself, after it has read the exit code there.
  engineQuery.set('rm', '1')
  if (network === 'none') engineQuery.set('networkmode', 'none')
  return {
    remote: query.get('remote') ?? '',
    dockerfile: cleanPath(query.get('dockerfile') ?? ''),
    target: query.get('target') ?? '',
    buildArgs: stringMap(query.get('buildargs'), 'buildargs') as Record<string, string | null>,
    labels: stringMap(query.get('labels'), 'labels') as Record<string, string>,
    rm: query.get('rm') === null || flag(query, 'rm'),
    forceRm: flag(query, 'forcerm'),
    pull: flag(query, 'pull'),
    engineQuery
  }
}

/** `docker\a/../Dockerfile` as `docker/Dockerfile`; nothing is the usual name. Throws when it leaves the context. */
function cleanPath(path: string): string {
  const parts: string[] = []
  for (const part of path.replaceAll('\\', '/').split('/')) {
    if (part === '..') {
      if (parts.pop() === undefined) throw new Refusal(`Forbidden path outside the build context: ${path} ()`, 500)
    } else if (part !== '' && part !== '.') parts.push(part)
  }
  return parts.join('/') || 'Dockerfile'
}

function refusePlatform(platform: string): void {
  if (platform === '' || /^windows(\/(amd64|x86_64))?$/i.test(platform)) return
  const [os = ''] = platform.toLowerCase().split('/')
  throw new Refusal(
    os === 'windows'
      ? `no match for platform ${platform}: this engine builds for windows/amd64`
      : `invalid platform: ${platform}: operating system is not supported: this engine builds for windows/amd64`
  )
}

function refuseIsolation(isolation: string): void {
  const mode = isolation.toLowerCase()
  if (mode === 'hyperv') throw cannot('build with Hyper-V isolation')
  if (mode !== '' && mode !== 'default' && mode !== 'process') {
    throw new Refusal(`Unsupported isolation: ${JSON.stringify(isolation)}`)
  }
}

/** Docker's booleans: everything but these is true. */
function flag(query: URLSearchParams, name: string): boolean {
  const value = (query.get(name) ?? '').trim().toLowerCase()
  return !['', '0', 'no', 'false', 'none'].includes(value)
}

function stringMap(text: string | null, name: string): Record<string, unknown> {
  const value = json(text, name)
  if (value === undefined || value === null) return {}
  const fine =
    typeof value === 'object' &&
    !Array.isArray(value) &&
    Object.values(value).every(item => typeof item === 'string' || (item === null && name === 'buildargs'))
  if (!fine) throw new Refusal(`error reading ${name}: it is not a JSON object of strings`)
  return { ...value }
}

function list(text: string | null, name: string): unknown[] {
  const value = json(text, name)
  return Array.isArray(value) ? value : []
}

function json(text: string | null, name: string): unknown {
  if (text === null || text === '') return undefined
  try {
    return JSON.parse(text)
  } catch {
    throw new Refusal(`error reading ${name}: it is not JSON`)
  }
}
