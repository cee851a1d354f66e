import { createHash } from 'node:crypto'
import { Fault } from '#lib/fault.ts'

/** Hex digits of the algorithms that registries use: OCI image-spec, descriptor.md, Digests. */
const LENGTHS: Readonly<Record<string, number>> = { sha256: 64, sha384: 96, sha512: 128 }

export interface Digest {
  algorithm: string
  hex: string
}

/** Splits `sha256:…`. Fault 2, in docker's words, for what is no digest; so its parts are safe as names of files. */
export function parseDigest(text: string): Digest {
  const colon = text.indexOf(':')
  const algorithm = text.slice(0, colon)
  const hex = text.slice(colon + 1)
  if (colon <= 0) throw new Fault('invalid checksum digest format', { exitCode: 2 })
  if (!Object.hasOwn(LENGTHS, algorithm)) throw new Fault('unsupported digest algorithm', { exitCode: 2 })
  if (hex.length !== LENGTHS[algorithm]) throw new Fault('invalid checksum digest length', { exitCode: 2 })
  if (!/^[0-9a-f]+$/.test(hex)) throw new Fault('invalid checksum digest format', { exitCode: 2 })
  return { algorithm, hex }
}

/** The digest of bytes, by the algorithm of `like` where one is given. */
export function digestOf(bytes: Uint8Array, like?: string): string {
  const algorithm = like === undefined ? 'sha256' : parseDigest(like).algorithm
  return `${algorithm}:${createHash(algorithm).update(bytes).digest('hex')}`
}

/** The twelve digits that docker shows of a digest or an id. */
export function shortId(digest: string): string {
  return digest.slice(digest.indexOf(':') + 1).slice(0, 12)
}
