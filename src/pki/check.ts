import { createPrivateKey, X509Certificate } from 'node:crypto'
import { type LeafKind, type Pair, serverNames } from './authority.ts'

const DAY_MS = 24 * 60 * 60 * 1000

/** A certificate with less time than this is made anew. */
export const RENEW_MS = 30 * DAY_MS

// What X509Certificate.keyUsage calls the extended key usages (RFC 5280, 4.2.1.12).
const USAGES: Record<LeafKind, string> = { server: '1.3.6.1.5.5.7.3.1', client: '1.3.6.1.5.5.7.3.2' }

/** True when the pair is an authority that may sign for a month or more. Damage is false, not an error. */
export function isSoundAuthority(pair: Partial<Pair>, now: Date): pair is Pair {
  const cert = certificateOf(pair, now)
  return cert?.ca === true && cert.checkIssued(cert) && cert.verify(cert.publicKey)
}

/** True when the pair is of this authority and machine, for this use, and good for a month or more. */
export function isSoundLeaf(
  pair: Partial<Pair>,
  kind: LeafKind,
  authority: Pair,
  machine: string,
  now: Date
): pair is Pair {
  const cert = certificateOf(pair, now)
  if (cert === undefined || cert.ca) return false
  const issuer = new X509Certificate(authority.cert)
  if (!cert.checkIssued(issuer) || !cert.verify(issuer.publicKey)) return false
  if (!(cert.keyUsage ?? []).includes(USAGES[kind]) || !cert.subject.split('\n').includes(`OU=${machine}`)) return false
  if (kind === 'client') return true
  const { dns, ip } = serverNames(machine)
  return (
    dns.every(name => cert.checkHost(name) !== undefined) && ip.every(address => cert.checkIP(address) !== undefined)
  )
}

/** The end of the first certificate in a PEM text; undefined when it is none. */
export function expiryOf(pem: string | undefined): Date | undefined {
  try {
    return pem === undefined ? undefined : new Date(new X509Certificate(pem).validTo)
  } catch {
    return undefined
  }
}

/** The certificate of a pair, when the key is its own and `now` lies well within its time. */
function certificateOf({ cert, key }: Partial<Pair>, now: Date): X509Certificate | undefined {
  if (cert === undefined || key === undefined) return undefined
  try {
    const certificate = new X509Certificate(cert)
    const from = new Date(certificate.validFrom).getTime()
    const until = new Date(certificate.validTo).getTime()
    const timely = from <= now.getTime() && until - now.getTime() >= RENEW_MS
    return timely && certificate.checkPrivateKey(createPrivateKey(key)) ? certificate : undefined
  } catch {
    // Not PEM, cut short, or of an algorithm that nobody asked for.
    return undefined
  }
}
