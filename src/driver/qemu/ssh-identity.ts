import { chmod, mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { makeFolder, writeFileAtomic } from '#lib/atomic-file.ts'
import { lastLines, type RunResult, run } from '#lib/child-process.ts'
import { Fault } from '#lib/fault.ts'
import { withLock } from '#lib/lock.ts'

export interface SshIdentity {
  /** Path of the client's private key. */
  clientKey: string
  /** The client's public key, a line of authorized_keys. */
  authorizedKey: string
  /** The guest's private host key, as text in OpenSSH's format. */
  hostKey: string
  /** Its public half, one line. */
  hostKeyPublic: string
}

const CLIENT_KEY = 'id_ed25519'
// The name that sshd in the guest looks for.
const HOST_KEY = 'ssh_host_ed25519_key'
const KNOWN_HOSTS = 'known_hosts'
const ACCOUNT = 'Administrator'
const TEMPORARY = 'new-'

/**
 * Makes a key for us and a host key for the guest in `folder` (0700, keys 0600), both ed25519 without a passphrase. A key
 * that is there stays; one that is damaged is made anew, a public half is written from its private one. Since the guest's
 * host key is made here, its first connection is as safe as the later ones. Fault 4 when ssh-keygen is missing.
 */
export async function ensureSshIdentity(folder: string, machine: string): Promise<SshIdentity> {
  await makeFolder(folder)
  return withLock(join(folder, 'lock'), { doing: 'making ssh keys', limitMs: 60_000 }, async () => {
    await chmod(folder, 0o700)
    await removeRemains(folder)
    const client = await ensureKey(folder, CLIENT_KEY, `oriel ${machine}`)
    const host = await ensureKey(folder, HOST_KEY, `oriel ${machine} guest`)
    return {
      clientKey: join(folder, CLIENT_KEY),
      authorizedKey: client.publicKey,
      hostKey: host.privateKey,
      hostKeyPublic: host.publicKey
    }
  })
}

/** Writes the known_hosts file for the guest's ssh on a loopback port, and gives its path. `ensureSshIdentity` has run. */
export async function knownHosts(folder: string, port: number): Promise<string> {
  const file = join(folder, KNOWN_HOSTS)
  const key = await textOf(join(folder, `${HOST_KEY}.pub`))
  if (key === undefined) throw new Fault(`there is no host key in ${folder}.`, { hint: 'Make it with: oriel up' })
  const line = `[127.0.0.1]:${port} ${key.split(' ').slice(0, 2).join(' ').trim()}\n`
  if ((await textOf(file)) !== line) await writeFileAtomic(file, line)
  return file
}

/**
 * What stands between `ssh` and the command, for a folder of `ensureSshIdentity` and `knownHosts`. Nothing of the person's
 * own set-up counts: not their configuration, agent, keys or known hosts; and nothing is ever asked.
 */
export function sshArguments({ folder, port }: { folder: string; port: number }): string[] {
  const options = {
    BatchMode: 'yes',
    IdentityFile: fileOption(join(folder, CLIENT_KEY)),
    IdentitiesOnly: 'yes',
    IdentityAgent: 'none',
    PreferredAuthentications: 'publickey',
    StrictHostKeyChecking: 'yes',
    UserKnownHostsFile: fileOption(join(folder, KNOWN_HOSTS)),
    GlobalKnownHostsFile: '/dev/null',
    UpdateHostKeys: 'no',
    // The guest may have made other host keys for itself.
    HostKeyAlgorithms: 'ssh-ed25519',
    ControlMaster: 'no',
    ControlPath: 'none',
    ClearAllForwardings: 'yes',
    ForwardAgent: 'no',
    ForwardX11: 'no',
    ConnectTimeout: '10',
    // A suspended guest answers no more, and ssh would wait for it for ever.
    ServerAliveInterval: '15',
    ServerAliveCountMax: '4',
    LogLevel: 'ERROR'
  }
  return [
    '-F',
    '/dev/null',
    '-p',
    String(port),
    ...Object.entries(options).flatMap(([name, value]) => ['-o', `${name}=${value}`]),
    `${ACCOUNT}@127.0.0.1`
  ]
}

/** ssh splits such a value at spaces and expands `%`: https://man.openbsd.org/ssh_config (TOKENS and the head of the page). */
function fileOption(path: string): string {
  return `"${path.replaceAll('%', '%%').replace(/["\\]/g, '\\$&')}"`
}

async function ensureKey(
  folder: string,
  name: string,
  comment: string
): Promise<{ privateKey: string; publicKey: string }> {
  const file = join(folder, name)
  const present = await textOf(file)
  if (present !== undefined) {
    // ssh-keygen and ssh refuse a key that others can read.
    await chmod(file, 0o600)
    const derived = await sshKeygen(['-y', '-P', '', '-f', file])
    const [type, key] = derived.stdout.trim().split(' ')
    if (derived.exitCode === 0 && type === 'ssh-ed25519' && key !== undefined) {
      const publicKey = `${type} ${key} ${comment}\n`
      if ((await textOf(`${file}.pub`)) !== publicKey) await writeFileAtomic(`${file}.pub`, publicKey, 0o644)
      return { privateKey: present, publicKey }
    }
  }
  const made = await makeKey(folder, comment)
  await writeFileAtomic(file, made.privateKey)
  await writeFileAtomic(`${file}.pub`, made.publicKey, 0o644)
  return made
}

/** ssh-keygen asks before it writes over a file, so it works in a folder of its own. */
async function makeKey(folder: string, comment: string): Promise<{ privateKey: string; publicKey: string }> {
  const temporary = await mkdtemp(join(folder, TEMPORARY))
  try {
    const file = join(temporary, 'key')
    const { exitCode, stderr } = await sshKeygen(['-q', '-t', 'ed25519', '-N', '', '-C', comment, '-f', file])
    if (exitCode !== 0) throw new Fault(`ssh-keygen could not make a key: ${lastLines(stderr, 3)}`)
    return { privateKey: await readFile(file, 'utf8'), publicKey: await readFile(`${file}.pub`, 'utf8') }
  } finally {
    await rm(temporary, { recursive: true, force: true })
  }
}

async function sshKeygen(args: string[]): Promise<RunResult> {
  try {
    return await run(['ssh-keygen', ...args], { timeoutMs: 60_000 })
  } catch (error) {
    if (!(error instanceof Fault) || error.exitCode !== 4) throw error
    throw new Fault('ssh-keygen is missing, which makes the keys for the guest.', {
      exitCode: 4,
      hint: 'It is part of OpenSSH. On Debian or Ubuntu: sudo apt-get install openssh-client'
    })
  }
}

/** What a killed process left. */
async function removeRemains(folder: string): Promise<void> {
  for (const name of await readdir(folder)) {
    if (name.startsWith(TEMPORARY) || /^\..*\.tmp$/.test(name)) {
      await rm(join(folder, name), { recursive: true, force: true })
    }
  }
}

async function textOf(file: string): Promise<string | undefined> {
  try {
    return await readFile(file, 'utf8')
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined
    throw error
  }
}
