import { type Json, numberOf, objectOf, stringOf, without } from './json.ts'
import { cannot, Refusal } from './refusal.ts'

/** What a Windows daemon says of these when they are set. */
const UNSUPPORTED: Record<string, string> = {
  BlkioDeviceReadBps: 'BlkioDeviceReadBps',
  BlkioDeviceReadIOps: 'BlkioDeviceReadIOps',
  BlkioDeviceWriteBps: 'BlkioDeviceWriteBps',
  BlkioDeviceWriteIOps: 'BlkioDeviceWriteIOps',
  BlkioWeight: 'BlkioWeight',
  BlkioWeightDevice: 'BlkioWeightDevice',
  CgroupParent: 'CgroupParent',
  CpuPeriod: 'CPUPeriod',
  CpuQuota: 'CPUQuota',
  CpusetCpus: 'CPUSetCPUs',
  CpusetMems: 'CPUSetMems',
  KernelMemory: 'KernelMemory',
  KernelMemoryTCP: 'KernelMemoryTCP',
  MemoryReservation: 'MemoryReservation',
  MemorySwap: 'MemorySwap',
  OomKillDisable: 'OomKillDisable',
  PidsLimit: 'PidsLimit',
  Ulimits: 'Ulimits'
}

/** The engine's fields that mean nothing for a Windows container, or something else. */
const DROPPED = [
  ...Object.keys(UNSUPPORTED),
  ...[
    'Tmpfs',
    'Isolation',
    'Init',
    'IOMaximumBandwidth',
    'IOMaximumIOps',
    'CpuCount',
    'CpuPercent',
    'MemorySwappiness'
  ],
  ...[
    'CpuRealtimePeriod',
    'CpuRealtimeRuntime',
    'CapAdd',
    'CapDrop',
    'Capabilities',
    'CgroupnsMode',
    'Cgroup',
    'IpcMode'
  ],
  ...[
    'OomScoreAdj',
    'PidMode',
    'Privileged',
    'ReadonlyRootfs',
    'SecurityOpt',
    'ShmSize',
    'Sysctls',
    'UTSMode',
    'UsernsMode'
  ],
  ...['Devices', 'DeviceCgroupRules', 'DeviceRequests', 'GroupAdd', 'MaskedPaths', 'ReadonlyPaths', 'Runtime'],
  ...['Annotations', 'StorageOpt', 'VolumeDriver']
]

/** Stands for "set": engines and clients write the same nothing in many ways. */
function isSet(value: unknown): boolean {
  if (value === undefined || value === null || value === '' || value === 0 || value === false) return false
  return typeof value !== 'object' || Object.keys(value).length > 0
}

/**
 * Patches a client's HostConfig into one for the Linux engine; mounts are not its care. Gives warnings for what is ignored.
 * `processors` are the engine's, for the limits that Windows counts in parts of them all.
 * A Refusal for what a Windows daemon refuses (in its words) and for what only a real Windows can do.
 */
export function translateHostConfig(hostConfig: Json, processors: number): { hostConfig: Json; warnings: string[] } {
  const warnings: string[] = []
  refuseIsolation(stringOf(hostConfig.Isolation))
  refusePrivileges(hostConfig)
  for (const [field, name] of Object.entries(UNSUPPORTED)) {
    // -1 is how clients say "no limit".
    if (isSet(hostConfig[field]) && hostConfig[field] !== -1) {
      throw new Refusal(`invalid option: Windows does not support ${name}`)
    }
  }
  if (isSet(hostConfig.MemorySwappiness) && hostConfig.MemorySwappiness !== -1) {
    throw new Refusal('invalid option: Windows does not support MemorySwappiness')
  }
  if (isSet(hostConfig.Tmpfs)) throw new Refusal('platform does not support tmpfs')
  if (isSet(hostConfig.IOMaximumBandwidth) || isSet(hostConfig.IOMaximumIOps)) {
    warnings.push('IOMaximumBandwidth and IOMaximumIOps are ignored: this machine cannot limit the disk of a container')
  }
  const restart = objectOf(hostConfig.RestartPolicy)
  if (hostConfig.AutoRemove === true && isSet(restart.Name) && restart.Name !== 'no') {
    throw new Refusal("can't create 'AutoRemove' container with restart policy")
  }
  const networkMode = translateNetworkMode(stringOf(hostConfig.NetworkMode))
  const limits = translateProcessors(hostConfig, processors, warnings)
  return {
    hostConfig: { ...without(hostConfig, DROPPED), ...limits, NetworkMode: networkMode, AutoRemove: false },
    warnings
  }
}

/** The engine's name for a network: a Windows daemon's default is `nat`. A Refusal for those that Windows has not. */
export function translateNetworkMode(mode: string): string {
  if (mode === '' || mode === 'default' || mode === 'nat') return 'bridge'
  if (mode === 'host') {
    throw new Refusal('network host not found: Windows containers have no host network, publish ports instead (-p)')
  }
  if (mode === 'bridge') throw new Refusal('network bridge not found: the default network of Windows is nat')
  return mode
}

/** The endpoints of a NetworkingConfig under the engine's names. */
export function translateEndpoints(networking: Json): Json {
  const endpoints = Object.entries(objectOf(networking.EndpointsConfig))
  if (endpoints.length === 0) return networking
  return {
    ...networking,
    EndpointsConfig: Object.fromEntries(endpoints.map(([name, value]) => [translateNetworkMode(name), value]))
  }
}

function refuseIsolation(isolation: string): void {
  const mode = isolation.toLowerCase()
  if (mode === 'hyperv') throw cannot('give a container a kernel of its own (--isolation hyperv)', 'fusion')
  if (mode !== '' && mode !== 'default' && mode !== 'process') {
    throw new Refusal(`invalid isolation: "${isolation}": must be default, process or hyperv`)
  }
}

function refusePrivileges(hostConfig: Json): void {
  if (hostConfig.Privileged === true) throw new Refusal('Windows does not support privileged mode')
  if (hostConfig.ReadonlyRootfs === true)
    throw new Refusal('Windows does not support root filesystem in read-only mode')
  if (isSet(hostConfig.DeviceRequests)) throw cannot('give a container a GPU')
  if (isSet(hostConfig.Devices)) throw cannot('give a container a device')
  for (const option of Array.isArray(hostConfig.SecurityOpt) ? hostConfig.SecurityOpt.map(String) : []) {
    if (/^credentialspec\b/i.test(option)) throw cannot('log a container on to Active Directory (credentialspec)')
    throw new Refusal(`security option not supported: ${option}`)
  }
  if (isSet(hostConfig.Sysctls)) throw new Refusal('invalid option: Windows does not support Sysctls')
  for (const [field, flag] of [
    ['PidMode', '--pid'],
    ['UTSMode', '--uts'],
    ['UsernsMode', '--userns']
  ] as const) {
    if (isSet(hostConfig[field])) throw new Refusal(`invalid ${flag}: Windows does not support ${field}`)
  }
  // Clients send the mode that a Linux daemon has as its default.
  if (isSet(hostConfig.IpcMode) && !['private', 'shareable', 'none'].includes(stringOf(hostConfig.IpcMode))) {
    throw new Refusal(`invalid IPC mode: ${stringOf(hostConfig.IpcMode)}`)
  }
}

/** CpuCount and CpuPercent, which only Windows has, as a limit that the Linux engine knows. */
function translateProcessors(hostConfig: Json, processors: number, warnings: string[]): Json {
  const count = numberOf(hostConfig.CpuCount)
  const percent = numberOf(hostConfig.CpuPercent)
  const nano = numberOf(hostConfig.NanoCpus)
  const shares = numberOf(hostConfig.CpuShares)
  if (percent < 0 || percent > 100) throw new Refusal('range of CPU percent is from 1 to 100')
  if (nano > 0 && percent > 0) throw new Refusal('conflicting options: Nano CPUs and CPU Percent cannot both be set')
  if (nano > 0 && shares > 0) throw new Refusal('conflicting options: Nano CPUs and CPU Shares cannot both be set')
  if (count > 0) {
    for (const [name, value] of [
      ['shares', shares],
      ['percent', percent]
    ] as const) {
      if (value === 0) continue
      warnings.push(
        `Conflicting options: CPU count takes priority over CPU ${name} on Windows Server Containers. CPU ${name} discarded`
      )
    }
    return { NanoCpus: count * 1e9, CpuShares: 0 }
  }
  if (percent === 0) return {}
  if (shares > 0) {
    warnings.push(
      'Conflicting options: CPU shares takes priority over CPU percent on Windows Server Containers. CPU percent discarded'
    )
    return {}
  }
  // Windows means a share of all processors; 100 is no limit.
  return percent === 100 ? {} : { CpuPeriod: 100_000, CpuQuota: percent * 1000 * processors }
}
