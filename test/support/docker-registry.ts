import { spawn } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'

/** What the registry with a password is told. */
export const LOGIN = { username: 'me', password: 'hunter2-pass' }
/** The same, as `htpasswd -B` writes it. */
const HTPASSWD = 'me:$2y$05$abcdefghijklmnopqrstuu4KHOa5sSk3Lt7i9fwdHd9a/m3wpUf6e\n'

export interface RealRegistry {
  /** `127.0.0.1:PORT` */
  host: string
  stop: () => Promise<void>
}

export interface RegistryOptions {
  password?: boolean
  /** Paths of PEM files; with `clientcas` it wants to see a certificate of theirs. */
  tls?: { certificate: string; key: string; clientcas?: string[] }
}

/** Debian's docker-registry on loopback, with all that it keeps in `folder`. */
export async function startRegistry(folder: string, options: RegistryOptions = {}): Promise<RealRegistry> {
  mkdirSync(folder, { recursive: true })
  const config = join(folder, 'config.json')
  const htpasswd = join(folder, 'htpasswd')
  writeFileSync(htpasswd, HTPASSWD)
  // JSON is YAML.
  writeFileSync(
    config,
    JSON.stringify({
      version: '0.1',
      log: { level: 'info', formatter: 'json' },
      storage: { filesystem: { rootdirectory: join(folder, 'data') } },
      http: {
        addr: '127.0.0.1:0',
        secret: 'of this test',
        // The name in a certificate is not what the registry listens at, so it must not tell where it is.
        ...(options.tls ? { relativeurls: true, tls: options.tls } : {})
      },
      ...(options.password ? { auth: { htpasswd: { realm: 'test', path: htpasswd } } } : {})
    })
  )
  const child = spawn('docker-registry', ['serve', config], { stdio: ['ignore', 'ignore', 'pipe'] })
  const ended = new Promise<void>(resolve => child.once('close', () => resolve()))
  const host = await new Promise<string>((resolve, reject) => {
    child.once('error', reject)
    child.once('close', () => reject(new Error('docker-registry ended')))
    createInterface({ input: child.stderr }).on('line', line => {
      const address = /listening on (127\.0\.0\.1:\d+)/.exec(line)?.[1]
      if (address !== undefined) resolve(address)
    })
  })
  return {
    host,
    stop: () => {
      child.kill()
      return ended
    }
  }
}
