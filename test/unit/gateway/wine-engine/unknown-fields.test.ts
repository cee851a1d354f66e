import { describe, expect, test } from 'vitest'
import { windowsUsage } from '#gateway/wine-engine/df.ts'
import { windowsInspect, windowsSummary } from '#gateway/wine-engine/image-views.ts'
import type { Json } from '#gateway/wine-engine/json.ts'
import { windowsNetwork } from '#gateway/wine-engine/network-names.ts'
import { windowsInfo, windowsVersion } from '#gateway/wine-engine/system.ts'
import { windowsVolume } from '#gateway/wine-engine/volumes.ts'
import { baseImage, type KnownBase, knownBase } from '#image/bases.ts'

const windows = baseImage(knownBase('nanoserver') as KnownBase)

const patchers: Record<string, (json: Json) => Json> = {
  version: windowsVersion,
  info: json => windowsInfo(json, { machine: 'm1', states: [], images: 0 }),
  summary: windowsSummary,
  image: json => windowsInspect({ inspect: json, windows, name: 'a' }, '1.41'),
  volume: windowsVolume,
  network: json => windowsNetwork(json, new Set()),
  usage: json => windowsUsage(json, 'm1', [])
}

/** Numbers from a seed, so that a failure can be seen again. */
function random(seed: number): () => number {
  let state = seed
  return () => {
    state = (state * 1_103_515_245 + 12_345) % 2_147_483_648
    return state / 2_147_483_648
  }
}

function anything(next: () => number, depth = 0): unknown {
  const kind = Math.floor(next() * (depth > 2 ? 5 : 7))
  const values: (() => unknown)[] = [
    () => null,
    () => next() > 0.5,
    () => Math.floor(next() * 1e9),
    () => String.fromCharCode(...Array.from({ length: 5 }, () => 32 + Math.floor(next() * 900))),
    () => '',
    () => Array.from({ length: Math.floor(next() * 4) }, () => anything(next, depth + 1)),
    () =>
      Object.fromEntries(
        Array.from({ length: Math.floor(next() * 4) }, (_, at) => [`k${at}`, anything(next, depth + 1)])
      )
  ]
  return values[kind]?.()
}

// Fields that the patchers read, given values of any type: an engine of the future or a broken one must not break them.
const read = [
  'Components',
  'Config',
  'Containers',
  'Images',
  'IPAM',
  'Labels',
  'Options',
  'Platform',
  'Plugins',
  'RepoTags',
  'Volumes'
]

describe.each(Object.entries(patchers))('%s', (_name, patch) => {
  test.each(Array.from({ length: 40 }, (_, seed) => seed + 1))('keeps what it does not know (seed %i)', seed => {
    const next = random(seed)
    const unknown = Object.fromEntries(Array.from({ length: 6 }, (_, at) => [`Unknown${at}`, anything(next)]))
    const known = Object.fromEntries(read.filter(() => next() > 0.5).map(name => [name, anything(next)]))
    expect(patch({ ...known, ...unknown })).toMatchObject(unknown)
  })
})
