import { mkdirSync, mkdtempSync, realpathSync, rmSync } from 'node:fs'
import { join } from 'node:path'

/** Folders of a person who has never used Oriel, so that tests touch nobody's own. */
export interface Home {
  root: string
  env: { HOME: string; ORIEL_HOME: string; DOCKER_CONFIG: string }
  remove: () => void
}

/** Makes such folders. They lie in /tmp because a Unix socket's path is short (104 bytes on a Mac). */
export function temporaryHome(): Home {
  const root = mkdtempSync(join(realpathSync('/tmp'), 'oriel-t-'))
  const env = { HOME: join(root, 'home'), ORIEL_HOME: join(root, 'oriel'), DOCKER_CONFIG: join(root, 'docker') }
  mkdirSync(env.HOME)
  mkdirSync(env.DOCKER_CONFIG)
  return { root, env, remove: () => rmSync(root, { recursive: true, force: true, maxRetries: 5 }) }
}
