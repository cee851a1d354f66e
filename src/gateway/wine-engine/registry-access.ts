import type { RequestHead } from '#gateway/proxy/handling.ts'
import { parseRegistryAuth, type RegistryAuth } from '#image/registry/auth.ts'
import type { RegistryClient } from '#image/registry/client.ts'
import type { ImageReference } from '#image/registry/reference.ts'
import type { WineContext } from './context.ts'
import { type Json, objectOf } from './json.ts'

/**
 * A client of the registry of a reference, for as long as `work` takes. Which registries may be spoken to unencrypted, and
 * which mirrors Docker Hub has, are the engine's settings, so that there is one place to set them.
 */
export async function withRegistry<T>(
  context: WineContext,
  { registry }: ImageReference,
  auth: RegistryAuth | undefined,
  signal: AbortSignal,
  work: (client: RegistryClient) => Promise<T>
): Promise<T> {
  const info = objectOf(await context.engine.json('GET', '/info', undefined, { signal }))
  // Its HTTP client is larger than all the rest of the agent, and most agents never pull.
  const { RegistryClient } = await import('#image/registry/client.ts')
  const client = new RegistryClient(registry, {
    ...registrySettings(objectOf(info.RegistryConfig)),
    ...(auth === undefined ? {} : { auth }),
    env: context.images.env,
    signal
  })
  try {
    return await work(client)
  } finally {
    await client.close()
  }
}

/** The registries of an engine's `/info`: those that need no TLS, and the mirrors of Docker Hub. */
export function registrySettings(config: Json): { insecure: string[]; mirrors: string[] } {
  const hosts = Object.entries(objectOf(config.IndexConfigs))
    .filter(([, index]) => objectOf(index).Secure === false)
    .map(([host]) => host)
  return { insecure: [...hosts, ...texts(config.InsecureRegistryCIDRs)], mirrors: texts(config.Mirrors) }
}

function texts(value: unknown): string[] {
  return Array.isArray(value) ? value.filter(text => typeof text === 'string') : []
}

/** The credentials that a client sends with a pull or a push. */
export function authOf(head: RequestHead): RegistryAuth | undefined {
  return parseRegistryAuth(headerOf(head, 'x-registry-auth'))
}

/** The credentials that a client sends with a build: for each registry that it knows. */
export function buildAuths(head: RequestHead): (reference: ImageReference) => RegistryAuth | undefined {
  const header = headerOf(head, 'x-registry-config')
  let known: Json = {}
  try {
    if (header !== undefined) known = objectOf(JSON.parse(Buffer.from(header, 'base64url').toString('utf8')))
  } catch {
    // As dockerd: what cannot be read is nothing.
  }
  return ({ registry }) => {
    const found = known[registry === 'docker.io' ? 'https://index.docker.io/v1/' : registry]
    return found === undefined
      ? undefined
      : parseRegistryAuth(Buffer.from(JSON.stringify(objectOf(found))).toString('base64url'))
  }
}

function headerOf(head: RequestHead, name: string): string | undefined {
  return head.headers.find(([each]) => each.toLowerCase() === name)?.[1]
}
