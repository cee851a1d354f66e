import { describe, expect, test } from 'vitest'
import { splitBase } from '#image/registry/base-layers.ts'
import {
  checkWindows,
  chooseWindows,
  type ImageIndex,
  type ImageManifest,
  parseConfig,
  parseManifest
} from '#image/registry/manifest.ts'
import { RegistryFault } from '#image/registry/registry-fault.ts'
import { INDEX, MANIFEST, type SampleLayer, sampleImage, sampleLayer, sha256 } from './sample-image.ts'

const OCI = 'application/vnd.oci.image.manifest.v1+json'
const digest = sha256(Buffer.from('x'))
const config = { mediaType: 'application/vnd.oci.image.config.v1+json', digest, size: 1 }
const layer = { mediaType: 'application/vnd.oci.image.layer.v1.tar+gzip', digest, size: 2 }
const bytes = (value: unknown) => Buffer.from(JSON.stringify(value))

describe('a manifest', () => {
  test('is read whatever the registry says of it, as long as it says nothing else', () => {
    const image = sampleImage([sampleLayer()])
    for (const type of [MANIFEST, '', 'application/json', 'text/plain']) {
      expect(parseManifest(type, image.manifest)).toMatchObject({ kind: 'image', mediaType: MANIFEST })
    }
    // OCI manifests may leave it out.
    expect(parseManifest('', bytes({ schemaVersion: 2, config, layers: [layer] }))).toMatchObject({ mediaType: OCI })
    expect(parseManifest('', bytes({ schemaVersion: 2, manifests: [] }))).toMatchObject({ kind: 'index' })
  })

  const deep = Buffer.from(`{"a":${'['.repeat(5000)}${']'.repeat(5000)}}`)
  test.each<[string, string, Buffer, string]>([
    ['HTML', OCI, Buffer.from('<html>'), 'it is not JSON'],
    ['a list', OCI, bytes([]), 'it is no object'],
    ['a deep one', OCI, deep, 'nested too deeply'],
    [
      'another type',
      'application/x-tar',
      bytes({}),
      'unsupported manifest media type and no default available: application/x-tar'
    ],
    [
      'two types',
      OCI,
      bytes({ schemaVersion: 2, mediaType: MANIFEST }),
      `mediaType in manifest should be '${OCI}' not '${MANIFEST}'`
    ],
    [
      'both at once',
      OCI,
      bytes({ schemaVersion: 2, config, layers: [], manifests: [] }),
      'should not have "manifests"'
    ],
    [
      'an index with layers',
      INDEX,
      bytes({ schemaVersion: 2, manifests: [], layers: [] }),
      'should not have "config" or "layers"'
    ],
    ['schema 1', '', bytes({ schemaVersion: 1, fsLayers: [] }), 'schema 1 support has been removed'],
    ['schema 3', OCI, bytes({ schemaVersion: 3, config, layers: [] }), 'unrecognized manifest schema version 3'],
    ['no config', OCI, bytes({ schemaVersion: 2, layers: [] }), 'a config has no digest'],
    [
      'a plugin',
      OCI,
      bytes({
        schemaVersion: 2,
        config: { ...config, mediaType: 'application/vnd.docker.plugin.v1+json' },
        layers: []
      }),
      'Encountered remote "application/vnd.docker.plugin.v1+json"(plugin) when fetching'
    ],
    [
      'a chart',
      OCI,
      bytes({
        schemaVersion: 2,
        config: { ...config, mediaType: 'application/vnd.cncf.helm.config.v1+json' },
        layers: []
      }),
      '(unknown) when fetching'
    ],
    [
      'a strange layer',
      OCI,
      bytes({ schemaVersion: 2, config, layers: [{ ...layer, mediaType: 'application/vnd.oci.images_are_fun' }] }),
      'unsupported media type application/vnd.oci.images_are_fun'
    ],
    [
      'a path as digest',
      OCI,
      bytes({ schemaVersion: 2, config, layers: [{ ...layer, digest: 'sha256:../../x' }] }),
      'could not validate layer digest'
    ],
    ['a negative size', OCI, bytes({ schemaVersion: 2, config, layers: [{ ...layer, size: -1 }] }), 'has no size'],
    ['a vast size', OCI, bytes({ schemaVersion: 2, config, layers: [{ ...layer, size: 1e300 }] }), 'has no size'],
    ['too many layers', OCI, bytes({ schemaVersion: 2, config, layers: Array(126).fill(layer) }), 'max depth exceeded'],
    [
      'too many urls',
      OCI,
      bytes({ schemaVersion: 2, config, layers: [{ ...layer, urls: Array(21).fill('') }] }),
      '21 urls'
    ]
  ])('%s is refused', (_what, type, content, message) => {
    const error = catching(() => parseManifest(type, content))
    expect(error).toBeInstanceOf(RegistryFault)
    expect(String(error)).toContain(message)
  })
})

describe('of an index', () => {
  const entry = (version: string | undefined, more: object = {}) => ({
    ...layer,
    mediaType: MANIFEST,
    digest: sha256(Buffer.from(`${version}${JSON.stringify(more)}`)),
    platform: { os: 'windows', architecture: 'amd64', 'os.version': version, ...more }
  })
  const indexOf = (...manifests: object[]) =>
    parseManifest(INDEX, bytes({ schemaVersion: 2, mediaType: INDEX, manifests })) as ImageIndex
  const linux = entry(undefined, { os: 'linux' })

  test.each<[string, number, number | undefined, string]>([
    ['the same build', 20348, undefined, '10.0.20348.2'],
    ['the newest that is not too new', 26000, undefined, '10.0.25398.1'],
    ['the preferred build', 26100, 17763, '10.0.17763.9'],
    ['the newest before the preferred build, if that is not there', 26100, 25000, '10.0.20348.2'],
    ['the next newer one, if all are newer than the preferred build', 26100, 14393, '10.0.17763.9']
  ])('is taken %s', (_what, maxBuild, preferBuild, version) => {
    const versions = ['10.0.17763.9', '10.0.20348.1', '10.0.20348.2', '10.0.26100.1', '10.0.25398.1']
    const index = indexOf(linux, ...versions.map(each => entry(each)))
    const choice = { maxBuild, ...(preferBuild === undefined ? {} : { preferBuild }) }
    expect(chooseWindows(index, choice).digest).toBe(entry(version).digest)
  })

  test('one that does not tell its version comes last', () => {
    const index = indexOf(entry(undefined), entry('10.0.14393.1'))
    expect(chooseWindows(index, { maxBuild: 20348 }).digest).toBe(entry('10.0.14393.1').digest)
    expect(chooseWindows(indexOf(entry(undefined)), { maxBuild: 20348 }).digest).toBe(entry(undefined).digest)
  })

  test.each([
    ['nothing', []],
    ['linux only', [linux]],
    ['arm64 only', [entry('10.0.20348.1', { architecture: 'arm64' })]],
    ['newer ones only', [entry('10.0.26100.1')]],
    ['no platform', [{ ...layer, mediaType: MANIFEST }]]
  ])('with %s, docker says so', (_what, manifests) => {
    expect(() => chooseWindows(indexOf(...manifests), { maxBuild: 20348 })).toThrow(
      'no matching manifest for windows/amd64 10.0.20348 in the manifest list entries'
    )
  })
})

describe('an image without an index', () => {
  const checked = (more: object) => () => checkWindows(parseConfig(sampleImage([], more).config), 20348)
  test('is for Windows, for amd64 and not too new', () => {
    expect(checked({})).not.toThrow()
    expect(checked({ os: 'linux' })).toThrow(
      'cannot download image with operating system "linux" when requesting "windows"'
    )
    expect(checked({ 'os.version': '10.0.26100.1' })).toThrow(
      'a Windows version 10.0.26100-based image is incompatible with a 10.0.20348 host'
    )
    expect(checked({ architecture: 'arm64' })).toThrow('actual: windows/arm64')
    expect(checked({ rootfs: undefined })).toThrow('invalid rootfs in image configuration')
  })
})

describe('the base', () => {
  const foreign = 'application/vnd.docker.image.rootfs.foreign.diff.tar.gzip'
  const step = (createdBy: string) => sampleLayer(10, createdBy)
  const urls = (host: string, mediaType = foreign): SampleLayer => {
    const made = sampleLayer(10, 'x')
    return { ...made, descriptor: { ...made.descriptor, mediaType, urls: [`https://${host}/v2/windows/blobs/x`] } }
  }
  const own = sampleLayer(10)
  const split = (layers: SampleLayer[], more: object = {}) => {
    const image = sampleImage(layers, more)
    return splitBase(parseManifest('', image.manifest) as ImageManifest, parseConfig(image.config))
  }

  test.each<[string, SampleLayer[], number]>([
    ['Server Core by history', [step('Apply image 10.0.20348.1787'), step('Install update 10.0.20348.2227'), own], 2],
    ['old Server Core by history', [step('Apply image 1607-RTM-amd64'), step('Install update ltsc2016-amd64'), own], 2],
    ['Nano Server by history', [step('Apply image 10.0.17763.3650'), own, own], 1],
    ['by foreign layers', [urls('mcr.microsoft.com'), urls('go.microsoft.com'), own], 2],
    [
      'by OCI foreign layers',
      [urls('mcr.microsoft.com', 'application/vnd.oci.image.layer.nondistributable.v1.tar+gzip'), own],
      1
    ],
    ['by layers without anything on them', [urls('mcr.microsoft.com')], 1],
    ['none without layers', [], 0],
    ['none of an image without one', [own, sampleLayer(10, 'RUN cmd /c Apply image 10.0.1.2')], 0],
    ['none by a history that only begins like it', [step('Apply image 10.0.20348.1 && evil'), own], 0],
    ['none by an update alone', [step('Install update 10.0.20348.2227'), own], 0],
    ['none above a layer of its own', [own, step('Apply image 10.0.20348.1787')], 0],
    ['none by somebody else’s foreign layers', [urls('example.com'), own], 0],
    ['none by a host that ends alike', [urls('notmicrosoft.com'), own], 0],
    [
      'none by URLs in an ordinary layer',
      [urls('mcr.microsoft.com', 'application/vnd.docker.image.rootfs.diff.tar.gzip'), own],
      0
    ]
  ])('%s', (_what, layers, height) => {
    const { base, own: rest, osVersion } = split(layers)
    expect(base.map(({ digest }) => digest)).toEqual(layers.slice(0, height).map(({ descriptor }) => descriptor.digest))
    expect(rest).toEqual(layers.slice(height).map(({ descriptor, diffId }) => ({ descriptor, diffId })))
    expect(osVersion).toBe('10.0.20348.1487')
  })

  test('is known by its digest without history', () => {
    const made = sampleLayer(10)
    const known = 'sha256:3889bb8d808bbae6fa5a33e07093e65c31371bcf9e4c38c21be6b9af52ad1548'
    const layers = [{ ...made, descriptor: { ...made.descriptor, digest: known } }, own]
    expect(split(layers, { history: [] }).base).toHaveLength(1)
  })

  test('is not told by a history that has not one step for each layer', () => {
    const history = [{ created_by: 'Apply image 10.0.20348.1787' }]
    expect(split([own, sampleLayer(10)], { history }).base).toEqual([])
  })

  test('cannot be told when config and manifest do not belong together', () => {
    const more = { rootfs: { type: 'layers', diff_ids: [own.diffId] } }
    expect(() => split([own, own], more)).toThrow("layers from manifest don't match image configuration")
  })
})

function catching(work: () => unknown): unknown {
  try {
    return work()
  } catch (error) {
    return error
  }
}
