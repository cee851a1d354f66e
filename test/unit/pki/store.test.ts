import { createPrivateKey, X509Certificate } from 'node:crypto'
import {
  chmodSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { clientFolder } from '#pki/client-folder.ts'
import { ensurePki, pkiExpiry, serverFiles } from '#pki/store.ts'
import { run } from '../../support/command.ts'

const DAY_MS = 86_400_000
const FILES = [
  'ca.pem',
  'ca-key.pem',
  'server-cert.pem',
  'server-key.pem',
  'client/ca.pem',
  'client/cert.pem',
  'client/key.pem'
]

let root: string
let folder: string
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'oriel-pki-'))
  folder = join(root, 'machines', 'win', 'pki')
})
afterEach(() => rmSync(root, { recursive: true, force: true }))

const machine = 'win'
const read = (name: string, of = folder) => readFileSync(join(of, name), 'utf8')
const snapshot = () => Object.fromEntries(FILES.map(name => [name, read(name)]))
const cert = (name: string) => new X509Certificate(read(name))
const later = (days: number) => new Date(Date.now() + days * DAY_MS)

/** What openssl says of the two leaves, by its strictest reading of RFC 5280. */
async function opensslVerdict(at?: Date): Promise<string> {
  const when = at === undefined ? [] : ['-attime', String(Math.floor(at.getTime() / 1000))]
  const said: string[] = []
  for (const [purpose, ca, leaf] of [
    ['sslserver', 'client/ca.pem', 'server-cert.pem'],
    ['sslclient', 'ca.pem', 'client/cert.pem']
  ] as const) {
    const args = ['verify', '-x509_strict', '-check_ss_sig', '-purpose', purpose, ...when, '-CAfile', ca, leaf]
    const { code, stdout, stderr } = await run('openssl', args, { cwd: folder })
    said.push(code === 0 ? stdout.trim() : stderr)
  }
  return said.join('\n')
}

const GOOD = 'server-cert.pem: OK\nclient/cert.pem: OK'

test('makes an authority, a server and a client that openssl takes', async () => {
  const state = await ensurePki(folder, { machine })
  expect(state.changed).toBe(true)
  expect(await opensslVerdict()).toBe(GOOD)
  // Neither can stand in for the other, nor sign.
  const swapped = await run('openssl', ['verify', '-purpose', 'sslclient', '-CAfile', 'ca.pem', 'server-cert.pem'], {
    cwd: folder
  })
  expect(swapped.code).not.toBe(0)
  expect(cert('server-cert.pem').ca).toBe(false)

  const text = (await run('openssl', ['x509', '-in', 'server-cert.pem', '-noout', '-text'], { cwd: folder })).stdout
  expect(text).toContain(
    'DNS:localhost, DNS:win, IP Address:127.0.0.1, IP Address:0:0:0:0:0:0:0:1, IP Address:10.0.2.15'
  )
  expect(text).toMatch(/Key Usage: critical\s+Digital Signature\n/)
  expect(text).toMatch(/Basic Constraints: critical\s+CA:FALSE/)
  expect(text).toContain('NIST CURVE: P-256')
  const authority = (await run('openssl', ['x509', '-in', 'ca.pem', '-noout', '-text'], { cwd: folder })).stdout
  expect(authority).toMatch(/Basic Constraints: critical\s+CA:TRUE, pathlen:0/)
  expect(authority).toMatch(/Key Usage: critical\s+Certificate Sign, CRL Sign\n/)
  expect(read('client/ca.pem')).toBe(read('ca.pem'))
})

test('times: backdated, at most 825 days for a leaf, ten years for the authority', async () => {
  const now = new Date()
  const state = await ensurePki(folder, { machine, now })
  for (const name of ['server-cert.pem', 'client/cert.pem']) {
    const { validFrom, validTo } = cert(name)
    expect(now.getTime() - Date.parse(validFrom)).toBeGreaterThanOrEqual(2 * DAY_MS)
    expect(Date.parse(validTo) - Date.parse(validFrom)).toBeLessThan(825 * DAY_MS)
    expect(Date.parse(validTo) - now.getTime()).toBeGreaterThan(820 * DAY_MS)
  }
  expect(state.serverExpires).toEqual(new Date(cert('server-cert.pem').validTo))
  expect(state.clientExpires).toEqual(new Date(cert('client/cert.pem').validTo))
  expect(state.caExpires).toEqual(new Date(cert('ca.pem').validTo))
  expect(state.caExpires.getTime() - now.getTime()).toBeGreaterThan(3640 * DAY_MS)
  expect(await pkiExpiry(folder)).toEqual(state.serverExpires)
})

test('keys are PKCS#8, and nobody else can read what is there', async () => {
  await ensurePki(folder, { machine })
  for (const name of ['ca-key.pem', 'server-key.pem', 'client/key.pem']) {
    expect(read(name)).toMatch(/^-----BEGIN PRIVATE KEY-----\n/)
    expect(createPrivateKey(read(name)).asymmetricKeyDetails).toEqual({ namedCurve: 'prime256v1' })
  }
  const modes = () => FILES.map(name => statSync(join(folder, name)).mode & 0o777)
  expect(new Set(modes())).toEqual(new Set([0o600]))
  expect(statSync(folder).mode & 0o777).toBe(0o700)
  expect(statSync(clientFolder(folder)).mode & 0o777).toBe(0o700)

  for (const name of FILES) chmodSync(join(folder, name), 0o644)
  chmodSync(folder, 0o755)
  expect((await ensurePki(folder, { machine })).changed).toBe(false)
  expect(new Set(modes())).toEqual(new Set([0o600]))
  expect(statSync(folder).mode & 0o777).toBe(0o700)
})

test('what is sound stays as it is', async () => {
  await ensurePki(folder, { machine })
  const before = snapshot()
  expect((await ensurePki(folder, { machine })).changed).toBe(false)
  expect((await ensurePki(folder, { machine, now: later(792) })).changed).toBe(false)
  expect(snapshot()).toEqual(before)
})

test.each([
  ['soon', 794],
  ['long since', 1200]
])('a leaf that ends %s is renewed under the same authority', async (_when, days) => {
  await ensurePki(folder, { machine })
  const before = snapshot()
  const state = await ensurePki(folder, { machine, now: later(days) })
  expect(state.changed).toBe(true)
  expect(read('ca.pem')).toBe(before['ca.pem'])
  expect(read('ca-key.pem')).toBe(before['ca-key.pem'])
  expect(read('server-cert.pem')).not.toBe(before['server-cert.pem'])
  expect(read('client/cert.pem')).not.toBe(before['client/cert.pem'])
  expect(read('client/key.pem')).not.toBe(before['client/key.pem'])
  expect(await opensslVerdict(later(days + 700))).toBe(GOOD)
})

test('an authority near its end is replaced with all that it signed', async () => {
  await ensurePki(folder, { machine })
  const before = snapshot()
  // A leaf never outlives the authority.
  const old = await ensurePki(folder, { machine, now: later(3500) })
  expect(old.serverExpires).toEqual(old.caExpires)
  expect(read('ca.pem')).toBe(before['ca.pem'])
  const fresh = await ensurePki(folder, { machine, now: later(3630) })
  expect(fresh.changed).toBe(true)
  expect(read('ca.pem')).not.toBe(before['ca.pem'])
  expect(await opensslVerdict(later(3631))).toBe(GOOD)
})

test('certificates from the future are not trusted', async () => {
  // The host's clock was wrong when they were made.
  await ensurePki(folder, { machine, now: later(400) })
  expect(await opensslVerdict()).toContain('not yet valid')
  expect((await ensurePki(folder, { machine })).changed).toBe(true)
  expect(await opensslVerdict()).toBe(GOOD)
})

test('renew makes new leaves, and the former client still belongs to the authority', async () => {
  await ensurePki(folder, { machine })
  const before = snapshot()
  expect((await ensurePki(folder, { machine, renew: true })).changed).toBe(true)
  expect(read('ca.pem')).toBe(before['ca.pem'])
  const serials = [
    before['server-cert.pem'],
    read('server-cert.pem'),
    before['client/cert.pem'],
    read('client/cert.pem')
  ]
  expect(new Set(serials.map(pem => new X509Certificate(pem ?? '').serialNumber)).size).toBe(4)
  expect(new X509Certificate(before['client/cert.pem'] ?? '').verify(cert('ca.pem').publicKey)).toBe(true)
})

test.each(FILES)('a set in which %s is missing, cut short or of another set is repaired', async name => {
  await ensurePki(folder, { machine })
  const other = join(root, 'other')
  await ensurePki(other, { machine })
  const kept = snapshot()
  const damage: (() => void)[] = [
    () => rmSync(join(folder, name)),
    () => truncateSync(join(folder, name), 0),
    () => truncateSync(join(folder, name), 120),
    () => writeFileSync(join(folder, name), 'not PEM\n'),
    () => writeFileSync(join(folder, name), read(name, other))
  ]
  for (const harm of damage) {
    harm()
    await ensurePki(folder, { machine })
    expect(await opensslVerdict()).toBe(GOOD)
    for (const [certificate, key] of [
      ['ca.pem', 'ca-key.pem'],
      ['server-cert.pem', 'server-key.pem'],
      ['client/cert.pem', 'client/key.pem']
    ] as const) {
      expect(cert(certificate).checkPrivateKey(createPrivateKey(read(key)))).toBe(true)
    }
    expect(read('client/ca.pem')).toBe(read('ca.pem'))
    // No more is made anew than has to be.
    if (!name.startsWith('ca')) expect(read('ca.pem')).toBe(kept['ca.pem'])
    expect((await ensurePki(folder, { machine })).changed).toBe(false)
    Object.assign(kept, snapshot())
  }
})

test('the leaves of two authorities are never mixed, whichever files were written last', async () => {
  const other = join(root, 'other')
  await ensurePki(other, { machine })
  for (let written = 1; written < FILES.length; written += 1) {
    rmSync(folder, { recursive: true, force: true })
    await ensurePki(folder, { machine })
    for (const name of FILES.slice(0, written)) writeFileSync(join(folder, name), read(name, other))
    await ensurePki(folder, { machine })
    expect(await opensslVerdict()).toBe(GOOD)
  }
})

test('what a killed writer left goes away', async () => {
  await ensurePki(folder, { machine })
  writeFileSync(join(folder, '.server-key.pem.123.abcdef.tmp'), 'half a key')
  writeFileSync(join(clientFolder(folder), '.key.pem.123.abcdef.tmp'), 'half a key')
  expect((await ensurePki(folder, { machine })).changed).toBe(false)
  expect([...readdirSync(folder), ...readdirSync(clientFolder(folder))].filter(name => name.endsWith('.tmp'))).toEqual(
    []
  )
})

test('calls at the same time agree', async () => {
  const states = await Promise.all(Array.from({ length: 6 }, () => ensurePki(folder, { machine })))
  expect(states.filter(state => state.changed)).toHaveLength(1)
  expect(new Set(states.map(state => state.serverExpires.getTime())).size).toBe(1)
  expect(await opensslVerdict()).toBe(GOOD)
})

test('a copied folder gets leaves in the name of its new machine', async () => {
  await ensurePki(folder, { machine })
  expect((await ensurePki(folder, { machine: 'win2' })).changed).toBe(true)
  expect(cert('server-cert.pem').checkHost('win2')).toBe('win2')
  expect(cert('server-cert.pem').checkHost('win')).toBeUndefined()
})

test.each(['my_machine', '2025', 'win-', 'a..b', 'localhost', 'x'.repeat(63)])(
  'the machine name %s makes certificates too',
  async name => {
    await ensurePki(folder, { machine: name })
    expect(await opensslVerdict()).toBe(GOOD)
    const names = cert('server-cert.pem').subjectAltName ?? ''
    expect(names.match(/DNS:/g)).toHaveLength(name.startsWith('x') ? 2 : 1)
    expect((await ensurePki(folder, { machine: name })).changed).toBe(false)
  }
)

test('the files for the guest, and their absence', async () => {
  await expect(serverFiles(folder)).rejects.toMatchObject({ name: 'Fault', hint: expect.stringContaining('oriel up') })
  expect(await pkiExpiry(folder)).toBeUndefined()
  await ensurePki(folder, { machine })
  expect(await serverFiles(folder)).toEqual({
    ca: read('ca.pem'),
    cert: read('server-cert.pem'),
    key: read('server-key.pem')
  })
  writeFileSync(join(folder, 'server-cert.pem'), 'damaged')
  expect(await pkiExpiry(folder)).toBeUndefined()
})
