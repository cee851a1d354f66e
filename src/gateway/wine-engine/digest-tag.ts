import { splitReference } from '#image/bases.ts'

/**
 * The digest under which a registry gave an image is kept as one more tag of its repository: the engine keeps digests only of
 * what it pulled itself, and so it is still the only one that knows what is called how.
 */
const PREFIX = 'oriel-sha256-'
const TAG = /^oriel-sha256-([0-9a-f]{64})$/

/** The tag on the engine for `repo@sha256:…`; undefined for a digest that no tag has room for, and a reference without one. */
export function digestTag(reference: string): string | undefined {
  const { repository, digest = '' } = splitReference(reference)
  const hex = /^sha256:([0-9a-f]{64})$/.exec(digest)?.[1]
  return hex === undefined ? undefined : `${repository}:${PREFIX}${hex}`
}

/** `repo@sha256:…` for such a tag; undefined for all others. */
export function digestOfTag(reference: string): string | undefined {
  const { repository, tag = '' } = splitReference(reference)
  const hex = TAG.exec(tag)?.[1]
  return hex === undefined ? undefined : `${repository}@sha256:${hex}`
}
