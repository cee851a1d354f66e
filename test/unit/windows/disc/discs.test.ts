import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { Fault } from '#lib/fault.ts'
import { packageRoot } from '#lib/package-root.ts'
import type { DiscFile } from '#windows/disc/disc-file.ts'
import { writeDisc } from '#windows/disc/iso-writer.ts'
import { MACHINE_LABEL, type MachineDisc, machineDiscFiles } from '#windows/disc/machine-disc.ts'
import { ENGINE_LABEL, engineDiscFiles, SETUP_LABEL, type SetupDisc, setupDiscFiles } from '#windows/disc/setup-disc.ts'

let folder = ''
let setup: SetupDisc
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'oriel-discs-'))
  for (const name of ['setup.ps1', 'guest.ps1', 'CONTRACT.md', 'notes.ps1.orig']) {
    writeFileSync(join(folder, name), `# ${name} ü\nWrite-Output 1\r\n`)
  }
  writeFileSync(join(folder, 'engine'), 'engine')
  writeFileSync(join(folder, 'ssh'), 'ssh')
  setup = {
    answerFile: '<unattend/>',
    scriptsFolder: folder,
    release: '2022',
    isolation: 'process',
    engine: { version: '29.7.2', archive: join(folder, 'engine'), sha256: 'e'.repeat(64) },
    openssh: { version: '10.0.0.0p2', archive: join(folder, 'ssh'), sha256: 'f'.repeat(64) }
  }
})
afterEach(() => rm(folder, { recursive: true, force: true }))

const MACHINE: MachineDisc = {
  name: 'win',
  computerName: 'ORIEL-WIN',
  password: 'Über"\\\u2028𝄞',
  timeZone: 'W. Europe Standard Time',
  hostGateway: '10.0.2.2',
  ntpServers: ['time.windows.com'],
  daemonJson: '{"hosts":["npipe://"],"labels":["ü"]}\n',
  certificates: { ca: 'CA\n', cert: 'CERT\n', key: 'KEY\n' },
  authorizedKey: 'ssh-ed25519 AAAA oriel',
  hostKey: '-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n',
  hostKeyPublic: 'ssh-ed25519 BBBB',
  provision: [
    { name: 'zebra.ps1', content: '\ufeff"ü"\n"b"\r\n"c"\r' },
    { name: 'Apple.PS1', content: '' }
  ]
}

const text = (files: DiscFile[], path: string) => String(files.find(file => file.path === path)?.content)
const paths = (files: DiscFile[]) => files.map(file => file.path)

/** The files of a disc as 7z takes them out, and its label. */
async function readBack(label: string, files: DiscFile[]) {
  const disc = join(folder, 'disc.iso')
  await writeDisc(disc, { label, files })
  execFileSync('7z', ['x', '-y', `-o${join(folder, 'out')}`, disc], { stdio: 'ignore' })
  const volume = execFileSync('isoinfo', ['-d', '-i', disc], { encoding: 'utf8' })
  return { volume, read: (path: string) => readFileSync(join(folder, 'out', path)) }
}

test('the setup disc holds what the contract says, and no other file of the folder', async () => {
  const files = await setupDiscFiles(setup)
  expect(paths(files)).toEqual([
    'Autounattend.xml',
    'oriel/guest.ps1',
    'oriel/setup.ps1',
    'oriel/setup.json',
    'oriel/docker.zip',
    'oriel/openssh.zip'
  ])
  const { volume, read } = await readBack(SETUP_LABEL, files)
  expect(volume).toMatch(/^Volume id: ORIEL_SETUP$/m)
  expect(JSON.parse(read('oriel/setup.json').toString('ascii'))).toEqual({
    version: 1,
    release: '2022',
    isolation: 'process',
    engine: { version: '29.7.2', file: 'docker.zip', sha256: 'e'.repeat(64) },
    openssh: { version: '10.0.0.0p2', file: 'openssh.zip', sha256: 'f'.repeat(64) }
  })
  expect(read('oriel/docker.zip').toString()).toBe('engine')
  expect(read('oriel/openssh.zip').toString()).toBe('ssh')
  // What PowerShell 5.1 needs to read a script as UTF-8.
  expect(read('oriel/setup.ps1')).toEqual(Buffer.from('\ufeff# setup.ps1 ü\r\nWrite-Output 1\r\n'))
})

test('a release with OpenSSH of its own gets none', async () => {
  const { openssh: _, ...own } = setup
  const files = await setupDiscFiles(own)
  expect(paths(files)).not.toContain('oriel/openssh.zip')
  expect(JSON.parse(text(files, 'oriel/setup.json')).openssh).toBeNull()
})

test('a package without its scripts is a Fault', async () => {
  for (const scriptsFolder of [join(folder, 'none'), await mkdtemp(join(folder, 'empty-'))]) {
    const making = setupDiscFiles({ ...setup, scriptsFolder })
    await expect(making).rejects.toThrow(Fault)
    await expect(making).rejects.toThrow(scriptsFolder)
  }
})

test('the package takes the scripts along', () => {
  const manifest = JSON.parse(readFileSync(join(packageRoot(), 'package.json'), 'utf8'))
  expect(manifest.files).toContain('guest/windows')
  expect(existsSync(join(packageRoot(), 'guest', 'windows', 'CONTRACT.md'))).toBe(true)
})

test('the engine disc holds the archive and what it is', async () => {
  const { volume, read } = await readBack(ENGINE_LABEL, engineDiscFiles(setup.engine))
  expect(volume).toMatch(/^Volume id: ORIEL_ENGINE$/m)
  expect(JSON.parse(read('oriel/engine.json').toString())).toEqual({
    version: '29.7.2',
    file: 'docker.zip',
    sha256: 'e'.repeat(64)
  })
  expect(read('oriel/docker.zip').toString()).toBe('engine')
})

test('the machine disc holds what the contract says', async () => {
  const { id, files } = machineDiscFiles(MACHINE)
  expect(paths(files)).toEqual([
    'oriel/machine.json',
    'oriel/daemon.json',
    'oriel/ca.pem',
    'oriel/server-cert.pem',
    'oriel/server-key.pem',
    'oriel/authorized_keys',
    'oriel/ssh_host_ed25519_key',
    'oriel/ssh_host_ed25519_key.pub',
    'oriel/provision/01-zebra.ps1',
    'oriel/provision/02-Apple.PS1'
  ])
  const { volume, read } = await readBack(MACHINE_LABEL, files)
  expect(volume).toMatch(/^Volume id: ORIEL_MACHINE$/m)
  // In ASCII, whatever the guest's code page is.
  expect(read('oriel/machine.json').every(byte => byte < 0x80)).toBe(true)
  expect(JSON.parse(read('oriel/machine.json').toString())).toEqual({
    version: 1,
    id,
    name: 'win',
    computerName: 'ORIEL-WIN',
    password: MACHINE.password,
    timeZone: 'W. Europe Standard Time',
    hostGateway: '10.0.2.2',
    ntpServers: ['time.windows.com'],
    provision: ['01-zebra.ps1', '02-Apple.PS1']
  })
  expect(read('oriel/daemon.json').toString()).toBe(MACHINE.daemonJson)
  expect(['ca', 'server-cert', 'server-key'].map(name => read(`oriel/${name}.pem`).toString())).toEqual([
    'CA\n',
    'CERT\n',
    'KEY\n'
  ])
  expect(read('oriel/authorized_keys').toString()).toBe('ssh-ed25519 AAAA oriel\n')
  expect(read('oriel/ssh_host_ed25519_key').toString()).toBe(MACHINE.hostKey)
  expect(read('oriel/ssh_host_ed25519_key.pub').toString()).toBe('ssh-ed25519 BBBB\n')
  expect(read('oriel/provision/01-zebra.ps1')).toEqual(Buffer.from('\ufeff"ü"\r\n"b"\r\n"c"\r\n'))
})

test('the id stays with the disc, and changes with anything on it', () => {
  const { id } = machineDiscFiles(MACHINE)
  expect(id).toMatch(/^[0-9a-f]{64}$/)
  expect(machineDiscFiles({ ...MACHINE }).id).toBe(id)
  const others: Partial<MachineDisc>[] = [
    { name: 'other' },
    { computerName: 'OTHER' },
    { password: 'other' },
    { timeZone: 'UTC' },
    { hostGateway: '10.0.2.3' },
    { ntpServers: [] },
    { daemonJson: '{}' },
    { certificates: { ...MACHINE.certificates, ca: 'other' } },
    { certificates: { ...MACHINE.certificates, cert: 'other' } },
    { certificates: { ...MACHINE.certificates, key: 'other' } },
    { certificates: { ca: 'CA\nCERT\n', cert: '', key: 'KEY\n' } },
    { authorizedKey: 'other' },
    { hostKey: 'other' },
    { hostKeyPublic: 'other' },
    { provision: [] },
    { provision: [...MACHINE.provision].reverse() },
    { provision: MACHINE.provision.map(script => ({ ...script, content: 'other' })) }
  ]
  const ids = others.map(other => machineDiscFiles({ ...MACHINE, ...other }).id)
  expect(new Set([id, ...ids]).size).toBe(others.length + 1)
})

test('a hundred scripts stay in order', () => {
  const provision = Array.from({ length: 100 }, () => ({ name: 'same.ps1', content: '' }))
  const names = paths(machineDiscFiles({ ...MACHINE, provision }).files).filter(path => path.includes('provision'))
  expect(names[0]).toBe('oriel/provision/001-same.ps1')
  expect([...names].sort()).toEqual(names)
})

test.each(['tools.sh', '.ps1', 'a/b.ps1', 'a\\b.ps1', 'tools.ps1.txt'])('the script %s is refused', name => {
  expect(() => machineDiscFiles({ ...MACHINE, provision: [{ name, content: '' }] })).toThrow(Fault)
})

test('a computer name that Windows does not take is refused', () => {
  expect(() => machineDiscFiles({ ...MACHINE, computerName: 'a name of its own' })).toThrow(Fault)
})

test('the sum of a disc is that of its bytes, from one run to the next', async () => {
  const sum = async () => {
    const disc = join(folder, 'disc.iso')
    await writeDisc(disc, { label: MACHINE_LABEL, files: machineDiscFiles(MACHINE).files })
    return createHash('sha256').update(readFileSync(disc)).digest('hex')
  }
  expect(await sum()).toBe(await sum())
})
