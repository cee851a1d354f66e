import type { Base } from '#image/dockerfile/translate.ts'
import type { RegistryAuth } from '#image/registry/auth.ts'
import { type ImageReference, parseReference } from '#image/registry/reference.ts'
import type { WineContext } from './context.ts'
import { stringOf } from './json.ts'
import { baseOf, materialise } from './pull.ts'
import { Refusal } from './refusal.ts'
import { pullImage } from './registry-pull.ts'
import { lookUpImage } from './windows-images.ts'

export interface LookupOptions {
  /** Also an image that is there comes from its registry. */
  pull: boolean
  auths: (reference: ImageReference) => RegistryAuth | undefined
  signal: AbortSignal
}

/**
 * The Windows image that a FROM or `COPY --from` names. One of Microsoft's bases is made from the Wine base when it is not
 * there yet; any other is pulled. Throws a Refusal for a Linux image, and a RegistryFault for one that is not to be had.
 */
export async function lookupBase(context: WineContext, reference: string, options: LookupOptions): Promise<Base> {
  let found = await lookUpImage(context, reference)
  const base = found === undefined || options.pull ? baseOf(reference) : undefined
  if (found === undefined || (options.pull && base === undefined)) {
    if (base === undefined) await pull(context, reference, options)
    else await materialise(context, reference, base)
    found = await lookUpImage(context, reference)
  }
  if (found === undefined) throw new Refusal(`No such image: ${reference}`, 404)
  if (found === 'linux') {
    throw new Refusal(
      'image operating system "linux" cannot be used on this platform: operating system is not supported'
    )
  }
  const { Os, Architecture, Variant } = found.inspect
  const platform = [Os, Architecture, Variant].map(stringOf).filter(Boolean).join('/')
  return { reference: found.name, image: found.windows, ...(platform === '' ? {} : { platform }) }
}

async function pull(context: WineContext, name: string, { auths, signal }: LookupOptions): Promise<void> {
  const reference = parseReference(name)
  // The client's stream has not begun: the engine, which it comes from, waits for the Dockerfile.
  await pullImage(context, reference, { auth: auths(reference), progress: () => undefined, signal })
}
