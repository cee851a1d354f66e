import { joinTarget, type Route, type RouteMatch } from '#gateway/routes.ts'
import { MACHINE_LABEL } from '#image/windows-config.ts'
import { messageOf } from '#lib/fault.ts'
import { answerJson } from './answer.ts'
import type { WineContext } from './context.ts'
import { QUICK_MS } from './facts.ts'
import { DOCKER_ROOT, defaultRelease, kernelVersion, machineName, operatingSystem, WINE_VERSION } from './identity.ts'
import { type Json, objectOf, objectsOf, stringOf, without } from './json.ts'
import { Refusal } from './refusal.ts'
import { cappedVersion } from './version.ts'
import { listImages } from './windows-images.ts'

/** Ping, version and info: what a client asks first, and from which it learns that it talks to Windows. */
export function systemRoutes(context: WineContext): Route[] {
  return [
    { method: 'GET', template: '/_ping', action: () => ping(context) },
    { method: 'HEAD', template: '/_ping', action: () => ping(context) },
    { method: 'GET', template: '/version', action: match => answerJson(() => version(context, match)) },
    { method: 'GET', template: '/info', action: match => answerJson(() => info(context, match)) }
  ]
}

function ping({ engine }: WineContext): ReturnType<Route['action']> {
  return {
    kind: 'handle',
    async handler(request, response) {
      const answer = await engine.request('GET', '/_ping', { timeoutMs: QUICK_MS }).catch((error: unknown) => {
        throw new Refusal(messageOf(error), 503)
      })
      answer.body.resume()
      if (answer.status !== 200) throw new Refusal(`the Docker engine answers ping with status ${answer.status}`, 503)
      const body = request.method === 'HEAD' ? '' : 'OK'
      response.writeHead(200, {
        'Api-Version': cappedVersion(String(answer.headers['api-version'] ?? '')),
        // BuildKit has no worker for this: the client takes the classic builder without a word.
        'Builder-Version': '1',
        'Cache-Control': 'no-cache, no-store, must-revalidate',
        'Content-Length': body.length,
        'Content-Type': 'text/plain; charset=utf-8',
        'Docker-Experimental': String(answer.headers['docker-experimental'] ?? 'false'),
        Ostype: 'windows',
        Pragma: 'no-cache',
        Swarm: 'inactive'
      })
      response.end(body)
    }
  }
}

async function version({ engine }: WineContext, match: RouteMatch): Promise<Json> {
  return windowsVersion(objectOf(await engine.json('GET', joinTarget(match.version, '/version'))))
}

/** The engine's version as a Windows daemon would say it; the parts of a Linux one (containerd, runc) give way to Wine. */
export function windowsVersion(version: Json): Json {
  const own = {
    Os: 'windows',
    Arch: 'amd64',
    KernelVersion: kernelVersion(),
    ApiVersion: cappedVersion(stringOf(version.ApiVersion))
  }
  const components = objectsOf(version.Components).flatMap(component =>
    component.Name === 'Engine' ? [{ ...component, Details: { ...objectOf(component.Details), ...own } }] : []
  )
  return {
    ...version,
    Platform: { ...objectOf(version.Platform), Name: 'Oriel (wine)' },
    ...own,
    ...(version.Components === undefined
      ? {}
      : { Components: [...components, { Name: 'Wine', Version: WINE_VERSION, Details: {} }] })
  }
}

// Of a Linux kernel, its cgroups and its runtimes: a Windows daemon has none of these.
const linuxOnly = [
  'BridgeNfIp6tables',
  'BridgeNfIptables',
  'CDISpecDirs',
  'CPUCfsPeriod',
  'CPUCfsQuota',
  'CPUSet',
  'CPUShares',
  'CgroupDriver',
  'CgroupVersion',
  'Containerd',
  'ContainerdCommit',
  'CpuCfsPeriod',
  'CpuCfsQuota',
  'DefaultAddressPools',
  'DefaultRuntime',
  'DiscoveredDevices',
  'FirewallBackend',
  'InitBinary',
  'InitCommit',
  'IPv4Forwarding',
  'KernelMemory',
  'KernelMemoryTCP',
  'MemoryLimit',
  'OomKillDisable',
  'PidsLimit',
  'ProductLicense',
  'RuncCommit',
  'Runtimes',
  'SwapLimit',
  'SystemStatus'
]

async function info(context: WineContext, match: RouteMatch): Promise<Json> {
  const filters = JSON.stringify({ label: [`${MACHINE_LABEL}=${context.machine}`] })
  const query = new URLSearchParams({ all: '1', filters })
  const [engine, containers, images] = await Promise.all([
    context.engine.json('GET', joinTarget(match.version, '/info')),
    context.engine.json('GET', joinTarget(match.version, '/containers/json', query)),
    listImages(context)
  ])
  const states = objectsOf(containers).map(container => stringOf(container.State))
  return windowsInfo(objectOf(engine), { machine: context.machine, states, images: images.length })
}

/** The engine's info as a Windows daemon would say it, with the counts of this machine alone. */
export function windowsInfo(info: Json, own: { machine: string; states: string[]; images: number }): Json {
  const count = (state: string): number => own.states.filter(each => each === state).length
  return {
    ...without(info, linuxOnly),
    Name: machineName(own.machine),
    Containers: own.states.length,
    ContainersRunning: count('running'),
    ContainersPaused: count('paused'),
    ContainersStopped: own.states.length - count('running') - count('paused'),
    Images: own.images,
    Driver: 'windowsfilter',
    DriverStatus: [],
    Plugins: {
      ...objectOf(info.Plugins),
      Volume: ['local'],
      Network: ['ics', 'internal', 'l2bridge', 'l2tunnel', 'nat', 'null', 'overlay', 'private', 'transparent']
    },
    OSType: 'windows',
    OSVersion: defaultRelease().osVersion,
    OperatingSystem: operatingSystem(),
    KernelVersion: kernelVersion(),
    Architecture: 'x86_64',
    Isolation: 'process',
    DockerRootDir: DOCKER_ROOT,
    Labels: [`${MACHINE_LABEL}=${own.machine}`],
    SecurityOptions: [],
    Swarm: {
      NodeID: '',
      NodeAddr: '',
      LocalNodeState: 'inactive',
      ControlAvailable: false,
      Error: '',
      RemoteManagers: null
    },
    // They speak of the Linux engine's cgroups and firewall.
    Warnings: null
  }
}
