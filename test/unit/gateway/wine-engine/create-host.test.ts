import { describe, expect, test } from 'vitest'
import { translateEndpoints, translateHostConfig, translateNetworkMode } from '#gateway/wine-engine/create-host.ts'

describe('a HostConfig as clients send it', () => {
  test('docker run without options passes: its defaults of Linux mean nothing', () => {
    const sent = {
      Binds: null,
      NetworkMode: 'default',
      RestartPolicy: { Name: 'no', MaximumRetryCount: 0 },
      AutoRemove: true,
      ConsoleSize: [24, 80],
      CapAdd: null,
      MemorySwappiness: -1,
      OomKillDisable: false,
      PidsLimit: 0,
      Ulimits: [],
      Isolation: '',
      PortBindings: { '80/tcp': [{ HostIp: '127.0.0.1', HostPort: '8080' }] },
      LogConfig: { Type: '', Config: {} },
      BlkioWeight: 0,
      Devices: [],
      DeviceRequests: null,
      NewField: 1
    }
    expect(translateHostConfig(sent, 2)).toEqual({
      warnings: [],
      hostConfig: {
        Binds: null,
        NetworkMode: 'bridge',
        RestartPolicy: { Name: 'no', MaximumRetryCount: 0 },
        AutoRemove: false,
        ConsoleSize: [24, 80],
        PortBindings: { '80/tcp': [{ HostIp: '127.0.0.1', HostPort: '8080' }] },
        LogConfig: { Type: '', Config: {} },
        NewField: 1
      }
    })
  })

  test.each([
    [{ CpuCount: 2 }, { NanoCpus: 2e9 }],
    [{ CpuPercent: 50 }, { CpuPeriod: 100_000, CpuQuota: 200_000 }],
    [{ CpuPercent: 100 }, {}],
    [{ NanoCpus: 15e8 }, { NanoCpus: 15e8 }],
    [{ Memory: 1024 }, { Memory: 1024 }],
    [{ IpcMode: 'private' }, {}],
    [{ Isolation: 'Process' }, {}],
    [{ Isolation: 'default', Init: true, ShmSize: 99 }, {}]
  ])('%j', (sent, expected) => {
    expect(translateHostConfig(sent, 4).hostConfig).toMatchObject(expected)
    expect(translateHostConfig(sent, 4).hostConfig).not.toHaveProperty('Init')
  })

  test.each([
    [{ CpuCount: 1, CpuPercent: 5 }, /CPU percent discarded/],
    [{ CpuCount: 1, CpuShares: 5 }, /CPU shares discarded/],
    [{ CpuShares: 1, CpuPercent: 5 }, /CPU percent discarded/],
    [{ IOMaximumBandwidth: 5 }, /ignored/]
  ])('warns of %j', (sent, words) => {
    expect(translateHostConfig(sent, 1).warnings).toEqual([expect.stringMatching(words)])
  })

  test.each([
    [{ Isolation: 'hyperv' }, /--driver fusion/],
    [{ Isolation: 'chroot' }, /invalid isolation: "chroot"/],
    [{ Privileged: true }, 'Windows does not support privileged mode'],
    [{ ReadonlyRootfs: true }, /read-only mode/],
    [{ DeviceRequests: [{ Capabilities: [['gpu']] }] }, /GPU.*--driver qemu/],
    [{ Devices: [{ PathOnHost: 'class/x' }] }, /cannot give a container a device/],
    [{ SecurityOpt: ['credentialspec=file://x'] }, /Active Directory/],
    [{ SecurityOpt: ['seccomp=unconfined'] }, /security option not supported/],
    [{ Sysctls: { a: '1' } }, /does not support Sysctls/],
    [{ Tmpfs: { '/x': '' } }, 'platform does not support tmpfs'],
    [{ PidMode: 'host' }, /invalid --pid/],
    [{ UTSMode: 'host' }, /invalid --uts/],
    [{ UsernsMode: 'host' }, /invalid --userns/],
    [{ IpcMode: 'host' }, /invalid IPC mode: host/],
    [{ NetworkMode: 'host' }, /network host not found/],
    [{ NetworkMode: 'bridge' }, /network bridge not found/],
    [{ MemorySwap: 5 }, /does not support MemorySwap/],
    [{ MemoryReservation: 5 }, /does not support MemoryReservation/],
    [{ MemorySwappiness: 5 }, /does not support MemorySwappiness/],
    [{ OomKillDisable: true }, /does not support OomKillDisable/],
    [{ PidsLimit: 5 }, /does not support PidsLimit/],
    [{ Ulimits: [{ Name: 'nofile' }] }, /does not support Ulimits/],
    [{ CgroupParent: 'x' }, /does not support CgroupParent/],
    [{ CpusetCpus: '0' }, /does not support CPUSetCPUs/],
    [{ CpuPeriod: 5 }, /does not support CPUPeriod/],
    [{ BlkioWeight: 5 }, /does not support BlkioWeight/],
    [{ CpuPercent: 101 }, /from 1 to 100/],
    [{ NanoCpus: 1, CpuPercent: 1 }, /Nano CPUs and CPU Percent/],
    [{ NanoCpus: 1, CpuShares: 1 }, /Nano CPUs and CPU Shares/],
    [{ AutoRemove: true, RestartPolicy: { Name: 'always' } }, /can't create 'AutoRemove' container with restart policy/]
  ])('refuses %j', (sent, words) => {
    expect(() => translateHostConfig(sent, 2)).toThrow(words)
  })

  test('no limit may be said with -1', () => {
    expect(() => translateHostConfig({ PidsLimit: -1, MemorySwap: -1 }, 1)).not.toThrow()
  })
})

test.each([
  ['', 'bridge'],
  ['default', 'bridge'],
  ['nat', 'bridge'],
  ['none', 'none'],
  ['container:x', 'container:x'],
  ['mine', 'mine']
])('network %j is the engine’s %s', (mode, engine) => {
  expect(translateNetworkMode(mode)).toBe(engine)
})

test('endpoints go by the engine’s names', () => {
  expect(translateEndpoints({ EndpointsConfig: { nat: { Aliases: ['a'] }, mine: null } })).toEqual({
    EndpointsConfig: { bridge: { Aliases: ['a'] }, mine: null }
  })
  expect(translateEndpoints({})).toEqual({})
})
