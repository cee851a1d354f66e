import type { Base } from '#image/dockerfile/translate.ts'
import type { WineContext } from './context.ts'
import { stringOf } from './json.ts'
import { baseOf, materialise } from './pull.ts'
import { Refusal } from './refusal.ts'
import { lookUpImage } from './windows-images.ts'

/**
 * The Windows image that a FROM or `COPY --from` names. One of Microsoft's bases is made from the Wine base when it is not
 * there yet; any other must be on the engine. Throws a Refusal for a Linux image and for one that is not to be had;
 * with `pull` that is every image but the bases.
 */
export async function lookupBase(context: WineContext, reference: string, pull = false): Promise<Base> {
  // A base is as new as Oriel itself; any other would have to come from a registry, even when it is here.
  if (pull) baseOf(reference)
  let found = await lookUpImage(context, reference)
  if (found === undefined) {
    await materialise(context, reference, baseOf(reference))
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
