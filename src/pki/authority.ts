import { createPrivateKey, randomBytes, webcrypto } from 'node:crypto'
import { isIP } from 'node:net'
import { loadX509 } from './x509.ts'

/** A certificate and its private key (PKCS#8), both PEM. */
export interface Pair {
  cert: string
  key: string
}

export type LeafKind = 'server' | 'client'

const DAY_MS = 24 * 60 * 60 * 1000

/**
 * A guest's clock is wrong before its first time service runs: Windows may take the hardware clock for local time (up to
 * 14 hours off), and a suspended guest wakes in the past. A certificate from two days ago is valid for all of them.
 */
const BACKDATED_MS = 2 * DAY_MS
const CA_MS = 3652 * DAY_MS
/** Both ends included, which the second that is taken off pays for. TLS clients of Apple refuse server certificates over 825 days. */
const LEAF_MS = 825 * DAY_MS - 1000

/** The private address by which QEMU's user network knows the guest: https://www.qemu.org/docs/master/system/devices/net.html */
const GUEST_ADDRESS = '10.0.2.15'

const ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' }

/** The names and addresses under which the server of a machine is reached. */
export function serverNames(machine: string): { dns: string[]; ip: string[] } {
  const dns = ['localhost']
  // A machine's name may hold `_`, or be all digits, which no host's name may.
  const label = '[a-z0-9]([a-z0-9-]*[a-z0-9])?'
  const hostName = new RegExp(`^(${label}\\.)*${label}$`, 'i')
  if (hostName.test(machine) && /[a-z][^.]*$/i.test(machine) && isIP(machine) === 0 && machine !== 'localhost') {
    dns.push(machine)
  }
  return { dns, ip: ['127.0.0.1', '::1', GUEST_ADDRESS] }
}

/** Makes the authority of one machine: it signs leaves only, for ten years. */
export async function makeAuthority(machine: string, now: Date): Promise<Pair> {
  const x509 = await loadX509()
  const keys = await newKeys()
  const cert = await x509.X509CertificateGenerator.createSelfSigned({
    serialNumber: newSerial(),
    name: subject('CA', machine),
    ...validity(now, CA_MS),
    keys,
    signingAlgorithm: ALGORITHM,
    extensions: [
      new x509.BasicConstraintsExtension(true, 0, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey, false, webcrypto)
    ]
  })
  return { cert: pemText(cert.toString('pem')), key: await exportKey(keys.privateKey) }
}

/** Makes a server or client certificate that `authority` signs. It ends with the authority at the latest. */
export async function issue(authority: Pair, kind: LeafKind, machine: string, now: Date): Promise<Pair> {
  const x509 = await loadX509()
  const keys = await newKeys()
  const issuer = new x509.X509Certificate(authority.cert)
  const { notBefore, notAfter } = validity(now, LEAF_MS)
  const { dns, ip } = serverNames(machine)
  const names = [
    ...dns.map(value => ({ type: 'dns' as const, value })),
    ...ip.map(value => ({ type: 'ip' as const, value }))
  ]
  const usage = kind === 'server' ? x509.ExtendedKeyUsage.serverAuth : x509.ExtendedKeyUsage.clientAuth
  const cert = await x509.X509CertificateGenerator.create({
    serialNumber: newSerial(),
    subject: subject(kind, machine),
    // As bytes: a name that is written anew might differ from the authority's own.
    issuer: issuer.subjectName,
    notBefore,
    notAfter: new Date(Math.min(notAfter.getTime(), issuer.notAfter.getTime())),
    publicKey: keys.publicKey,
    signingKey: await importKey(authority.key),
    signingAlgorithm: ALGORITHM,
    extensions: [
      new x509.BasicConstraintsExtension(false, undefined, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
      new x509.ExtendedKeyUsageExtension([usage]),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey, false, webcrypto),
      await x509.AuthorityKeyIdentifierExtension.create(issuer.publicKey, false, webcrypto),
      ...(kind === 'server' ? [new x509.SubjectAlternativeNameExtension(names)] : [])
    ]
  })
  return { cert: pemText(cert.toString('pem')), key: await exportKey(keys.privateKey) }
}

/** The machine's name stands in OU, since CN must not be longer than 64 characters and a machine's name may be 63. */
function subject(role: string, machine: string) {
  return [{ CN: [`Oriel ${role}`] }, { OU: [machine] }]
}

function validity(now: Date, spanMs: number): { notBefore: Date; notAfter: Date } {
  // X.509 has whole seconds.
  const start = Math.floor((now.getTime() - BACKDATED_MS) / 1000) * 1000
  return { notBefore: new Date(start), notAfter: new Date(start + spanMs) }
}

/** Sixteen random bytes in hex, the first of which makes the number positive and its length constant (RFC 5280, 4.1.2.2). */
function newSerial(): string {
  const bytes = randomBytes(16)
  bytes[0] = ((bytes[0] ?? 0) & 0x3f) | 0x40
  return bytes.toString('hex')
}

async function newKeys(): Promise<webcrypto.CryptoKeyPair> {
  return webcrypto.subtle.generateKey(ALGORITHM, true, ['sign', 'verify'])
}

async function exportKey(key: webcrypto.CryptoKey): Promise<string> {
  const der = Buffer.from(await webcrypto.subtle.exportKey('pkcs8', key))
  return createPrivateKey({ key: der, format: 'der', type: 'pkcs8' })
    .export({ format: 'pem', type: 'pkcs8' })
    .toString()
}

function importKey(pem: string): Promise<webcrypto.CryptoKey> {
  const der = createPrivateKey(pem).export({ format: 'der', type: 'pkcs8' })
  return webcrypto.subtle.importKey('pkcs8', der, ALGORITHM, false, ['sign'])
}

function pemText(pem: string): string {
  return `${pem.trim()}\n`
}
