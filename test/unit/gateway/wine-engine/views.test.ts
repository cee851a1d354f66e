import { describe, expect, test } from 'vitest'
import { windowsChanges } from '#gateway/wine-engine/changes.ts'
import { windowsInspect } from '#gateway/wine-engine/inspect.ts'
import { translateFilters, windowsRow } from '#gateway/wine-engine/list.ts'
import { type Container, findContainer, inWindowsWords } from '#gateway/wine-engine/record.ts'
import { windowsStats } from '#gateway/wine-engine/stats.ts'
import { humanSize, topRow } from '#gateway/wine-engine/top.ts'
import { fakeContext, labels, record } from './fake-context.ts'

const mounts = [
  { type: 'bind' as const, source: 'C:\\Users\\me', destination: 'C:\\src', target: '/c/drive_c/src' },
  { type: 'volume' as const, source: 'data', destination: 'D:\\', target: '/c/drive_d' }
]
const of = record({
  mounts,
  hostConfig: { Binds: ['C:\\Users\\me:C:\\src'], NetworkMode: 'default' },
  autoRemove: true
})
const engineInspect = {
  Id: 'abc',
  Path: '/oriel/init',
  Args: ['run', 'Q01E'],
  State: {
    Status: 'exited',
    Running: false,
    ExitCode: 240,
    Error: '',
    StartedAt: 'a',
    FinishedAt: 'b',
    OOMKilled: false
  },
  Image: 'sha256:1',
  ResolvConfPath: '/var/lib/docker/containers/abc/resolv.conf',
  HostnamePath: '/var/lib/docker/containers/abc/hostname',
  HostsPath: '/var/lib/docker/containers/abc/hosts',
  LogPath: '/var/lib/docker/containers/abc/abc-json.log',
  Name: '/x',
  Driver: 'overlay2',
  Platform: 'linux',
  AppArmorProfile: 'docker-default',
  HostConfig: {
    Binds: ['/Users/me:/c/drive_c/src'],
    Mounts: [{ Type: 'volume', Target: '/c/drive_d' }],
    NetworkMode: 'bridge',
    Runtime: 'runc',
    CgroupnsMode: 'host',
    Memory: 5,
    AutoRemove: false
  },
  GraphDriver: { Name: 'overlay2', Data: { LowerDir: '/var/lib/docker/overlay2' } },
  Mounts: [
    { Type: 'bind', Source: '/Users/me', Destination: '/c/drive_c/src', Mode: '', RW: true, Propagation: 'rprivate' },
    { Type: 'volume', Name: 'data', Source: '/var/x', Destination: '/c/drive_d', Driver: 'local', RW: false }
  ],
  Config: {
    Hostname: 'abc',
    Env: [],
    Cmd: ['run', 'Q01E'],
    Entrypoint: ['/oriel/init'],
    Image: 'sha256:1',
    Labels: labels(of),
    StopSignal: 'SIGTERM',
    ExposedPorts: { '80/tcp': {} },
    WorkingDir: '',
    Future: 1
  },
  NetworkSettings: {
    Bridge: '',
    SandboxID: 's',
    SandboxKey: '/var/run/docker/netns/s',
    Ports: { '80/tcp': null },
    Networks: { bridge: { IPAddress: '172.17.0.2' }, mine: {} }
  },
  Future: 2
}
const container: Container = { id: 'abc', inspect: engineInspect, state: engineInspect.State, record: of }

describe('inspect', () => {
  const shown = windowsInspect(container, { kind: 'exited', code: 3221225477 })

  test('says nothing of Linux, Wine or Oriel', () => {
    expect(JSON.stringify(shown)).not.toMatch(/\/var|\/c\/|linux|overlay|runc|oriel|wine|rprivate|apparmor-default/i)
  })

  test('says what a Windows daemon says, and keeps what it does not know', () => {
    expect(shown).toMatchObject({
      Path: 'cmd',
      Args: ['/c', 'ver'],
      Platform: 'windows',
      Driver: 'windowsfilter',
      GraphDriver: { Name: 'windowsfilter', Data: { dir: 'C:\\ProgramData\\docker\\windowsfilter\\abc' } },
      LogPath: 'C:\\ProgramData\\docker\\containers\\abc\\abc-json.log',
      State: { ExitCode: 3221225477, Status: 'exited' },
      HostConfig: {
        Binds: ['C:\\Users\\me:C:\\src'],
        NetworkMode: 'default',
        Isolation: 'process',
        AutoRemove: true,
        Memory: 5
      },
      Config: { Image: 'windowsservercore', Cmd: ['cmd', '/c', 'ver'], Hostname: 'abc', Labels: {}, Future: 1 },
      NetworkSettings: { Networks: { nat: { IPAddress: '172.17.0.2' }, mine: {} }, Ports: { '80/tcp': null } },
      Future: 2
    })
    expect(shown.Mounts).toEqual([
      { Type: 'bind', Source: 'C:\\Users\\me', Destination: 'C:\\src', Mode: '', RW: true, Propagation: '' },
      {
        Type: 'volume',
        Name: 'data',
        Source: 'C:\\ProgramData\\docker\\volumes\\data\\_data',
        Destination: 'D:\\',
        Driver: 'local',
        Mode: 'ro',
        RW: false,
        Propagation: ''
      }
    ])
  })

  test('a program that could not start leaves a container that was only created', () => {
    expect(windowsInspect(container, { kind: 'failed', error: 2, text: 'x' }).State).toMatchObject({
      Status: 'created',
      ExitCode: 127,
      Error: expect.stringContaining('The system cannot find the file specified. (0x2)'),
      StartedAt: '0001-01-01T00:00:00Z'
    })
    expect(windowsInspect(container, { kind: 'failed', error: 5, text: '' }).State).toMatchObject({ ExitCode: 126 })
  })
})

describe('who is found', () => {
  test.each([
    ['another machine’s', labels(record({ machine: 'other' }))],
    ['a Linux one', {}],
    ['one with a damaged record', { 'dev.oriel.machine': 'test', 'dev.oriel.container': '{' }]
  ])('not %s', async (_, Labels) => {
    const { context } = fakeContext(() => ({ json: { Id: 'abc', Config: { Labels } } }))
    await expect(findContainer(context, 'x')).rejects.toMatchObject({ status: 404, message: 'No such container: x' })
  })

  test('not what is missing; an engine in trouble is not hidden', async () => {
    const gone = fakeContext(() => ({ status: 404, json: { message: 'No such container: deadbeef' } }))
    await expect(findContainer(gone.context, 'x')).rejects.toMatchObject({ message: 'No such container: x' })
    const broken = fakeContext(() => ({ status: 500, json: { message: 'disk on fire' } }))
    await expect(findContainer(broken.context, 'x')).rejects.toMatchObject({ status: 500, message: 'disk on fire' })
  })

  test('this machine’s, by a name with odd characters', async () => {
    const { context, calls } = fakeContext(() => ({ json: engineInspect }))
    await expect(findContainer(context, 'a/b')).resolves.toMatchObject({ id: 'abc' })
    expect(calls[0]?.path).toBe('/containers/a%2Fb/json')
  })
})

describe('list', () => {
  test('a row', () => {
    const row = {
      Id: 'abc',
      Image: 'sha256:1',
      Command: '/oriel/init run Q01E',
      Labels: labels(of),
      Status: 'Exited (240) 3 minutes ago',
      HostConfig: { NetworkMode: 'bridge' },
      NetworkSettings: { Networks: { bridge: {} } },
      Mounts: engineInspect.Mounts,
      Ports: [{ PrivatePort: 80 }]
    }
    const shown = windowsRow({ ...row, ImageManifestDescriptor: { platform: { os: 'linux' } } }, of, 300)
    expect(shown).toMatchObject({
      Image: 'windowsservercore',
      Command: 'cmd /c ver',
      Status: 'Exited (300) 3 minutes ago',
      Labels: {},
      HostConfig: { NetworkMode: 'nat' },
      NetworkSettings: { Networks: { nat: {} } },
      Ports: [{ PrivatePort: 80 }]
    })
    expect(JSON.stringify(shown)).not.toMatch(/\/c\/|oriel|linux/)
  })

  const filters = (given: Record<string, string[]>) => translateFilters(new Map(Object.entries(given)), 'test')

  test.each([
    [{ volume: ['C:\\Data'] }, { volume: ['/c/drive_c/Data'] }],
    [{ volume: ['data'] }, { volume: ['data'] }],
    [{ network: ['nat', 'mine'] }, { network: ['bridge', 'mine'] }],
    [
      { ancestor: ['x'], name: ['y'] },
      { ancestor: ['x'], name: ['y'] }
    ]
  ])('filters %j', (given, expected) => {
    const { engine } = filters(given)
    expect(Object.fromEntries(engine)).toMatchObject({
      ...expected,
      label: ['dev.oriel.machine=test', 'dev.oriel.container']
    })
  })

  test('exit codes are chosen here: the engine has 8 bits of them', () => {
    const { engine, codes } = filters({ exited: ['3221225477', '-1'] })
    expect(codes).toEqual([3221225477, -1])
    expect(engine.has('exited')).toBe(false)
    expect(() => filters({ exited: ['x'] })).toThrow("invalid filter 'exited=x'")
  })

  test('isolation is no word of the engine, its bridge none of Windows', () => {
    expect(filters({ isolation: ['Process'] })).toMatchObject({ isolation: ['process'] })
    expect(filters({ network: ['bridge'] }).none).toBe(true)
  })
})

describe('top', () => {
  test.each([
    [
      ['7', '00:00:01', '1000', 'cmd /c cd & pause'],
      ['cmd.exe', '7', '00:00:01.000', '1.024MB']
    ],
    [
      ['7', '1-02:03:04', '10', 'C:\\Program Files\\My App\\a b.exe -x'],
      ['a b.exe', '7', '26:03:04.000', '10.24kB']
    ],
    [
      ['7', '00:00:00', '0', '"C:\\x y\\App.EXE" /s'],
      ['App.EXE', '7', '00:00:00.000', '0B']
    ],
    [
      ['7', '05:09', '1', 'C:/app/services.exe'],
      ['services.exe', '7', '00:05:09.000', '1.024kB']
    ]
  ])('%j', (line, row) => {
    expect(topRow(line)).toEqual(row)
  })

  test.each([
    '/oriel/init run Q01E',
    '/oriel/launcher.exe \\\\?\\unix\\oriel',
    '/usr/lib/wine/wineserver',
    'C:\\windows\\system32\\services.exe',
    'C:\\windows\\system32\\conhost.exe --unix --width 0',
    'winedevice.exe',
    '[cmd.exe] <defunct>',
    ''
  ])('hides %j', args => {
    expect(topRow(['1', '00:00:00', '1', args])).toBeUndefined()
  })

  test.each([
    [0, '0B'],
    [999, '999B'],
    [1_000_000, '1MB'],
    [Number.NaN, '0B']
  ])('%d bytes are %s', (bytes, text) => {
    expect(humanSize(bytes)).toBe(text)
  })
})

describe('stats', () => {
  test('a reading of cgroup v1', () => {
    const shown = windowsStats({
      read: 'r',
      name: '/x',
      pids_stats: { current: 4 },
      cpu_stats: { cpu_usage: { total_usage: 1_050, usage_in_kernelmode: 100, percpu_usage: [1, 2] }, online_cpus: 2 },
      precpu_stats: { cpu_usage: { total_usage: 50 } },
      memory_stats: { usage: 1000, max_usage: 3000, stats: { total_inactive_file: 400 } },
      blkio_stats: {
        io_service_bytes_recursive: [
          { op: 'Read', value: 5 },
          { op: 'read', value: 6 },
          { op: 'Write', value: 7 }
        ],
        io_serviced_recursive: [{ op: 'Read', value: 1 }]
      },
      networks: { eth0: { rx_bytes: 1 }, eth1: {} },
      os_type: 'linux'
    })
    expect(shown).toMatchObject({
      name: '/x',
      num_procs: 2,
      cpu_stats: { cpu_usage: { total_usage: 10, usage_in_kernelmode: 1 } },
      precpu_stats: { cpu_usage: { total_usage: 0 } },
      memory_stats: { commitbytes: 1000, commitpeakbytes: 3000, privateworkingset: 600 },
      storage_stats: { read_size_bytes: 11, write_size_bytes: 7, read_count_normalized: 1 },
      networks: { Ethernet: { rx_bytes: 1 }, 'Ethernet 2': {} },
      os_type: 'windows',
      pids_stats: {}
    })
  })

  test('of a container that is not running', () => {
    expect(windowsStats({ memory_stats: {}, cpu_stats: {} })).toMatchObject({ memory_stats: {}, num_procs: 0 })
  })
})

test('changes are those below a drive, without what Oriel made', () => {
  const changes = ['/c', '/c/drive_c', '/c/system.reg', '/tmp/x', '/oriel/run/main', '/c/drive_c/src', '/c/drive_d']
  const shown = windowsChanges(
    [...changes, '/c/drive_c/a/b.txt'].map(Path => ({ Path, Kind: 1 })),
    of
  )
  expect(shown).toEqual([{ Path: 'C:\\a\\b.txt', Kind: 1 }])
})

test('Linux paths in the engine’s words', () => {
  expect(inWindowsWords('lstat /c/drive_c/a/b: no such file, see "/c/drive_d/"')).toBe(
    'lstat C:\\a\\b: no such file, see "D:\\"'
  )
  expect(inWindowsWords('nothing here')).toBe('nothing here')
})
