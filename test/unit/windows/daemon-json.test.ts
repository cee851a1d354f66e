import { describe, expect, test } from 'vitest'
import { daemonJson, engineSettingProblems } from '#windows/daemon-json.ts'

const machine = { isolation: 'process', hostGateway: '10.0.2.2' } as const

/** Everything that a person may set, each with a value that the engine takes. */
const ALL = {
  bridge: 'none',
  builder: { gc: { enabled: true } },
  debug: true,
  'default-network-opts': { nat: { 'com.docker.network.windowsshim.interface': 'Ethernet' } },
  'default-stop-timeout': 60,
  dns: ['192.168.1.1', '2001:db8::1'],
  'dns-opts': ['timeout:3'],
  'dns-search': ['example.com', 'corp.', '.'],
  experimental: false,
  features: { 'containerd-snapshotter': false },
  'fixed-cidr': '172.30.0.0/16',
  'insecure-registries': ['registry.example:5000', '10.0.0.0/8', '[::1]:5000', '192.168.1.5'],
  labels: ['site=home', 'rack=2'],
  'log-driver': 'json-file',
  'log-format': 'json',
  'log-level': 'warn',
  'log-opts': { 'max-size': '10m', 'max-file': '3', 'cache-disabled': 'true' },
  'max-concurrent-downloads': 3,
  'max-concurrent-uploads': 5,
  'max-download-attempts': 5,
  'metrics-addr': '127.0.0.1:9323',
  'min-api-version': '1.40',
  'network-control-plane-mtu': 1400,
  'network-diagnostic-port': 0,
  'node-generic-resources': ['gpu=one'],
  proxies: { 'http-proxy': 'http://user:word@proxy.example:3128', 'no-proxy': 'localhost,.example.com' },
  'raw-logs': true,
  'registry-mirrors': ['https://mirror.example/docker'],
  'shutdown-timeout': 30,
  'storage-opts': ['size=50GB'],
  'swarm-default-advertise-addr': 'Ethernet'
}

describe('settings', () => {
  test('all that Windows has is taken, and so is nothing', () => {
    expect(engineSettingProblems(ALL, '2025')).toEqual([])
    expect(engineSettingProblems({}, '2016')).toEqual([])
  })

  test('the engine of Server 2016 is older', () => {
    const problems = engineSettingProblems(ALL, '2016')
    expect(problems.map(problem => problem.split(/[ :]/)[0]).sort()).toEqual([
      'engine.default-network-opts',
      'engine.default-stop-timeout',
      'engine.log-format',
      'engine.min-api-version',
      'engine.proxies',
      // Paths came with Docker Engine 25.
      'engine.registry-mirrors'
    ])
    expect(problems).toContain(
      'engine.proxies is not known to Docker Engine 20.10, the last one for Windows Server 2016.'
    )
    expect(engineSettingProblems({ 'log-driver': 'logentries' }, '2016')).toEqual([])
    expect(engineSettingProblems({ 'log-driver': 'logentries' }, '2022')).toHaveLength(1)
  })

  // Each: what is written, and what the sentence must say.
  test.each<[Record<string, unknown>, RegExp]>([
    [{ debug: 'yes' }, /^engine\.debug must be true or false, not "yes"\.$/],
    [{ debug: null }, /not null\.$/],
    [{ dns: '8.8.8.8' }, /^engine\.dns must be a list, not "8\.8\.8\.8"\.$/],
    [{ dns: ['1.1.1.1', '8.8.8'] }, /^engine\.dns: entry 2 must be an IP address, not "8\.8\.8"\.$/],
    [{ dns: [8] }, /entry 1 must be an IP address, not 8/],
    [{ 'dns-search': ['-x-'] }, /must be a domain/],
    [{ 'dns-search': [`${'a'.repeat(60)}!`] }, /must be a domain/],
    [{ 'dns-search': ['10.0.0.1'] }, /must be a domain/],
    [{ 'registry-mirrors': ['mirror.example:5000'] }, /http:\/\/ or https:\/\//],
    [{ 'registry-mirrors': ['https://me:secret@mirror.example'] }, /^(?!.*secret).*without user/],
    [{ 'registry-mirrors': ['https://mirror.example/?a=b'] }, /query/],
    [{ 'insecure-registries': ['http://registry.example'] }, /without http:\/\//],
    [{ 'insecure-registries': ['registry.example:99999'] }, /host:port/],
    [{ 'insecure-registries': ['10.0.0.0/33'] }, /a network such as/],
    [{ proxies: { 'http-proxy': 'proxy:3128' } }, /^engine\.proxies: http-proxy must be an address such as/],
    [{ proxies: { 'http-proxy': 'ftp://me:secret@proxy' } }, /^(?!.*secret).*http-proxy/],
    [{ proxies: { http: 'http://proxy:3128' } }, /proxies: http is none of http-proxy, https-proxy, no-proxy/],
    [{ proxies: ['http://proxy:3128'] }, /must be a mapping with http-proxy/],
    [{ 'http-proxy': 'http://proxy:3128' }, /has its place under proxies/],
    [{ 'log-driver': 'journald' }, /must be one of json-file, local/],
    [{ 'log-level': 'verbose' }, /must be one of debug, info/],
    [{ 'log-opts': { 'max-file': 3 } }, /log-opts: max-file must be text \(put it into quotes\), not 3/],
    [{ 'log-opts': { maxsize: '1m' } }, /maxsize is no option of the log driver json-file, which has max-size/],
    [{ 'log-driver': 'local', 'log-opts': { tag: 'x' } }, /tag is no option of the log driver local/],
    [{ labels: ['nothing'] }, /labels: entry 1 must be text such as name=value/],
    [{ labels: ['a=1', 'a=2'] }, /labels: a has two values/],
    [{ labels: ['com.docker.x=1'] }, /kept for Docker/],
    [{ 'fixed-cidr': '172.30.0.0' }, /an IPv4 network/],
    [{ 'fixed-cidr': 'fd00::/64' }, /an IPv4 network/],
    [{ 'fixed-cidr': '172.30.0.0/33' }, /an IPv4 network/],
    [{ bridge: 'docker0' }, /^engine\.bridge must be none/],
    [{ 'storage-opts': ['overlay2.size=10G'] }, /size=50GB, which is all that Windows has/],
    [{ 'storage-opts': ['size=big'] }, /size=50GB/],
    [{ 'max-concurrent-downloads': 0 }, /whole number of 1 or more, not 0/],
    [{ 'max-concurrent-downloads': '3' }, /whole number of 1 or more, not "3"/],
    [{ 'max-concurrent-downloads': 1.5 }, /whole number/],
    [{ 'network-diagnostic-port': 70_000 }, /from 0 to 65535/],
    [{ 'shutdown-timeout': -2 }, /-1 or more/],
    [{ features: { buildkit: 'true' } }, /features: buildkit must be true or false/],
    [{ 'default-network-opts': { nat: { a: 1 } } }, /default-network-opts: nat: a must be text, not 1/],
    [{ 'min-api-version': '1.12' }, /1\.24 or later/],
    [{ 'min-api-version': 1.4 }, /1\.24 or later/],
    [{ builder: 'buildkit' }, /must be a mapping/],
    [{ 'metrics-addr': '9323' }, /an address with a port/]
  ])('%j', (settings, sentence) => {
    const problems = engineSettingProblems(settings, '2025')
    expect(problems).toHaveLength(1)
    expect(problems[0]).toMatch(sentence)
  })

  test.each([
    'hosts',
    'tls',
    'tlsverify',
    'tlscacert',
    'tlscert',
    'tlskey',
    'exec-opts',
    'group',
    'data-root',
    'exec-root',
    'pidfile',
    'host-gateway-ip',
    'containerd'
  ])("%s is Oriel's own, with a reason", key => {
    const [problem, ...more] = engineSettingProblems({ [key]: 'x' }, '2025')
    expect(more).toEqual([])
    expect(problem).toMatch(new RegExp(`^engine\\.${key} (is set by Oriel|names groups|needs a containerd).{20,}\\.$`))
  })

  test.each([
    'mtu',
    'live-restore',
    'cgroup-parent',
    'userns-remap',
    'iptables',
    'default-ulimits',
    'storage-driver',
    'default-address-pools'
  ])('%s is not for Windows', key => {
    expect(engineSettingProblems({ [key]: 1 }, '2025')).toEqual([`engine.${key} is not for Windows.`])
  })

  test('an unknown key is refused with the nearest known one', () => {
    expect(engineSettingProblems({ 'registry-mirror': [] }, '2025')).toEqual([
      'engine.registry-mirror is no setting of the Docker Engine (did you mean registry-mirrors?).'
    ])
    expect(engineSettingProblems({ colour: 'blue' }, '2025')).toEqual([
      'engine.colour is no setting of the Docker Engine.'
    ])
    expect(engineSettingProblems({ toString: 1, constructor: 1, __proto__x: 1 }, '2025')).toHaveLength(3)
  })

  test('every problem is told at once', () => {
    expect(engineSettingProblems({ debug: 1, dns: 2, mtu: 3, hosts: [] }, '2022')).toHaveLength(4)
  })
})

describe('daemon.json', () => {
  test('without settings it is this text', () => {
    expect(daemonJson({}, machine)).toBe(`{
  "exec-opts": [
    "isolation=process"
  ],
  "host-gateway-ip": "10.0.2.2",
  "hosts": [
    "tcp://0.0.0.0:2376",
    "npipe://"
  ],
  "tlscacert": "C:\\\\ProgramData\\\\docker\\\\certs.d\\\\ca.pem",
  "tlscert": "C:\\\\ProgramData\\\\docker\\\\certs.d\\\\server-cert.pem",
  "tlskey": "C:\\\\ProgramData\\\\docker\\\\certs.d\\\\server-key.pem",
  "tlsverify": true
}
`)
  })

  test('settings are in it, and the order in which they were written is not', () => {
    const turned = Object.fromEntries(Object.entries(ALL).reverse())
    const text = daemonJson({ ...turned, proxies: Object.fromEntries(Object.entries(ALL.proxies).reverse()) }, machine)
    expect(text).toBe(daemonJson(ALL, machine))
    expect(JSON.parse(text)).toMatchObject(ALL)
    expect(Object.keys(JSON.parse(text))).toEqual(Object.keys(JSON.parse(text)).sort())
    expect(JSON.parse(daemonJson(ALL, { ...machine, isolation: 'hyperv' }))['exec-opts']).toEqual(['isolation=hyperv'])
  })

  test("what is Oriel's own cannot be overridden", () => {
    const text = daemonJson({ hosts: ['tcp://0.0.0.0:2375'], tlsverify: false, 'host-gateway-ip': '1.2.3.4' }, machine)
    expect(text).toBe(daemonJson({}, machine))
  })

  test('is ASCII, and says the same', () => {
    const proxies = { 'http-proxy': 'http://müller:pässwörd😀@proxy.example:3128' }
    const text = daemonJson({ proxies }, machine)
    expect(text).toMatch(/^[\n\x20-\x7e]*$/)
    expect(JSON.parse(text).proxies).toEqual(proxies)
  })
})
