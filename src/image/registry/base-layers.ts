import type { Descriptor, ImageConfig, ImageManifest } from './manifest.ts'
import { RegistryFault } from './registry-fault.ts'

/** A layer that lies on Microsoft's base. */
export interface OwnLayer {
  descriptor: Descriptor
  /** The digest of its tar. */
  diffId: string
}

export interface SplitImage {
  /** Microsoft's layers, the lowest first. They are never fetched. */
  base: readonly Descriptor[]
  own: readonly OwnLayer[]
  /** `10.0.20348.1487`; empty where the image does not tell. */
  osVersion: string
}

const FOREIGN =
  /^application\/vnd\.(docker\.image\.rootfs\.foreign\.diff\.tar|oci\.image\.layer\.nondistributable\.v1\.tar)([.+](gzip|zstd))?$/

/**
 * Lowest layers of Microsoft's images, from the public lists of docker-library/repo-info, where they have the foreign media
 * type. They are known even if somebody has pushed them as layers of his own and has rewritten the history.
 */
const KNOWN = new Set([
  // Nano Server 2016
  'sha256:bce2fbc256ea437a87dadac2f69aabd25bed4f56255549090056c1131fad0277',
  'sha256:5b557cd80a9856d964887c4ea407b85fca10ce6aaa539984be9dd3570c60fd66',
  // Nano Server 1809
  'sha256:d555a7e4de4dd775379d5c43c1419374bff7908670dc7444be5e8e8f386f3d26',
  // Server Core 2016
  'sha256:3889bb8d808bbae6fa5a33e07093e65c31371bcf9e4c38c21be6b9af52ad1548',
  'sha256:ce1cc4db99bfa306954ff239d7727b2b0245bd5ec8b5f9dc7bbe899ad1332872',
  'sha256:846a2223e9e7a88a2a07d706553f144d380483d72fb9f0697c4fcd71773a8693',
  'sha256:17a32268498b2feefa5457f0423ac15473596d514e48c694ef54d740a9a5067d',
  // Server Core 1809
  'sha256:4612f6d0b889cad0ed0292fae3a0b0c8a9e49aff6dea8eb049b2386d9b07986f',
  'sha256:f143c6fed32d477c35b660b2e108ea62e3593c03e44bd9ced208ce52b26b0841',
  'sha256:c67ded6868b61d392a0c096f911563fd6bc0bc3ed4fe401d077b3718a1b0cdaf',
  'sha256:b111c3320c949bea81612bf4554f1b6592c2f504920b5bf57ba340a1d4d52c93',
  'sha256:fc6ae6c5aa2b4920ae68469c5e7e7c3a3c85e5eaafc24660e7b3adb21d6fce77'
])

/** What Microsoft's tools write for the two layers of a base: `Apply image 10.0.20348.1787`, `Install update ltsc2019-amd64`. */
const VERSION = '(?:\\d+(?:\\.\\d+)+|[\\w.-]+-(?:amd64|arm64))'
const LOWEST = new RegExp(`^Apply image ${VERSION}$`)
const UPDATE = new RegExp(`^Install update ${VERSION}$`)

/**
 * Tells Microsoft's layers from those on top of them. They are the lowest ones, and are known by a foreign media type with
 * URLs of Microsoft, by the history that Microsoft's tools write, or by their digests. RegistryFault, in docker's words, when
 * manifest and config do not belong together.
 */
export function splitBase(manifest: ImageManifest, config: ImageConfig): SplitImage {
  const { layers } = manifest
  if (layers.length !== config.diffIds.length) {
    throw new RegistryFault("layers from manifest don't match image configuration", { status: 400 })
  }
  const steps = config.history.filter(({ emptyLayer }) => !emptyLayer)
  // A history that has not one step for each layer tells nothing of any of them.
  const told = steps.length === layers.length ? steps : []
  let height = 0
  for (const [at, layer] of layers.entries()) {
    const step = told[at]?.createdBy ?? ''
    const written = at === 0 ? LOWEST.test(step) : UPDATE.test(step)
    if (!written && !isMicrosofts(layer) && !KNOWN.has(layer.digest)) break
    height = at + 1
  }
  return {
    base: layers.slice(0, height),
    own: layers.slice(height).map((descriptor, at) => ({ descriptor, diffId: config.diffIds[height + at] ?? '' })),
    osVersion: config.osVersion
  }
}

/** A foreign layer, every URL of which is Microsoft's. */
function isMicrosofts({ mediaType, urls = [] }: Descriptor): boolean {
  return (
    isForeign(mediaType) &&
    urls.length > 0 &&
    urls.every(url => /^https?:\/\/([\w-]+\.)*microsoft\.com(:443)?\//i.test(url))
  )
}

/** Whether a layer is one that others than the registry have: docker's foreign, OCI's non-distributable ones. */
export function isForeign(mediaType: string): boolean {
  return FOREIGN.test(mediaType)
}
