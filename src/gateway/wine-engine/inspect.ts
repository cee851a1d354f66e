import { sendJson } from '#gateway/proxy/respond.ts'
import { joinTarget, type Route } from '#gateway/routes.ts'
import { userLabels, type WindowsConfig } from '#image/windows-config.ts'
import { toWindowsPath } from '#image/windows-path.ts'
import { pathAndArgs } from './command-line.ts'
import type { WineContext } from './context.ts'
import { endingOf } from './exit-code.ts'
import { type Json, numberOf, objectOf, objectsOf, stringOf, without } from './json.ts'
import { type Container, type ContainerRecord, findContainer } from './record.ts'
import { failureExitCode, failureMessage } from './start.ts'
import type { ProgramState } from './state-file.ts'

const ROOT = 'C:\\ProgramData\\docker'

export function inspectRoutes(context: WineContext): Route[] {
  return [
    {
      method: 'GET',
      template: '/containers/{id}/json',
      action: ({ params, query, version }) => ({
        kind: 'handle',
        handler: async (_request, response) => {
          const container = await findContainer(context, params.id ?? '')
          const target = joinTarget(version, `/containers/${container.id}/json`, query)
          const inspect = objectOf(await context.engine.json('GET', target))
          const state = objectOf(inspect.State)
          const ending =
            state.Running === true
              ? undefined
              : await endingOf(context, container.id, numberOf(state.ExitCode), stringOf(state.FinishedAt))
          sendJson(response, 200, windowsInspect({ ...container, inspect, state }, ending))
        }
      })
    }
  ]
}

/** An engine's `inspect` as a Windows daemon would say it. `ending` is what init said of the last run's end, if it matters. */
export function windowsInspect({ inspect, record }: Container, ending: ProgramState | undefined): Json {
  const id = stringOf(inspect.Id)
  const folder = `${ROOT}\\containers\\${id}`
  const sizes = 'SizeRw' in inspect ? { SizeRw: inspect.SizeRw, SizeRootFs: inspect.SizeRootFs } : {}
  return {
    ...without(inspect, ['ImageManifestDescriptor']),
    ...pathAndArgs(record.config),
    Image: record.imageId ?? inspect.Image,
    State: windowsState(id, objectOf(inspect.State), ending),
    ResolvConfPath: '',
    HostnamePath: '',
    HostsPath: '',
    LogPath: inspect.LogPath === '' ? '' : `${folder}\\${id}-json.log`,
    Driver: 'windowsfilter',
    Platform: 'windows',
    MountLabel: '',
    ProcessLabel: '',
    AppArmorProfile: '',
    HostConfig: windowsHostConfig(objectOf(inspect.HostConfig), record),
    GraphDriver: { Data: { dir: `${ROOT}\\windowsfilter\\${id}` }, Name: 'windowsfilter' },
    ...sizes,
    Mounts: objectsOf(inspect.Mounts).map(mount => windowsMount(mount, record)),
    Config: windowsConfigJson(objectOf(inspect.Config), record),
    NetworkSettings: windowsNetworks(objectOf(inspect.NetworkSettings))
  }
}

function windowsState(id: string, state: Json, ending: ProgramState | undefined): Json {
  const plain: Json = { ...state, OOMKilled: false }
  if (ending?.kind === 'exited') return { ...plain, ExitCode: ending.code }
  if (ending?.kind !== 'failed') return plain
  // A Windows daemon never got as far as running it.
  return {
    ...plain,
    Status: 'created',
    ExitCode: failureExitCode(ending.error),
    Error: failureMessage(`container ${id}`, ending),
    StartedAt: '0001-01-01T00:00:00Z',
    FinishedAt: '0001-01-01T00:00:00Z'
  }
}

/** The values that a Windows daemon has where a Linux engine speaks of its kernel. */
const LINUX_DEFAULTS: Json = {
  CapAdd: null,
  CapDrop: null,
  Cgroup: '',
  CgroupnsMode: '',
  CgroupParent: '',
  GroupAdd: null,
  IpcMode: '',
  OomScoreAdj: 0,
  PidMode: '',
  Privileged: false,
  ReadonlyRootfs: false,
  SecurityOpt: null,
  ShmSize: 0,
  UTSMode: '',
  UsernsMode: '',
  Runtime: '',
  Devices: null,
  DeviceCgroupRules: null,
  DeviceRequests: null,
  MemoryReservation: 0,
  MemorySwap: 0,
  MemorySwappiness: null,
  OomKillDisable: null,
  PidsLimit: null,
  Ulimits: null,
  MaskedPaths: null,
  ReadonlyPaths: null
}

function windowsHostConfig(engine: Json, record: ContainerRecord): Json {
  const asked = record.hostConfig
  const taken = [
    'CpuCount',
    'CpuPercent',
    'IOMaximumIOps',
    'IOMaximumBandwidth',
    'NanoCpus',
    'CpuShares',
    'ConsoleSize'
  ]
  const own = Object.fromEntries(taken.filter(name => name in asked).map(name => [name, asked[name]]))
  const { Mounts: _, Tmpfs: __, Sysctls: ___, Init: ____, ...shown } = engine
  return {
    ...shown,
    ...LINUX_DEFAULTS,
    CpuPeriod: 0,
    CpuQuota: 0,
    ...own,
    ...(numberOf(asked.CpuCount) > 0 ? { NanoCpus: 0, CpuShares: 0 } : {}),
    Binds: Array.isArray(asked.Binds) && asked.Binds.length > 0 ? asked.Binds : null,
    ...(Array.isArray(asked.Mounts) && asked.Mounts.length > 0 ? { Mounts: asked.Mounts } : {}),
    NetworkMode: stringOf(asked.NetworkMode) === 'default' ? 'default' : networkName(stringOf(engine.NetworkMode)),
    AutoRemove: record.autoRemove,
    Isolation: 'process'
  }
}

/** One of `Mounts`, of inspect or list, with the words that the client used. */
export function windowsMount(mount: Json, record: ContainerRecord): Json {
  const target = stringOf(mount.Destination)
  const recorded = record.mounts.find(known => known.target === target)
  const isVolume = mount.Type === 'volume'
  return {
    ...without(mount, ['Propagation']),
    Source: isVolume ? volumeFolder(stringOf(mount.Name)) : (recorded?.source ?? stringOf(mount.Source)),
    Destination: recorded?.destination ?? toWindowsPath(target) ?? target,
    Mode: mount.RW === false ? 'ro' : '',
    Propagation: ''
  }
}

/** Where a Windows daemon keeps a volume. */
export function volumeFolder(name: string): string {
  return name === '' ? '' : `${ROOT}\\volumes\\${name}\\_data`
}

function windowsConfigJson(engine: Json, record: ContainerRecord): Json {
  return {
    ...without(engine, ['Healthcheck', 'Shell', 'ArgsEscaped', 'StopSignal']),
    ...shownConfig(record.config, record.image)
  }
}

/** The fields of a config that the record knows better than the engine. */
function shownConfig(config: WindowsConfig, image: string): Json {
  const { Healthcheck, Shell, ArgsEscaped, StopSignal } = config
  return {
    Image: image,
    Cmd: config.Cmd ?? null,
    Entrypoint: config.Entrypoint ?? null,
    Env: config.Env ?? [],
    User: config.User ?? '',
    WorkingDir: config.WorkingDir ?? '',
    Volumes: config.Volumes ?? null,
    OnBuild: config.OnBuild ?? null,
    Labels: userLabels(config.Labels),
    ...(Healthcheck === undefined ? {} : { Healthcheck }),
    ...(Shell === undefined ? {} : { Shell }),
    ...(ArgsEscaped === undefined ? {} : { ArgsEscaped }),
    ...(StopSignal === undefined ? {} : { StopSignal })
  }
}

/** The name by which clients know a network of the engine. */
export function networkName(name: string): string {
  return name === 'bridge' || name === 'default' || name === '' ? 'nat' : name
}

/** NetworkSettings, of inspect or list: the engine's bridge is Windows' nat. */
export function windowsNetworks(settings: Json): Json {
  const networks = Object.entries(objectOf(settings.Networks)).map(([name, value]) => [networkName(name), value])
  const shown: Json = { ...settings, Networks: Object.fromEntries(networks) }
  if ('Bridge' in settings) shown.Bridge = ''
  if ('SandboxKey' in settings) shown.SandboxKey = stringOf(settings.SandboxID)
  return shown
}
