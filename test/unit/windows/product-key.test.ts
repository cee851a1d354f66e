import { expect, test } from 'vitest'
import { Fault } from '#lib/fault.ts'
import { productKeyFor } from '#windows/product-key.ts'

const KMS = 'TVRH6-WHNXV-R9WG3-9XRFY-MY832'
const OWN = 'ABCDE-12345-FGHIJ-67890-KLMNO'

test('evaluation media get none', () => {
  expect(productKeyFor({ evaluation: true })).toBeUndefined()
  expect(productKeyFor({ evaluation: true, kmsKey: KMS })).toBeUndefined()
})

test('other media get the person’s, else the public one', () => {
  expect(productKeyFor({ evaluation: false, kmsKey: KMS, own: OWN })).toBe(OWN)
  expect(productKeyFor({ evaluation: false, own: OWN.toLowerCase() })).toBe(OWN)
  expect(productKeyFor({ evaluation: false, kmsKey: KMS })).toBe(KMS)
})

test.each([
  { evaluation: false, kmsKey: KMS, own: '' },
  { evaluation: false, kmsKey: KMS, own: 'ABCDE12345FGHIJ67890KLMNO' },
  { evaluation: false, kmsKey: KMS, own: `${OWN}\n` },
  { evaluation: true, own: OWN },
  { evaluation: false }
])('%j is refused', media => {
  expect(() => productKeyFor(media)).toThrow(Fault)
})

test('the message does not repeat a key', () => {
  expect(() => productKeyFor({ evaluation: true, own: OWN })).toThrow(/^(?![\s\S]*ABCDE)/)
})
