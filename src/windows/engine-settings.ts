import { nearest } from '#lib/nearest.ts'
import {
  anyText,
  type Check,
  flag,
  hostAndPort,
  ipAddress,
  ipv4Network,
  isMapping,
  keyValue,
  listOf,
  mapOf,
  mirrorUrl,
  oneOf,
  proxyUrl,
  record,
  registryHost,
  searchDomain,
  text,
  wholeNumber,
  within
} from './engine-checks.ts'

// dockerd refuses to start on a key that is not one of its flags on this system, whatever its JSON structure has. So this
// follows the flags that a Windows build has: daemon/command/{config,config_windows,options}.go of github.com/moby/moby at
// docker-v29.7.2, and cmd/dockerd/ at v20.10.27 for Server 2016, which is the last that runs there.

interface Setting {
  check: Check
  /** The first Docker Engine that knows it, when 20.10 does not. */
  since?: number
}

const OLD_ENGINE = 20
const ENGINE = 29

/** What a Windows build has (daemon/logdrivers_windows.go, and local by way of the log cache), and none. */
const LOG_DRIVERS = [
  'json-file',
  'local',
  'awslogs',
  'etwlogs',
  'fluentd',
  'gcplogs',
  'gelf',
  'splunk',
  'syslog',
  'none'
]

const FILE_OPTIONS = ['max-size', 'max-file', 'compress']
/** What these two take (daemon/logger/{jsonfilelog,local}); the other drivers have options of many kinds. */
const LOG_OPTIONS: Readonly<Record<string, readonly string[]>> = {
  'json-file': [...FILE_OPTIONS, 'env', 'env-regex', 'labels', 'labels-regex', 'tag'],
  local: FILE_OPTIONS
}
const COMMON_LOG_OPTIONS = [
  'mode',
  'max-buffer-size',
  'cache-disabled',
  'cache-max-size',
  'cache-max-file',
  'cache-compress'
]

function settingsOf(engine: number): Readonly<Record<string, Setting>> {
  return {
    bridge: {
      check: text('none (no default network); a network has no other bridge on Windows', value => value === 'none')
    },
    builder: { check: mapOf(() => undefined) },
    debug: { check: flag },
    'default-network-opts': { check: mapOf(mapOf(anyText)), since: 25 },
    'default-stop-timeout': { check: wholeNumber(0), since: 29 },
    dns: { check: listOf(ipAddress) },
    'dns-opts': { check: listOf(anyText) },
    'dns-search': { check: listOf(searchDomain) },
    experimental: { check: flag },
    features: { check: mapOf(flag) },
    'fixed-cidr': { check: ipv4Network },
    'insecure-registries': { check: listOf(registryHost) },
    labels: { check: labels },
    'log-driver': { check: oneOf(...LOG_DRIVERS, ...(engine === OLD_ENGINE ? ['logentries'] : [])) },
    'log-format': { check: oneOf('text', 'json'), since: 25 },
    'log-level': { check: oneOf('debug', 'info', 'warn', 'error', 'fatal') },
    'log-opts': { check: mapOf(text('text (put it into quotes)', () => true)) },
    'max-concurrent-downloads': { check: wholeNumber(1) },
    'max-concurrent-uploads': { check: wholeNumber(1) },
    'max-download-attempts': { check: wholeNumber(1) },
    'metrics-addr': { check: hostAndPort },
    'min-api-version': { check: text('an API version of 1.24 or later, such as 1.40', apiVersion), since: 29 },
    'network-control-plane-mtu': { check: wholeNumber(500, 65_535) },
    'network-diagnostic-port': { check: wholeNumber(0, 65_535) },
    'node-generic-resources': { check: listOf(keyValue) },
    proxies: { check: record({ 'http-proxy': proxyUrl, 'https-proxy': proxyUrl, 'no-proxy': anyText }), since: 23 },
    'raw-logs': { check: flag },
    'registry-mirrors': { check: listOf(mirrorUrl(engine !== OLD_ENGINE)) },
    'shutdown-timeout': { check: wholeNumber(-1) },
    'storage-opts': { check: listOf(text('size=…, such as size=50GB, which is all that Windows has', containerSize)) },
    'swarm-default-advertise-addr': { check: anyText }
  }
}

const CERTIFICATES = 'is set by Oriel, which makes and renews the certificates'
const NO_CONTAINERD = 'needs a containerd beside the engine, which the guest does not have'
const ONE_PLACE =
  'is set by Oriel: the guest has one disk, and its access rights and virus scanner are set up for C:\\ProgramData\\docker'
const PROXY = 'has its place under proxies; here the engine would ignore it'

/** Keys that a Windows engine knows, and that are not for a person to set here. */
const OWN: Readonly<Record<string, string>> = {
  hosts: 'is set by Oriel, which has to reach the engine',
  tls: CERTIFICATES,
  tlsverify: CERTIFICATES,
  tlscacert: CERTIFICATES,
  tlscert: CERTIFICATES,
  tlskey: CERTIFICATES,
  'exec-opts': "is set by Oriel from the machine's isolation, the only option that Windows has: oriel up --isolation",
  'host-gateway-ip': 'is set by Oriel, so that host.docker.internal is this computer',
  'host-gateway-ips': 'is set by Oriel, so that host.docker.internal is this computer',
  group: 'names groups that must exist in the guest, or the engine does not start; Oriel uses none',
  'data-root': ONE_PLACE,
  'exec-root': ONE_PLACE,
  pidfile: ONE_PLACE,
  containerd: NO_CONTAINERD,
  'containerd-namespace': NO_CONTAINERD,
  'containerd-plugins-namespace': NO_CONTAINERD,
  'cri-containerd': NO_CONTAINERD,
  'default-runtime': NO_CONTAINERD,
  'authorization-plugins': 'needs a plugin in the guest, without which the engine does not start',
  'allow-nondistributable-artifacts': 'does nothing any more, since images have no such layers',
  'http-proxy': PROXY,
  'https-proxy': PROXY,
  'no-proxy': PROXY
}

/** Keys of a Linux engine, and those that a Windows one takes and ignores. */
const NOT_FOR_WINDOWS: ReadonlySet<string> = new Set([
  'allow-direct-routing',
  'bip',
  'bip6',
  'bridge-accept-fwmark',
  'cdi-spec-dirs',
  'cgroup-parent',
  'cpu-rt-period',
  'cpu-rt-runtime',
  'default-address-pools',
  'default-cgroupns-mode',
  'default-gateway',
  'default-gateway-v6',
  'default-init',
  'default-ipc-mode',
  'default-shm-size',
  'default-ulimits',
  'firewall-backend',
  'fixed-cidr-v6',
  'icc',
  'init',
  'init-path',
  'ip',
  'ip-forward',
  'ip-forward-no-drop',
  'ip-masq',
  'ip6tables',
  'iptables',
  'ipv6',
  'live-restore',
  'mtu',
  'no-new-privileges',
  'nri-opts',
  'oom-score-adjust',
  'resolv-conf',
  'rootless',
  'runtimes',
  'seccomp-profile',
  'selinux-enabled',
  'storage-driver',
  'userland-proxy',
  'userland-proxy-path',
  'userns-remap'
])

/**
 * What would keep the engine of a guest from starting, or have no effect there, in a person's `engine:` settings: a
 * sentence each, beginning with `engine.KEY`. Empty when all is well. `release` is a Windows Server's year.
 */
export function engineSettingProblems(settings: Readonly<Record<string, unknown>>, release: string): string[] {
  const engine = release === '2016' ? OLD_ENGINE : ENGINE
  const known = settingsOf(engine)
  const problems = Object.entries(settings).map(([key, value]) => {
    const problem = settingProblem(key, value, known, engine)
    if (problem === undefined) return undefined
    return `engine.${key}${problem.startsWith(':') ? '' : ' '}${problem}.`
  })
  return [...problems, logOptionProblem(settings)].filter(problem => problem !== undefined)
}

function settingProblem(
  key: string,
  value: unknown,
  known: Readonly<Record<string, Setting>>,
  engine: number
): string | undefined {
  const own = Object.hasOwn(OWN, key) ? OWN[key] : undefined
  if (own !== undefined) return own
  if (NOT_FOR_WINDOWS.has(key)) return 'is not for Windows'
  const setting = Object.hasOwn(known, key) ? known[key] : undefined
  if (setting === undefined) {
    const near = nearest(key, [...Object.keys(known), ...Object.keys(OWN), ...NOT_FOR_WINDOWS])
    return `is no setting of the Docker Engine${near === undefined ? '' : ` (did you mean ${near}?)`}`
  }
  if (setting.since !== undefined && setting.since > engine) {
    return 'is not known to Docker Engine 20.10, the last one for Windows Server 2016'
  }
  return setting.check(value)
}

/** A driver refuses an option that it does not know, and with it the engine its start. */
function logOptionProblem(settings: Readonly<Record<string, unknown>>): string | undefined {
  const driver = settings['log-driver'] ?? 'json-file'
  const own = typeof driver === 'string' && Object.hasOwn(LOG_OPTIONS, driver) ? LOG_OPTIONS[driver] : undefined
  const options = settings['log-opts']
  if (own === undefined || !isMapping(options)) return undefined
  const strange = Object.keys(options).find(option => !own.includes(option) && !COMMON_LOG_OPTIONS.includes(option))
  if (strange === undefined) return undefined
  return `engine.log-opts: ${strange} is no option of the log driver ${driver}, which has ${own.join(', ')}.`
}

/** The engine refuses two values for one name, and the prefixes that are Docker's own. */
function labels(value: unknown): string | undefined {
  const problem = listOf(keyValue)(value)
  if (problem !== undefined || !Array.isArray(value)) return problem
  const seen = new Map<string, string>()
  for (const label of value.map(String)) {
    const name = label.slice(0, label.indexOf('='))
    if (/^(com\.docker|io\.docker|org\.dockerproject)\./i.test(name))
      return within(name, 'has a prefix that is kept for Docker')
    if ((seen.get(name) ?? label) !== label) return within(name, 'has two values')
    seen.set(name, label)
  }
  return undefined
}

/** As github.com/docker/go-units reads sizes. */
function containerSize(value: string): boolean {
  return /^size=\d+(\.\d+)? ?([kmgtp]i?b?|b)?$/i.test(value)
}

function apiVersion(value: string): boolean {
  const [, minor] = /^1\.(\d{1,3})$/.exec(value) ?? []
  return minor !== undefined && Number(minor) >= 24
}
