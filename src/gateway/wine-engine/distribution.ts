import type { RegistryAuth } from '#image/registry/auth.ts'
import { parseConfig, parseManifest } from '#image/registry/manifest.ts'
import type { ImageReference } from '#image/registry/reference.ts'
import type { WineContext } from './context.ts'
import { withRegistry } from './registry-access.ts'

const MOST_CONFIG = 8 * 1024 * 1024

/** What a registry says of an image without pulling it: `GET /distribution/{name}/json`. RegistryFault in docker's words. */
export async function registryDistribution(
  context: WineContext,
  reference: ImageReference,
  auth: RegistryAuth | undefined
): Promise<object> {
  return await withRegistry(context, reference, auth, new AbortController().signal, async client => {
    const { mediaType, digest, bytes } = await client.manifest(reference)
    const manifest = parseManifest(mediaType, bytes)
    const Descriptor = { mediaType: manifest.mediaType, digest, size: bytes.length }
    if (manifest.kind === 'index') {
      const platforms = manifest.manifests.flatMap(({ platform }) => platform ?? [])
      return { Descriptor, Platforms: platforms.map(shownPlatform) }
    }
    const chunks: Buffer[] = []
    let length = 0
    for await (const chunk of await client.blob(reference.repository, manifest.config)) {
      length += (chunk as Buffer).length
      if (length > MOST_CONFIG) break
      chunks.push(chunk as Buffer)
    }
    return { Descriptor, Platforms: [shownPlatform(parseConfig(Buffer.concat(chunks)))] }
  })
}

function shownPlatform({
  os,
  architecture,
  osVersion
}: {
  os: string
  architecture: string
  osVersion: string
}): object {
  return { architecture, os, ...(osVersion === '' ? {} : { 'os.version': osVersion }) }
}
