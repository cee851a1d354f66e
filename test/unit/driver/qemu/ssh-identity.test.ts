import { type ChildProcess, spawn } from 'node:child_process'
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync
} from 'node:fs'
import { type AddressInfo, createConnection, createServer } from 'node:net'
import { tmpdir, userInfo } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest'
import { ensureSshIdentity, knownHosts, sshArguments } from '#driver/qemu/ssh-identity.ts'
import { run, runOk } from '../../../support/command.ts'

const machine = 'win'
let root: string
// A space and a percent sign, both of which ssh's own options give a meaning.
const place = () => join(root, 'my machines 100%d', 'ssh')

describe('keys', () => {
  let folder: string
  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), 'oriel-ssh-'))
    folder = place()
  })
  afterEach(() => {
    vi.unstubAllEnvs()
    rmSync(root, { recursive: true, force: true })
  })
  const read = (name: string) => readFileSync(join(folder, name), 'utf8')
  const mode = (name: string) => statSync(join(folder, name)).mode & 0o777

  test('a client key and a host key, without a passphrase and closed to others', async () => {
    const identity = await ensureSshIdentity(folder, machine)
    expect(identity.clientKey).toBe(join(folder, 'id_ed25519'))
    expect(identity.authorizedKey).toMatch(/^ssh-ed25519 [A-Za-z0-9+/=]+ oriel win\n$/)
    expect(identity.hostKey).toMatch(/^-----BEGIN OPENSSH PRIVATE KEY-----\n/)
    expect(identity.hostKey).toBe(read('ssh_host_ed25519_key'))
    expect(identity.hostKeyPublic).toBe(read('ssh_host_ed25519_key.pub'))
    expect([mode('id_ed25519'), mode('ssh_host_ed25519_key'), statSync(folder).mode & 0o777]).toEqual([
      0o600, 0o600, 0o700
    ])
    for (const [key, line] of [
      ['id_ed25519', identity.authorizedKey],
      ['ssh_host_ed25519_key', identity.hostKeyPublic]
    ] as const) {
      const derived = await runOk('ssh-keygen', ['-y', '-P', '', '-f', join(folder, key)])
      expect(line.startsWith(derived.split(' ').slice(0, 2).join(' '))).toBe(true)
    }
    expect(await ensureSshIdentity(folder, machine)).toEqual(identity)
    expect(readdirSync(folder).sort()).toEqual(
      ['id_ed25519', 'id_ed25519.pub', 'ssh_host_ed25519_key', 'ssh_host_ed25519_key.pub'].sort()
    )
  })

  test('what others could read is closed, and the key stays', async () => {
    const before = await ensureSshIdentity(folder, machine)
    chmodSync(join(folder, 'id_ed25519'), 0o644)
    chmodSync(folder, 0o755)
    expect(await ensureSshIdentity(folder, machine)).toEqual(before)
    expect([mode('id_ed25519'), statSync(folder).mode & 0o777]).toEqual([0o600, 0o700])
  })

  test.each(['id_ed25519', 'ssh_host_ed25519_key'])(
    'a public half of %s that is lost or wrong comes back',
    async key => {
      const before = await ensureSshIdentity(folder, machine)
      rmSync(join(folder, `${key}.pub`))
      expect(await ensureSshIdentity(folder, machine)).toEqual(before)
      writeFileSync(
        join(folder, `${key}.pub`),
        read(key === 'id_ed25519' ? 'ssh_host_ed25519_key.pub' : 'id_ed25519.pub')
      )
      expect(await ensureSshIdentity(folder, machine)).toEqual(before)
      truncateSync(join(folder, `${key}.pub`), 10)
      expect(await ensureSshIdentity(folder, machine)).toEqual(before)
    }
  )

  test('a key that is damaged, of another kind or with a passphrase is made anew, and the other one stays', async () => {
    const damage = [
      (file: string) => truncateSync(file, 0),
      (file: string) => truncateSync(file, 200),
      (file: string) => writeFileSync(file, 'nothing'),
      async (file: string) => {
        rmSync(file)
        await runOk('ssh-keygen', ['-q', '-t', 'ecdsa', '-N', '', '-f', file], { input: 'y\n' })
      },
      (file: string) => runOk('ssh-keygen', ['-q', '-p', '-P', '', '-N', 'secret', '-f', file])
    ]
    for (const harm of damage) {
      const before = await ensureSshIdentity(folder, machine)
      await harm(join(folder, 'id_ed25519'))
      const after = await ensureSshIdentity(folder, machine)
      expect(after.authorizedKey).toMatch(/^ssh-ed25519 /)
      expect(after.authorizedKey).not.toBe(before.authorizedKey)
      expect(after.hostKey).toBe(before.hostKey)
      const derived = await runOk('ssh-keygen', ['-y', '-P', '', '-f', after.clientKey])
      expect(after.authorizedKey).toContain(derived.trim().split(' ')[1])
    }
  })

  test('calls at the same time agree, and remains of a killed one go', async () => {
    mkdirSync(join(folder, 'new-abc'), { recursive: true })
    writeFileSync(join(folder, 'new-abc', 'key'), 'half')
    writeFileSync(join(folder, '.id_ed25519.1.ab.tmp'), 'half')
    const all = await Promise.all([1, 2, 3, 4].map(() => ensureSshIdentity(folder, machine)))
    for (const one of all) expect(one).toEqual(all[0])
    expect(readdirSync(folder).filter(name => name.startsWith('new-') || name.startsWith('.'))).toEqual([])
  })

  test('without ssh-keygen it says what to install', async () => {
    vi.stubEnv('PATH', root)
    await expect(ensureSshIdentity(folder, machine)).rejects.toMatchObject({
      name: 'Fault',
      exitCode: 4,
      message: expect.stringContaining('ssh-keygen'),
      hint: expect.stringContaining('openssh-client')
    })
  })

  test('known_hosts names the port, and follows it', async () => {
    await expect(knownHosts(folder, 2222)).rejects.toMatchObject({ name: 'Fault' })
    const { hostKeyPublic } = await ensureSshIdentity(folder, machine)
    const file = await knownHosts(folder, 2222)
    const key = hostKeyPublic.split(' ')[1]
    expect(readFileSync(file, 'utf8')).toBe(`[127.0.0.1]:2222 ssh-ed25519 ${key}\n`)
    expect(await knownHosts(folder, 2223)).toBe(file)
    expect(readFileSync(file, 'utf8')).toBe(`[127.0.0.1]:2223 ssh-ed25519 ${key}\n`)
    expect(mode('known_hosts')).toBe(0o600)
  })
})

describe('against a real sshd', () => {
  let folder: string
  let sshd: ChildProcess
  let port: number
  let said = ''

  beforeAll(async () => {
    root = mkdtempSync(join(tmpdir(), 'oriel-sshd-'))
    folder = place()
    const identity = await ensureSshIdentity(folder, machine)
    // As the guest gets them from the machine disc.
    const guest = join(root, 'guest')
    mkdirSync(guest)
    writeFileSync(join(guest, 'host_key'), identity.hostKey, { mode: 0o600 })
    writeFileSync(join(guest, 'authorized_keys'), identity.authorizedKey)
    writeFileSync(
      join(guest, 'sshd_config'),
      [
        'ListenAddress 127.0.0.1',
        `HostKey ${join(guest, 'host_key')}`,
        `AuthorizedKeysFile ${join(guest, 'authorized_keys')}`,
        `PidFile ${join(guest, 'pid')}`,
        'PasswordAuthentication no',
        'KbdInteractiveAuthentication no',
        'PermitRootLogin prohibit-password',
        'StrictModes no',
        ''
      ].join('\n')
    )
    // Where the package puts sshd's empty folder; the service makes it, and does not run here.
    if (process.getuid?.() === 0 && process.platform === 'linux')
      mkdirSync('/run/sshd', { recursive: true, mode: 0o755 })
    port = await freePort()
    sshd = spawn('/usr/sbin/sshd', ['-D', '-e', '-f', join(guest, 'sshd_config'), '-p', String(port)], {
      stdio: ['ignore', 'ignore', 'pipe']
    })
    sshd.stderr?.on('data', text => {
      said += text
    })
    await vi.waitFor(() => listening(port), { timeout: 20_000, interval: 50 })
    await knownHosts(folder, port)
  }, 30_000)
  afterAll(() => {
    sshd?.kill()
    rmSync(root, { recursive: true, force: true })
  })

  // There is no Administrator here. What is said first counts for ssh.
  const ssh = (args: string[]) => run('ssh', ['-l', userInfo().username, ...args], { timeoutMs: 30_000 })

  test('logs in, and passes the command, its output and its exit code', async () => {
    const result = await ssh([...sshArguments({ folder, port }), 'echo hello; exit 7'])
    expect(result, said).toEqual({ code: 7, stdout: 'hello\n', stderr: '' })
  })

  test('ssh reads the arguments as they are meant', async () => {
    const { stdout } = await ssh(['-G', ...sshArguments({ folder, port })])
    for (const line of [
      'hostname 127.0.0.1',
      `port ${port}`,
      'batchmode yes',
      'stricthostkeychecking true',
      `userknownhostsfile ${join(folder, 'known_hosts')}`,
      'globalknownhostsfile /dev/null',
      'updatehostkeys false',
      'identitiesonly yes',
      'identityagent none',
      'forwardagent no',
      'forwardx11 no',
      'clearallforwardings yes',
      'controlmaster false',
      'hostkeyalgorithms ssh-ed25519',
      'preferredauthentications publickey',
      'connecttimeout 10'
    ]) {
      expect(stdout.replaceAll('"', '').split('\n')).toContain(line)
    }
    const { stdout: account } = await run('ssh', ['-G', ...sshArguments({ folder, port })])
    expect(account).toContain('user Administrator\n')
  })

  test('another host key is refused without a question', async () => {
    const other = join(root, 'other host', 'ssh')
    await ensureSshIdentity(other, machine)
    await knownHosts(other, port)
    // Our own client key, the host key of another machine.
    for (const name of ['id_ed25519', 'id_ed25519.pub'])
      writeFileSync(join(other, name), readFileSync(join(folder, name)))
    const result = await ssh([...sshArguments({ folder: other, port }), 'true'])
    expect(result.code).toBe(255)
    expect(result.stderr).toMatch(/host key/i)
  })

  test('a host that is not known is refused without a question', async () => {
    const other = join(root, 'unknown', 'ssh')
    await ensureSshIdentity(other, machine)
    const result = await ssh([...sshArguments({ folder: other, port }), 'true'])
    expect(result.code).toBe(255)
    expect(result.stderr).toMatch(/host key/i)
  })

  test('another client key is refused without a question', async () => {
    const other = join(root, 'other client', 'ssh')
    await ensureSshIdentity(other, machine)
    writeFileSync(join(other, 'ssh_host_ed25519_key.pub'), readFileSync(join(folder, 'ssh_host_ed25519_key.pub')))
    await knownHosts(other, port)
    const result = await ssh([...sshArguments({ folder: other, port }), 'true'])
    expect(result.code).toBe(255)
    expect(result.stderr).toMatch(/Permission denied/)
  })

  test('the account is Administrator, and the address is loopback', () => {
    const args = sshArguments({ folder, port })
    expect(args.at(-1)).toBe('Administrator@127.0.0.1')
    expect(args.slice(0, 4)).toEqual(['-F', '/dev/null', '-p', String(port)])
  })
})

function freePort(): Promise<number> {
  return new Promise(resolve => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address() as AddressInfo
      server.close(() => resolve(port))
    })
  })
}

function listening(port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = createConnection(port, '127.0.0.1')
    socket.once('data', () => {
      socket.destroy()
      resolve()
    })
    socket.once('error', reject)
  })
}
