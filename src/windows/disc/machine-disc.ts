import { createHash } from 'node:crypto'
import { Fault } from '#lib/fault.ts'
import { checkComputerName } from '#windows/computer-name.ts'
import type { DiscFile } from './disc-file.ts'
import { jsonText, scriptText } from './guest-text.ts'

// The disc's layout is that of guest/windows/CONTRACT.md.

export const MACHINE_LABEL = 'ORIEL_MACHINE'

/** All in which a machine differs from others of its golden image. */
export interface MachineDisc {
  name: string
  computerName: string
  /** Of Administrator. */
  password: string
  /** Windows' name of it: `W. Europe Standard Time`. */
  timeZone: string
  /** The address by which the guest reaches this host. */
  hostGateway: string
  ntpServers: readonly string[]
  daemonJson: string
  /** Of the engine, as PEM. */
  certificates: { ca: string; cert: string; key: string }
  /** A line of authorized_keys. */
  authorizedKey: string
  /** Of sshd, in OpenSSH's own format. */
  hostKey: string
  hostKeyPublic: string
  /** The person's own scripts in the order in which they are to run; `name` is that of the file: `tools.ps1`. */
  provision: readonly { name: string; content: string }[]
}

/**
 * What the disc holds, and its id: the SHA-256 of everything else on it, by which the guest knows whether it has applied it.
 * Fault 2 for a computer name that Windows does not take, and for a script that is none.
 */
export function machineDiscFiles(disc: MachineDisc): { id: string; files: DiscFile[] } {
  checkComputerName(disc.computerName)
  const provision = disc.provision.map(({ name, content }, index) => {
    if (!/^[^/\\]+\.ps1$/i.test(name)) {
      throw new Fault(`${name} cannot be run in the guest: it must be a PowerShell script, NAME.ps1.`, { exitCode: 2 })
    }
    const digits = Math.max(2, String(disc.provision.length).length)
    return { name: `${String(index + 1).padStart(digits, '0')}-${name}`, content: scriptText(content) }
  })
  const contents: [path: string, content: string][] = [
    ['oriel/daemon.json', disc.daemonJson],
    ['oriel/ca.pem', disc.certificates.ca],
    ['oriel/server-cert.pem', disc.certificates.cert],
    ['oriel/server-key.pem', disc.certificates.key],
    ['oriel/authorized_keys', line(disc.authorizedKey)],
    ['oriel/ssh_host_ed25519_key', line(disc.hostKey)],
    ['oriel/ssh_host_ed25519_key.pub', line(disc.hostKeyPublic)],
    ...provision.map(({ name, content }): [string, string] => [`oriel/provision/${name}`, content])
  ]
  const machine = {
    name: disc.name,
    computerName: disc.computerName,
    password: disc.password,
    timeZone: disc.timeZone,
    hostGateway: disc.hostGateway,
    ntpServers: disc.ntpServers,
    provision: provision.map(({ name }) => name)
  }
  const hash = createHash('sha256')
  for (const [path, content] of [['', JSON.stringify(machine)], ...contents] as const) {
    // With the lengths no two discs give the same bytes.
    hash.update(`${path}\0${Buffer.byteLength(content)}\0${content}`)
  }
  const id = hash.digest('hex')
  return {
    id,
    files: [
      { path: 'oriel/machine.json', content: jsonText({ version: 1, id, ...machine }) },
      ...contents.map(([path, content]) => ({ path, content }))
    ]
  }
}

/** OpenSSH refuses a key without an end of line. */
function line(text: string): string {
  return text.endsWith('\n') ? text : `${text}\n`
}
