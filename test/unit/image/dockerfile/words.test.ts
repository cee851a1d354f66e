import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { baseImage, type KnownBase, knownBase } from '#image/bases.ts'
import { translate } from '#image/dockerfile/translate.ts'

// Recorded from dockerd 20.10.24: what its classic builder says to each of these. `null`: it takes it.
const cases = JSON.parse(readFileSync(new URL('../../../fixtures/dockerfile-words.json', import.meta.url), 'utf8')) as {
  dockerfile: string
  message: string | null
}[]

const image = baseImage(knownBase('windowsservercore') as KnownBase)

test.each(cases)('says what Docker says to $dockerfile', async ({ dockerfile, message }) => {
  const translated = translate(dockerfile, { lookup: async reference => ({ reference, image }) })
  if (message === null) await expect(translated).resolves.toBeDefined()
  else await expect(translated).rejects.toThrow(expect.objectContaining({ message }))
})
