import { EngineError } from '#docker/engine.ts'
import { joinTarget } from '#gateway/routes.ts'
import { splitReference } from '#image/bases.ts'
import {
  IMAGE_LABEL,
  type ImageOrigin,
  LAYER_LABEL,
  userLabels,
  type WindowsImage,
  windowsImageOf
} from '#image/windows-config.ts'
import type { WineContext } from './context.ts'
import { type Json, stringOf, stringsOf } from './json.ts'
import { commit, inContainer, type LaidLayers } from './layer-chain.ts'
import { encodeName, listImages } from './windows-images.ts'

/** The engine's image of an original: laid layers, and the Windows side as labels. One that is there is taken. */
export async function originalOnEngine(context: WineContext, laid: LaidLayers, image: WindowsImage): Promise<string> {
  const { origin } = image
  for (const row of await listImages(context, true)) {
    const labels = stringsOf(row.Labels)
    const known = windowsImageOf(labels)?.origin
    const same = known?.id === origin?.id && known?.manifest === origin?.manifest
    if (same && labels[LAYER_LABEL] === laid.mark) return stringOf(row.Id)
  }
  return await inContainer(context, laid.image, container =>
    commit(
      context,
      container,
      { ...userLabels(image.config.Labels), [IMAGE_LABEL]: JSON.stringify(image), [LAYER_LABEL]: laid.mark },
      { exposedPorts: image.config.ExposedPorts ?? {} }
    )
  )
}

/** Gives an image names. What had them before and has no other, and is the same image on another Wine base, goes. */
export async function nameImage(context: WineContext, image: string, names: readonly string[]): Promise<void> {
  for (const name of names) {
    const { repository, tag = 'latest' } = splitReference(name)
    const query = new URLSearchParams({ repo: repository, tag })
    await context.engine.json('POST', joinTarget('', `/images/${encodeName(image)}/tag`, query))
  }
  const rows = await listImages(context, true)
  const id = originOf(rows.find(row => row.Id === image) ?? {})?.id
  for (const row of rows) {
    if (row.Id === image || originOf(row)?.id !== id || id === undefined || tagsOf(row).length > 0) continue
    // Not by force: a container may still be made from it.
    await context.engine.json('DELETE', `/images/${stringOf(row.Id)}`).catch(error => {
      if (!(error instanceof EngineError)) throw error
    })
  }
}

/** The original that a row of the engine's list is. */
export function originOf(row: Json): ImageOrigin | undefined {
  return windowsImageOf(stringsOf(row.Labels))?.origin
}

/** The names of a row of the engine's list, those for digests included. */
export function tagsOf({ RepoTags }: Json): string[] {
  return Array.isArray(RepoTags) ? RepoTags.map(stringOf).filter(tag => tag !== '' && tag !== '<none>:<none>') : []
}
