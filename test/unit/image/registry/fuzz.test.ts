import { mkdtempSync, readdirSync } from 'node:fs'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { windowsHistory } from '#gateway/wine-engine/image-history.ts'
import { windowsInspect, windowsSummary } from '#gateway/wine-engine/image-views.ts'
import { originalImage } from '#image/origin.ts'
import { splitBase } from '#image/registry/base-layers.ts'
import { BlobStore } from '#image/registry/blob-store.ts'
import { RegistryClient } from '#image/registry/client.ts'
import { chooseWindows, parseConfig, parseManifest } from '#image/registry/manifest.ts'
import { fetchImage } from '#image/registry/pull.ts'
import { parseReference } from '#image/registry/reference.ts'
import { IMAGE_LABEL } from '#image/windows-config.ts'
import { Fault } from '#lib/fault.ts'
import { serve } from '../../../support/file-server.ts'
import { temporaryFolder } from '../../../support/installation-disc.ts'
import { mutatedJson } from '../../../support/mutate-json.ts'
import { Random } from '../../../support/random.ts'
import { sampleImage, sampleIndex, sampleLayer, sha256 } from './sample-image.ts'

const { path: root, remove } = temporaryFolder()
afterAll(remove)

const layers = [sampleLayer(300, 'Apply image 10.0.20348.1'), sampleLayer(200), sampleLayer(100)]
const image = sampleImage(layers, {
  config: {
    Cmd: ['a', 'b'],
    Env: ['A=b'],
    Labels: { a: 'b' },
    ExposedPorts: { '80/tcp': {} },
    Healthcheck: { Test: ['CMD', 'a'], Interval: 1e9 },
    OnBuild: ['RUN a'],
    User: 'ContainerUser'
  }
})
const windows = { os: 'windows', architecture: 'amd64', 'os.version': '10.0.20348.1487' }
const index = sampleIndex([
  { image, platform: windows },
  { image, platform: { os: 'linux', architecture: 'amd64' } }
])
const [manifestJson, indexJson, configJson] = [image.manifest, index, image.config].map(bytes =>
  JSON.parse(bytes.toString('utf8'))
)

/** Fails, with what makes it happen again, for anything but a Fault that says something. */
function expectFault(error: unknown, how: string): void {
  if (error instanceof Fault && error.message !== '') return
  throw new Error(`${how}: ${error instanceof Error ? error.stack : String(error)}`, { cause: error })
}

/** What clients would see of an image with such a config. */
function look(bytes: Buffer): void {
  const config = parseConfig(bytes)
  const origin = { id: sha256(bytes), manifest: image.digest, config: bytes.toString('utf8') }
  const made = originalImage(config, origin, [])
  const inspect = { Id: sha256(bytes), Config: { Labels: { [IMAGE_LABEL]: JSON.stringify(made) } } }
  JSON.stringify(windowsInspect({ name: 'a', inspect, windows: made }, '1.41'))
  JSON.stringify(windowsSummary({ ...inspect, Labels: inspect.Config.Labels, RepoTags: null }))
  JSON.stringify(windowsHistory([{ CreatedBy: '/oriel/init layer', Size: 1 }, { CreatedBy: 'base' }], made))
}

test('manifests, indexes and configs of any kind are read, or refused in words', () => {
  let refused = 0
  const rounds = 2500
  for (let seed = 1; seed <= rounds; seed++) {
    const random = new Random(seed)
    const kind = random.pick(['manifest', 'index', 'config'] as const)
    const bytes = Buffer.from(
      mutatedJson({ manifest: manifestJson, index: indexJson, config: configJson }[kind], random)
    )
    try {
      if (kind === 'config') {
        splitBase(parseManifest('', image.manifest) as never, parseConfig(bytes))
        look(bytes)
      } else {
        const parsed = parseManifest(random.pick(['', 'application/json', image.mediaType]), bytes)
        if (parsed.kind === 'index') chooseWindows(parsed, { maxBuild: 20348 })
        else splitBase(parsed, parseConfig(image.config))
      }
    } catch (error) {
      expectFault(error, `seed ${seed}, ${kind} ${bytes.toString('utf8').slice(0, 2000)}`)
      refused += 1
    }
  }
  // Both ways are gone, or this tries nothing.
  expect(refused).toBeGreaterThan(rounds / 4)
  expect(refused).toBeLessThan(rounds * 0.95)
})

/** What a registry says in one round: changed here and there, and most of the time with digests and sizes that fit again. */
function answersOf(random: Random): (path: string) => { type: string; bytes: Buffer } {
  const config = random.chance(50) ? Buffer.from(mutatedJson(configJson, random)) : image.config
  const fit = random.chance(85)
  const described = fit
    ? { ...image.configDescriptor, digest: sha256(config), size: config.length }
    : image.configDescriptor
  const plain = { ...manifestJson, config: described }
  const manifest = Buffer.from(random.chance(50) ? mutatedJson(plain, random) : JSON.stringify(plain))
  const entry = { mediaType: image.mediaType, digest: sha256(manifest), size: manifest.length, platform: windows }
  const list = { ...indexJson, manifests: [entry, ...indexJson.manifests.slice(1)] }
  const indexed = random.chance(40)
  const top = indexed ? Buffer.from(random.chance(50) ? mutatedJson(list, random) : JSON.stringify(list)) : manifest
  const type = random.chance(80) ? '' : random.pick([image.mediaType, 'text/plain', 'application/json', '; x'])
  const token = Buffer.from(mutatedJson({ token: 'abc', access_token: 'abc', expires_in: 60 }, random))
  return path => {
    if (path === '/token') return { type: 'application/json', bytes: token }
    if (path.includes('/manifests/sha256:')) return { type, bytes: manifest }
    if (path.includes('/manifests/')) return { type: type || (indexed ? list.mediaType : image.mediaType), bytes: top }
    const digest = path.split('/').at(-1)
    if (digest === described.digest) return { type: '', bytes: config }
    const layer = layers.find(({ descriptor }) => descriptor.digest === digest)
    return {
      type: '',
      bytes: layer?.bytes ?? Buffer.from(mutatedJson({ errors: [{ code: 'A', message: 'b' }] }, random))
    }
  }
}

test('a pull from a registry that says anything ends with an image or with words, and writes nothing elsewhere', async () => {
  let answers = answersOf(new Random(0))
  let asksToken = false
  let host = ''
  const registry = await serve((request: IncomingMessage, response: ServerResponse) => {
    const path = (request.url ?? '').split('?')[0] ?? ''
    if (asksToken && path !== '/token' && request.headers.authorization === undefined) {
      response.writeHead(401, { 'www-authenticate': `Bearer realm="http://${host}/token",service="x"` }).end()
      return
    }
    const { type, bytes } = answers(path)
    response.writeHead(bytes.length > 0 || path === '/v2/' ? 200 : 404, {
      'content-length': bytes.length,
      'content-type': type
    })
    response.end(bytes)
  })
  host = `127.0.0.1:${registry.port}`
  const folder = mkdtempSync(join(root, 'pull-'))
  let pulled = 0
  const rounds = 100
  try {
    for (let seed = 1; seed <= rounds; seed++) {
      const random = new Random(seed)
      answers = answersOf(random)
      asksToken = random.chance(10)
      const { signal } = new AbortController()
      const client = new RegistryClient(host, { insecure: [], mirrors: [], env: {}, signal, retryMs: 0 })
      try {
        const options = { maxBuild: 20348, progress: () => undefined, signal }
        const store = new BlobStore(join(folder, String(seed % 10)))
        const { config } = await fetchImage(parseReference(`${host}/a/b:1`), client, store, options)
        look(config.bytes)
        pulled += 1
      } catch (error) {
        expectFault(error, `seed ${seed}`)
      } finally {
        await client.close()
      }
    }
  } finally {
    await registry.close()
  }
  expect(pulled).toBeGreaterThan(rounds / 10)
  expect(pulled).toBeLessThan(rounds * 0.8)
  const files = readdirSync(root, { recursive: true, withFileTypes: true }).filter(entry => entry.isFile())
  expect(files.length).toBeGreaterThan(3)
  for (const { parentPath, name } of files) {
    expect(join(parentPath, name).slice(folder.length)).toMatch(/^\/\d\/(blobs|parts)\/sha(256|384|512)\/[0-9a-f]+$/)
  }
}, 30_000)
