import { createPrivateKey, X509Certificate } from 'node:crypto'
import { readdir, readFile } from 'node:fs/promises'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { messageOf } from '#lib/fault.ts'
import { RegistryFault } from './registry-fault.ts'

/** What a registry is known by beside the authorities that everybody trusts, and what it knows us by; all as PEM. */
export interface RegistryTrust {
  authorities: readonly string[]
  /** Certificates of ours, each with its key. */
  own: readonly { certificate: string; key: string }[]
}

/** Where docker looks for the certificates of a registry (`host` or `host:port`), the person's own folder first. */
export function trustFolders(env: NodeJS.ProcessEnv, host: string): string[] {
  const parents = [join(env.HOME ?? homedir(), '.docker', 'certs.d'), '/etc/docker/certs.d']
  // A token server is named by the registry.
  return host === '.' || host === '..' ? [] : parents.map(parent => join(parent, host))
}

/**
 * Reads folders as dockerd does: `*.crt` are authorities, `NAME.cert` with `NAME.key` is what we show. What several folders
 * have adds up. RegistryFault for a file that is not what its name says.
 */
export async function readTrust(folders: readonly string[]): Promise<RegistryTrust> {
  const authorities: string[] = []
  const own: { certificate: string; key: string }[] = []
  for (const folder of folders) {
    const names = await namesIn(folder)
    for (const name of names) {
      const path = join(folder, name)
      if (name.endsWith('.crt')) authorities.push(await certificateOf(path))
      else if (name.endsWith('.cert')) {
        const key = name.replace(/cert$/, 'key')
        if (!names.includes(key)) {
          throw new RegistryFault(
            `missing key ${key} for client certificate ${name}. CA certificates must use the extension .crt`,
            { hint: `Both belong into ${folder}.` }
          )
        }
        own.push({ certificate: await certificateOf(path), key: await keyOf(join(folder, key), path) })
      } else if (name.endsWith('.key') && !names.includes(name.replace(/key$/, 'cert'))) {
        const certificate = name.replace(/key$/, 'cert')
        throw new RegistryFault(`missing client certificate ${certificate} for key ${name}`, {
          hint: `Both belong into ${folder}.`
        })
      }
    }
  }
  return { authorities, own }
}

async function namesIn(folder: string): Promise<string[]> {
  try {
    return (await readdir(folder)).sort()
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : undefined
    if (code === 'ENOENT' || code === 'ENOTDIR') return []
    throw unreadable(folder, error)
  }
}

async function certificateOf(path: string): Promise<string> {
  const pem = await read(path)
  try {
    if (!pem.includes('-----BEGIN')) throw new Error('it does not begin with -----BEGIN CERTIFICATE-----')
    new X509Certificate(pem)
  } catch (error) {
    throw new RegistryFault(`${path} is no certificate in PEM: ${messageOf(error)}`, { cause: error })
  }
  return pem
}

async function keyOf(path: string, certificate: string): Promise<string> {
  const pem = await read(path)
  let belongs: boolean
  try {
    belongs = new X509Certificate(await read(certificate)).checkPrivateKey(createPrivateKey(pem))
  } catch (error) {
    throw new RegistryFault(`${path} is no private key in PEM, or needs a passphrase: ${messageOf(error)}`, {
      cause: error
    })
  }
  if (!belongs) throw new RegistryFault(`${path} is not the key of ${certificate}`)
  return pem
}

async function read(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8')
  } catch (error) {
    throw unreadable(path, error)
  }
}

function unreadable(path: string, error: unknown): RegistryFault {
  return new RegistryFault(`${path} cannot be read: ${messageOf(error)}`, { cause: error })
}
