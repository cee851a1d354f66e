import { EngineError } from '#docker/engine.ts'
import { knownBase } from '#image/bases.ts'
import type { Base } from '#image/dockerfile/translate.ts'
import { windowsImageOf } from '#image/windows-config.ts'
import type { WineContext } from './context.ts'
import { Refusal } from './refusal.ts'

/** Makes one of Microsoft's bases from the Wine base, under the name that is asked for. */
export type Materialize = (context: WineContext, reference: string) => Promise<void>

/**
 * The Windows image that a FROM names. One of Microsoft's bases is made from the Wine base when it is not there yet; any
 * other must be on the engine. Throws a Refusal for a Linux image and for one that is not there.
 */
export async function lookupBase(context: WineContext, reference: string, materialize: Materialize): Promise<Base> {
  const known = knownBase(reference)
  let config = known === 'unknownTag' ? undefined : await configOf(context, reference)
  if (config === undefined && known !== undefined) {
    await materialize(context, reference)
    config = await configOf(context, reference)
  }
  if (config === undefined) {
    throw new Refusal(
      `No such image: ${reference}: it is neither on this machine nor a Windows base that Oriel knows`,
      404
    )
  }
  const image = windowsImageOf(config.Labels)
  if (image === undefined) {
    throw new Refusal(
      'image operating system "linux" cannot be used on this platform: operating system is not supported'
    )
  }
  return { reference, image }
}

interface ImageConfig {
  Labels?: Record<string, string> | null
}

async function configOf(context: WineContext, reference: string): Promise<ImageConfig | undefined> {
  const path = reference.split('/').map(encodeURIComponent).join('/')
  try {
    const image = await context.engine.json<{ Config?: ImageConfig }>('GET', `/images/${path}/json`)
    return image.Config ?? {}
  } catch (error) {
    if (error instanceof EngineError && error.status === 404) return undefined
    throw error
  }
}
