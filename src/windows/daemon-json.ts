import { isMapping } from './engine-checks.ts'

export { engineSettingProblems } from './engine-settings.ts'

const CERTIFICATES = 'C:\\ProgramData\\docker\\certs.d'

/**
 * The text of daemon.json for a guest: a person's `engine:` settings, which `engineSettingProblems` has found in order, and
 * what Oriel sets, which wins. The same settings give the same text, whatever their order; all of it is ASCII.
 */
export function daemonJson(
  settings: Readonly<Record<string, unknown>>,
  machine: { isolation: 'process' | 'hyperv'; hostGateway: string }
): string {
  const whole = {
    ...settings,
    // The pipe is for the guest's own scripts, which ask it whether the engine answers.
    hosts: ['tcp://0.0.0.0:2376', 'npipe://'],
    tlsverify: true,
    tlscacert: `${CERTIFICATES}\\ca.pem`,
    tlscert: `${CERTIFICATES}\\server-cert.pem`,
    tlskey: `${CERTIFICATES}\\server-key.pem`,
    'exec-opts': [`isolation=${machine.isolation}`],
    // Only a Linux engine finds it by itself. The older of two names, since Docker Engine 20.10 knows no other.
    'host-gateway-ip': machine.hostGateway
  }
  return `${ascii(JSON.stringify(sorted(whole), undefined, 2))}\n`
}

function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted)
  if (!isMapping(value)) return value
  const names = Object.keys(value).sort()
  return Object.fromEntries(names.map(name => [name, sorted(value[name])]))
}

/** Windows PowerShell takes a file without a byte order mark for one in the local code page; JSON can do without. */
function ascii(json: string): string {
  return json.replace(/[^\n\x20-\x7e]/g, unit => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`)
}
