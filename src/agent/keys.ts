import { createHash } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'

/**
 * A hash over the keys with which an agent reaches its engine; another one means that they were renewed, and that the agent,
 * which reads them when it starts, has to be replaced. Undefined for an engine without TLS.
 */
export async function keysHash(tlsFolder: string | undefined): Promise<string | undefined> {
  if (tlsFolder === undefined) return undefined
  const hash = createHash('sha256')
  for (const name of ['ca.pem', 'cert.pem', 'key.pem']) {
    const content = await readFile(join(tlsFolder, name)).catch(() => Buffer.alloc(0))
    hash.update(`${name} ${content.length}\n`).update(content)
  }
  return hash.digest('hex').slice(0, 16)
}
