import { Fault } from '#lib/fault.ts'

/** Five groups of five letters and digits, as Microsoft prints them. */
export const PRODUCT_KEY = /^[A-Z0-9]{5}(-[A-Z0-9]{5}){4}$/

/**
 * The key that Windows Setup is to be given, or undefined when it must get none. Evaluation media take none at all, not even
 * their own edition's; other media take the person's, else the public one for clients of a key management service, which
 * chooses the edition and does not activate it.
 * Fault 2 for a key that is none, a key with evaluation media, and other media without a key.
 */
export function productKeyFor(media: { evaluation: boolean; kmsKey?: string; own?: string }): string | undefined {
  const { evaluation, kmsKey, own } = media
  if (own !== undefined && !PRODUCT_KEY.test(own.toUpperCase())) {
    throw new Fault('the product key is not valid: it must be five groups of five letters and digits.', {
      hint: 'For example: XXXXX-XXXXX-XXXXX-XXXXX-XXXXX',
      exitCode: 2
    })
  }
  if (evaluation) {
    if (own === undefined) return undefined
    throw new Fault('this is an evaluation disc, and Windows Setup takes no product key with it.', {
      hint: 'Leave out the key, or give the disc that belongs to it.',
      exitCode: 2
    })
  }
  const key = own?.toUpperCase() ?? kmsKey
  if (key === undefined) {
    throw new Fault('this disc is no evaluation, and no product key is known for its edition.', {
      hint: 'Give the product key that belongs to the disc.',
      exitCode: 2
    })
  }
  return key
}
