import { createReadStream, mkdtempSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { BlobStore } from '#image/registry/blob-store.ts'
import { RegistryClient, type RegistryOptions } from '#image/registry/client.ts'
import { shortId } from '#image/registry/digest.ts'
import { fetchImage, type TransferEvent } from '#image/registry/pull.ts'
import { type PushedImage, pushImage } from '#image/registry/push.ts'
import { parseReference } from '#image/registry/reference.ts'
import { LOGIN, type RealRegistry, startRegistry } from '../../../support/docker-registry.ts'
import { temporaryFolder } from '../../../support/installation-disc.ts'
import { INDEX, type SampleImage, sampleImage, sampleIndex, sampleLayer, sha256 } from './sample-image.ts'

const { path: root, remove } = temporaryFolder()
const signal = new AbortController().signal
const clients: RegistryClient[] = []

// Debian has the registry as a package; on a Mac there is none.
describe.skipIf(process.platform !== 'linux')('docker-registry', () => {
  let registry: RealRegistry
  let guarded: RealRegistry
  beforeAll(async () => {
    registry = await startRegistry(join(root, 'open'))
    guarded = await startRegistry(join(root, 'guarded'), { password: true })
  })
  afterAll(async () => {
    await Promise.all(clients.map(client => client.close()))
    await Promise.all([registry?.stop(), guarded?.stop()])
    remove()
  })

  const clientOf = (host: string, more: Partial<RegistryOptions> = {}) => {
    const options = { insecure: [], mirrors: [], env: {}, signal, retryMs: 10, ...more }
    const client = new RegistryClient(host, options)
    clients.push(client)
    return client
  }
  const newStore = () => new BlobStore(mkdtempSync(join(root, 'store-')))

  const pushed = (image: SampleImage): PushedImage => ({
    mediaType: image.mediaType,
    manifest: image.manifest,
    config: { descriptor: image.configDescriptor, bytes: image.config },
    layers: image.layers.map(({ bytes, descriptor, diffId }) => ({
      descriptor,
      diffId,
      open: () => Readable.from([bytes], { objectMode: false })
    }))
  })

  async function push(host: string, name: string, image: PushedImage, more: Partial<RegistryOptions> = {}) {
    const events: TransferEvent[] = []
    const progress = (event: TransferEvent) => events.push(event)
    const result = await pushImage(parseReference(`${host}/${name}`), clientOf(host, more), image, { progress, signal })
    return { result, events }
  }

  async function pull(host: string, name: string, store = newStore(), more: Partial<RegistryOptions> = {}) {
    const events: TransferEvent[] = []
    const options = { maxBuild: 20348, progress: (event: TransferEvent) => events.push(event), signal }
    const image = await fetchImage(parseReference(`${host}/${name}`), clientOf(host, more), store, options)
    return { image, events, store }
  }

  const words = (events: TransferEvent[], id: string) =>
    events.filter(event => event.id === shortId(id)).map(({ status }) => status)

  test('gives back what it got, byte for byte, and docker’s own lines', async () => {
    const sample = sampleImage([5_000_000, 300, 200_000, 10, 0].map(size => sampleLayer(size)))
    const { result, events } = await push(registry.host, 'team/app:1', pushed(sample))
    expect(result).toEqual({ tag: '1', digest: sample.digest, size: sample.manifest.length })
    expect(events[0]).toEqual({ id: '', status: `The push refers to repository [${registry.host}/team/app]` })
    expect(events.at(-1)?.status).toBe(`1: digest: ${sample.digest} size: ${sample.manifest.length}`)
    for (const { diffId } of sample.layers) {
      const said = words(events, diffId)
      expect([said[0], said.at(-1)]).toEqual(['Preparing', 'Pushed'])
    }

    const pulled = await pull(registry.host, 'team/app:1')
    expect(pulled.image).toMatchObject({ manifestDigest: sample.digest, repoDigest: sample.digest, base: [] })
    expect(pulled.image.manifestBytes.equals(sample.manifest)).toBe(true)
    expect(pulled.image.config.bytes.equals(sample.config)).toBe(true)
    expect(pulled.image.config.digest).toBe(sha256(sample.config))
    for (const { descriptor, bytes } of sample.layers) {
      expect((await pulled.store.read(descriptor.digest, 10_000_000)).equals(bytes)).toBe(true)
      const said = words(pulled.events, descriptor.digest).filter((word, at, all) => word !== all[at - 1])
      const late = sample.layers.findIndex(layer => layer.descriptor === descriptor) >= 3
      expect(said).toEqual([
        'Pulling fs layer',
        ...(late ? ['Waiting'] : []),
        'Downloading',
        'Verifying Checksum',
        'Download complete'
      ])
    }
    expect(pulled.events[0]).toEqual({ id: '1', status: `Pulling from ${registry.host}/team/app` })
    // All of it is in the store, and nothing else.
    const blobs: string[] = []
    for await (const { digest } of pulled.store.list()) blobs.push(digest)
    const all = [...sample.layers.map(({ descriptor }) => descriptor.digest), sample.digest, sha256(sample.config)]
    expect(blobs.sort()).toEqual(all.sort())

    const again = await pull(registry.host, `team/app@${sample.digest}`, pulled.store)
    for (const { descriptor } of sample.layers) {
      expect(words(again.events, descriptor.digest)).toEqual(['Already exists'])
    }
  })

  test('is not sent what it has, nor what another repository of it has', async () => {
    const sample = sampleImage([sampleLayer(5000), sampleLayer(5000)])
    await push(registry.host, 'one/app:1', pushed(sample))
    const again = await push(registry.host, 'one/app:2', pushed(sample))
    expect(words(again.events, sample.layers[0]?.diffId ?? '')).toEqual(['Preparing', 'Layer already exists'])

    // Nobody has the bytes: they can only have been mounted.
    const layers = sample.layers.map(({ descriptor, diffId }) => ({ descriptor, diffId, mountFrom: 'one/app' }))
    const mounted = await push(registry.host, 'two/app:1', { ...pushed(sample), layers })
    expect(words(mounted.events, sample.layers[0]?.diffId ?? '')).toEqual(['Preparing', 'Mounted from one/app'])
    expect((await pull(registry.host, 'two/app:1')).image.manifestDigest).toBe(sample.digest)

    const without = sample.layers.map(({ descriptor, diffId }) => ({ descriptor, diffId }))
    await expect(push(registry.host, 'three/app:1', { ...pushed(sample), layers: without })).rejects.toThrow(
      'is not in three/app, and it was never fetched'
    )
  })

  test('gives the image of an index that fits, without its base', async () => {
    const base = ['Apply image 10.0.20348.1787', 'Install update 10.0.20348.2227'].map(step => sampleLayer(100, step))
    const image = sampleImage([...base, sampleLayer(1000)])
    const newer = sampleImage([sampleLayer(10)], { 'os.version': '10.0.26100.1' })
    const linux = sampleImage([sampleLayer(10)], { os: 'linux' })
    for (const each of [image, newer, linux]) await push(registry.host, 'multi/app:x', pushed(each))
    const platform = { os: 'windows', architecture: 'amd64' }
    const index = sampleIndex([
      { image: linux, platform: { os: 'linux', architecture: 'amd64' } },
      { image: newer, platform: { ...platform, 'os.version': '10.0.26100.1' } },
      { image, platform: { ...platform, 'os.version': '10.0.20348.1487' } }
    ])
    await clientOf(registry.host).pushManifest('multi/app', 'latest', INDEX, index)

    const pulled = await pull(registry.host, 'multi/app')
    expect(pulled.image).toMatchObject({ manifestDigest: image.digest, repoDigest: sha256(index) })
    expect(pulled.image.base.map(({ digest }) => digest)).toEqual(base.map(({ descriptor }) => descriptor.digest))
    for (const { descriptor } of base) {
      expect(words(pulled.events, descriptor.digest)).toEqual(['Already exists'])
      expect(await pulled.store.has(descriptor.digest)).toBe(false)
    }
    expect(await pulled.store.has(sha256(index))).toBe(true)

    const linuxOnly = sampleIndex([{ image: linux, platform: { os: 'linux', architecture: 'amd64' } }])
    await clientOf(registry.host).pushManifest('multi/app', 'linux', INDEX, linuxOnly)
    await expect(pull(registry.host, 'multi/app:linux')).rejects.toThrow(
      'no matching manifest for windows/amd64 10.0.20348 in the manifest list entries'
    )
    await expect(pull(registry.host, `multi/app@${linux.digest}`)).rejects.toThrow(
      'cannot download image with operating system "linux" when requesting "windows"'
    )
  })

  test('says in docker’s words what it has not', async () => {
    const image = pushed(sampleImage([]))
    await push(registry.host, 'some/app:1', image)
    const { host } = registry
    await expect(pull(host, 'some/app:2')).rejects.toMatchObject({
      message: `manifest for ${host}/some/app:2 not found: manifest unknown: manifest unknown`,
      status: 404
    })
    await expect(pull(host, 'no/app')).rejects.toThrow(`manifest for ${host}/no/app:latest not found: manifest unknown`)
    const lost = { ...image, layers: [], manifest: sampleImage([sampleLayer()]).manifest }
    await expect(push(host, 'some/app:3', lost)).rejects.toThrow('blob unknown')
  })

  test('with a password is spoken to with the password only', async () => {
    const sample = sampleImage([sampleLayer(100_000)])
    const { host } = guarded
    await push(host, 'a/b:1', pushed(sample), { auth: LOGIN })
    expect((await pull(host, 'a/b:1', newStore(), { auth: LOGIN })).image.manifestDigest).toBe(sample.digest)
    await expect(pull(host, 'a/b:1')).rejects.toThrow('no basic auth credentials')
    const wrong = { username: 'me', password: 'not-this-one' }
    const refused = await pull(host, 'a/b:1', newStore(), { auth: wrong }).catch((error: unknown) => error)
    expect(refused).toMatchObject({ message: 'unauthorized: authentication required', status: 401 })
    await expect(push(host, 'a/b:2', pushed(sample), { auth: wrong })).rejects.toThrow('unauthorized')
  })

  test('takes a blob from a file, and refuses one that is not what it is called', async () => {
    const { bytes, descriptor } = sampleLayer(3_000_000)
    const file = join(root, 'layer')
    writeFileSync(file, bytes)
    const client = clientOf(registry.host)
    expect(await client.pushBlob('from/file', descriptor, () => createReadStream(file))).toBe('uploaded')
    expect(await client.pushBlob('from/file', descriptor, () => createReadStream(file))).toBe('exists')
    const other = { digest: sha256(Buffer.from('other')), size: descriptor.size }
    await expect(client.pushBlob('from/file', other, () => createReadStream(file))).rejects.toThrow('digest invalid')
    await expect(client.pushBlob('from/file', { ...other, size: 10 }, () => createReadStream(file))).rejects.toThrow(
      'longer or shorter'
    )
    expect(await client.hasBlob('from/file', other.digest)).toBe(false)
  })

  test('gives the rest of a blob', async () => {
    const { bytes, descriptor } = sampleLayer(100_000)
    const client = clientOf(registry.host)
    await client.pushBlob('a/rest', descriptor, () => Readable.from([bytes], { objectMode: false }))
    const chunks: Buffer[] = []
    for await (const chunk of await client.blob('a/rest', descriptor, 70_000)) chunks.push(chunk as Buffer)
    expect(Buffer.concat(chunks).equals(bytes.subarray(70_000))).toBe(true)
  })
})
