import { createHash } from 'node:crypto'
import { stat } from 'node:fs/promises'
import { join } from 'node:path'
import { currentContextName, dockerConfigDir, ownedBy, readContext } from '#docker/context-store.ts'
import type { EngineReference } from '#driver/driver.ts'
import { Fault } from '#lib/fault.ts'

/** The docker context that the docker client would use now. */
export interface CurrentContext {
  name: string
  reference: EngineReference
  /** It is that of an Oriel machine, so there is no Linux engine at its end. */
  ours: boolean
}

/** Undefined when the current context is docker's built-in default. Fault 4 when it names a context that does not exist. */
export async function currentContext(env: NodeJS.ProcessEnv): Promise<CurrentContext | undefined> {
  const folder = dockerConfigDir(env)
  const name = await currentContextName(folder, env)
  if (name === '' || name === 'default') return undefined
  const context = await readContext(folder, name)
  if (context === undefined) {
    throw new Fault(`the current docker context "${name}" does not exist.`, {
      exitCode: 4,
      hint: 'Choose another: docker context use default'
    })
  }
  const tlsFolder = join(folder, 'contexts', 'tls', createHash('sha256').update(name).digest('hex'), 'docker')
  const hasTls = await stat(tlsFolder).then(
    found => found.isDirectory(),
    () => false
  )
  return {
    name,
    reference: {
      url: context.host,
      ...(hasTls ? { tlsFolder } : {}),
      ...(context.tls?.skipVerify === true ? { skipVerify: true } : {})
    },
    ours: ownedBy(context) !== undefined
  }
}
