import { rm } from 'node:fs/promises'
import type { Handling } from '#gateway/proxy/handling.ts'
import type { Route } from '#gateway/routes.ts'
import { originalImage, releaseFor } from '#image/origin.ts'
import { type ArchiveImage, readImageArchive } from '#image/registry/image-archive.ts'
import { decompressed } from './build-compression.ts'
import type { WineContext } from './context.ts'
import { layLayers, removeLeftovers } from './layer-chain.ts'
import { nameImage, originalOnEngine } from './original-image.ts'
import { ProgressLines } from './progress-lines.ts'
import { Refusal } from './refusal.ts'
import { lookUpImage } from './windows-images.ts'

/** `docker load`: of what `docker save` wrote, here or on a Windows host, and of OCI layouts. */
export function loadRoutes(context: WineContext): Route[] {
  return [{ method: 'POST', template: '/images/load', action: () => load(context) }]
}

function load(context: WineContext): Handling {
  return {
    kind: 'handle',
    async handler(request, response) {
      const lines = new ProgressLines(response)
      context.images.pulling += 1
      const folder = await context.images.workFolder()
      try {
        await removeLeftovers(context)
        const blobs = await context.images.blobs()
        const images = await readImageArchive(await decompressed(request, 'archive'), folder, blobs, lines.signal)
        for (const image of images) await place(context, image, lines)
        lines.end()
      } catch (error) {
        // Some clients read no answer before they have sent everything.
        request.resume()
        lines.fail(error)
      } finally {
        context.images.pulling -= 1
        await rm(folder, { recursive: true, force: true })
      }
    }
  }
}

async function place(context: WineContext, image: ArchiveImage, lines: ProgressLines): Promise<void> {
  for (const tag of image.tags) {
    if ((await lookUpImage(context, tag)) === 'linux') {
      throw new Refusal(`the Docker engine has a Linux image named ${tag}; remove or rename it there first`, 409)
    }
  }
  const { config, manifestDigest, own } = image
  const blobs = await context.images.blobs()
  const layers = own.map(({ descriptor, diffId }) => ({
    descriptor,
    diffId,
    open: () => blobs.open(descriptor.digest)
  }))
  const laid = await layLayers(context, releaseFor(config.osVersion).tag, layers, {
    tell: () => undefined,
    signal: lines.signal
  })
  const origin = { id: config.digest, manifest: manifestDigest, config: config.bytes.toString('utf8') }
  const id = await originalOnEngine(context, laid, originalImage(config, origin, laid.folders))
  await nameImage(context, id, image.tags)
  const names = image.tags.map(tag => `Loaded image: ${tag}\n`)
  for (const stream of names.length > 0 ? names : [`Loaded image ID: ${config.digest}\n`]) lines.send({ stream })
}
