import { chmod, readdir, readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { makeFolder, writeFileAtomic } from '#lib/atomic-file.ts'
import { Fault, messageOf } from '#lib/fault.ts'
import { withLock } from '#lib/lock.ts'
import { issue, type LeafKind, makeAuthority, type Pair } from './authority.ts'
import { expiryOf, isSoundAuthority, isSoundLeaf } from './check.ts'
import { clientFolder } from './client-folder.ts'

/** A machine's certificates, in one folder (0700). `client/` is laid out as DOCKER_CERT_PATH wants it. */
function pkiFiles(folder: string) {
  const client = clientFolder(folder)
  return {
    client,
    authority: { cert: join(folder, 'ca.pem'), key: join(folder, 'ca-key.pem') },
    leaves: {
      server: { cert: join(folder, 'server-cert.pem'), key: join(folder, 'server-key.pem') },
      client: { cert: join(client, 'cert.pem'), key: join(client, 'key.pem') }
    },
    clientAuthority: join(client, 'ca.pem'),
    lock: join(folder, 'lock')
  }
}

type Files = ReturnType<typeof pkiFiles>
type PairFiles = Files['authority']

export interface PkiState {
  /** True when a certificate was made. */
  changed: boolean
  serverExpires: Date
  clientExpires: Date
  caExpires: Date
}

/**
 * Makes the certificates that are missing, damaged, of another machine, or have less than 30 days left; `renew` makes the
 * server's and the client's anew in any case. The authority stays as long as it is sound, so that clients with an older
 * certificate are still let in; when it goes, all of them go. What a killed process left half-done is repaired.
 */
export async function ensurePki(
  folder: string,
  options: { machine: string; now?: Date; renew?: boolean }
): Promise<PkiState> {
  const files = pkiFiles(folder)
  await makeFolder(files.client)
  return withLock(files.lock, { doing: 'making certificates', limitMs: 60_000 }, () =>
    ensureLocked(folder, files, options)
  )
}

async function ensureLocked(
  folder: string,
  files: Files,
  { machine, now = new Date(), renew = false }: { machine: string; now?: Date; renew?: boolean }
): Promise<PkiState> {
  for (const place of [folder, files.client]) await tidy(place)
  let changed = false
  const make = async (target: PairFiles, pair: Promise<Pair>): Promise<Pair> => {
    changed = true
    return writePair(target, await pair)
  }
  const found = await readPair(files.authority)
  const authority = isSoundAuthority(found, now) ? found : await make(files.authority, makeAuthority(machine, now))
  // A copy, since DOCKER_CERT_PATH is one folder. Written before the certificate that it goes with.
  if ((await readText(files.clientAuthority)) !== authority.cert) {
    await writeFileAtomic(files.clientAuthority, authority.cert)
  }
  const leaf = async (kind: LeafKind): Promise<Date> => {
    const present = await readPair(files.leaves[kind])
    if (!renew && isSoundLeaf(present, kind, authority, machine, now)) return expiry(present.cert)
    return expiry((await make(files.leaves[kind], issue(authority, kind, machine, now))).cert)
  }
  const serverExpires = await leaf('server')
  const clientExpires = await leaf('client')
  return { changed, serverExpires, clientExpires, caExpires: expiry(authority.cert) }
}

/** What the engine in the guest is given, as PEM text. A Fault when `ensurePki` has not run. */
export async function serverFiles(folder: string): Promise<{ ca: string; cert: string; key: string }> {
  const { authority, leaves } = pkiFiles(folder)
  const ca = await readText(authority.cert)
  const { cert, key } = await readPair(leaves.server)
  if (ca === undefined || cert === undefined || key === undefined) {
    throw new Fault(`there are no certificates in ${folder}.`, { hint: 'Make them with: oriel up' })
  }
  return { ca, cert, key }
}

/** When the first of a machine's certificates expires; undefined when one is missing or damaged. Takes no lock. */
export async function pkiExpiry(folder: string): Promise<Date | undefined> {
  const { authority, leaves } = pkiFiles(folder)
  const ends: number[] = []
  for (const file of [authority.cert, leaves.server.cert, leaves.client.cert]) {
    const end = expiryOf(await readText(file))
    if (end === undefined) return undefined
    ends.push(end.getTime())
  }
  return new Date(Math.min(...ends))
}

/** The key first: a process that dies in between leaves a certificate without its key, which the next check finds. */
async function writePair(files: PairFiles, pair: Pair): Promise<Pair> {
  await writeFileAtomic(files.key, pair.key)
  await writeFileAtomic(files.cert, pair.cert)
  return pair
}

async function readPair(files: PairFiles): Promise<Partial<Pair>> {
  const cert = await readText(files.cert)
  const key = await readText(files.key)
  return { ...(cert === undefined ? {} : { cert }), ...(key === undefined ? {} : { key }) }
}

async function readText(file: string): Promise<string | undefined> {
  try {
    return await readFile(file, 'utf8')
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined
    throw new Fault(`cannot read ${file}: ${messageOf(error)}`, { exitCode: 4 })
  }
}

/** Closes a folder and its files to others, as they may have come from a backup, and removes what a killed writer left. */
async function tidy(folder: string): Promise<void> {
  await chmod(folder, 0o700)
  for (const entry of await readdir(folder, { withFileTypes: true })) {
    if (!entry.isFile()) continue
    const file = join(folder, entry.name)
    if (/^\..*\.tmp$/.test(entry.name)) await rm(file, { force: true })
    else if (entry.name.endsWith('.pem')) await chmod(file, 0o600)
  }
}

function expiry(cert: string): Date {
  const date = expiryOf(cert)
  if (date === undefined) throw new Error('a certificate that was just made or checked has no end')
  return date
}
