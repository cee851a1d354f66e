import { randomBytes } from 'node:crypto'
import { mkdtempSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { run } from '../support/command.ts'
import { type RealRegistry, startRegistry } from '../support/docker-registry.ts'
import { temporaryFolder } from '../support/installation-disc.ts'
import { useMachine } from '../support/oriel.ts'
import {
  microsoftLayers,
  publish,
  registryClient,
  sha256,
  type TestImage,
  type TestLayer,
  windowsImage,
  windowsLayer
} from '../support/windows-image.ts'

const { path: folder, remove } = temporaryFolder()
const windows = useMachine('registry-index')
const INDEX = 'application/vnd.docker.distribution.manifest.list.v2+json'
const BUILDS = ['10.0.17763.6893', '10.0.20348.3091', '10.0.26100.2894', '10.0.99999.1']

let registry: RealRegistry
let images: Record<string, TestImage>
let linux: TestImage

beforeAll(async () => {
  registry = await startRegistry(join(folder, 'registry'))
  const made = BUILDS.map(async version => {
    const text = Buffer.from(`made for ${version}\r\n`)
    const layer = await windowsLayer('COPY version.txt', [{ name: 'Files/version.txt', data: text }])
    return windowsImage([...(await microsoftLayers(version)), layer], version, {
      Cmd: ['cmd', '/c', 'type C:\\version.txt']
    })
  })
  images = Object.fromEntries((await Promise.all(made)).map((image, at) => [BUILDS[at] ?? '', image]))
  const layer = await windowsLayer('ADD file:1 in /', [{ name: 'etc/passwd', data: Buffer.from('root') }])
  linux = windowsImage([layer], '', { Cmd: ['sh'] }, { os: 'linux', 'os.version': undefined })
  for (const image of [linux, ...Object.values(images)]) {
    await publish(`${registry.host}/team/multi:${image.digest.slice(7, 19)}`, image)
  }
})

afterAll(async () => {
  await registry?.stop()
  remove()
})

/** Puts an index of these under a tag; gives its digest. */
async function publishIndex(tag: string, builds: readonly string[]): Promise<string> {
  const entryOf = ({ digest, manifest }: TestImage, platform: object) => ({
    mediaType: 'application/vnd.docker.distribution.manifest.v2+json',
    digest,
    size: manifest.length,
    platform: { architecture: 'amd64', ...platform }
  })
  const entries = builds.map(build => {
    const image = images[build]
    return image === undefined
      ? entryOf(linux, { os: 'linux' })
      : entryOf(image, { os: 'windows', 'os.version': build })
  })
  const bytes = Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: INDEX, manifests: entries }, null, 3))
  const client = registryClient(registry.host)
  await client.pushManifest('team/multi', tag, INDEX, bytes)
  await client.close()
  return sha256(bytes)
}

const nameOf = (tag: string) => `${registry.host}/team/multi:${tag}`

describe('an index', () => {
  test('gives the image for the Windows that is played, under the digest of the index', async () => {
    const digest = await publishIndex('all', [
      'linux',
      '10.0.99999.1',
      '10.0.26100.2894',
      '10.0.17763.6893',
      '10.0.20348.3091'
    ])
    const said = await windows.out(['pull', nameOf('all')])
    expect(said).toContain(`Digest: ${digest}`)
    const right = images['10.0.20348.3091'] as TestImage
    expect(await windows.inspectImage(nameOf('all'))).toMatchObject({
      Id: right.id,
      OsVersion: '10.0.20348.3091',
      RepoDigests: [`${registry.host}/team/multi@${digest}`]
    })
    const row = '{{.Tag}} {{.Digest}} {{.ID}}'
    expect(await windows.out(['images', '--digests', '--no-trunc', '--format', row])).toContain(
      `all ${digest} ${right.id}`
    )
    expect(await windows.out(['run', '--rm', nameOf('all')])).toBe('made for 10.0.20348.3091')
    expect(await windows.out(['run', '--rm', `${registry.host}/team/multi@${digest}`])).toBe('made for 10.0.20348.3091')
    await windows.out(['rmi', nameOf('all')])
  })

  test.each([
    [['10.0.17763.6893', 'linux'], '10.0.17763.6893'],
    // As a Windows Server 2022 would: what is newer it may not run.
    [['10.0.26100.2894', '10.0.17763.6893'], '10.0.17763.6893'],
    [['10.0.99999.1', '10.0.26100.2894', 'linux'], '10.0.26100.2894']
  ])('of %j gives %s', async (builds, taken) => {
    await publishIndex('some', builds)
    await windows.out(['pull', nameOf('some')])
    expect((await windows.inspectImage(nameOf('some'))).Id).toBe(images[taken]?.id)
    expect(await windows.out(['run', '--rm', nameOf('some')])).toBe(`made for ${taken}`)
    await windows.out(['rmi', nameOf('some')])
  })

  test('is chosen from by a build as well', async () => {
    await publishIndex('base', ['linux', '10.0.20348.3091'])
    const context = mkdtempSync(join(folder, 'context-'))
    writeFileSync(join(context, 'Dockerfile'), `FROM ${nameOf('base')}\nRUN echo built>C:\\\\built.txt\n`)
    await windows.out(['build', '-t', 'on-index', context])
    expect(await windows.out(['run', '--rm', 'on-index', 'cmd', '/c', 'type C:\\version.txt C:\\built.txt'])).toContain(
      'built'
    )
    await windows.out(['rmi', 'on-index', nameOf('base')])
  })

  test.each([[['linux']], [['linux', '10.0.99999.1']], [[]]])('of %j has nothing for Windows', async builds => {
    await publishIndex('none', builds)
    const { code, stderr } = await windows.docker(['pull', nameOf('none')])
    expect(code).toBe(1)
    expect(stderr).toMatch(/no matching manifest for windows\/amd64 10\.0\.26100 in the manifest list entries/)
    expect((await windows.docker(['image', 'inspect', nameOf('none')])).code).toBe(1)
  })

  test('is shown by docker manifest inspect', async () => {
    const digest = await publishIndex('shown', ['linux', '10.0.20348.3091'])
    const shown = JSON.parse(await windows.out(['manifest', 'inspect', '--insecure', nameOf('shown')]))
    expect(shown.manifests.map(({ platform }: { platform: object }) => platform)).toEqual([
      { architecture: 'amd64', os: 'linux' },
      { architecture: 'amd64', os: 'windows', 'os.version': '10.0.20348.3091' }
    ])
    // What the gateway itself says of it, as `docker service create` asks.
    const [, , version] = (
      await windows.out(['version', '--format', '{{.Server.Os}} {{.Server.Arch}} {{.Server.APIVersion}}'])
    ).split(' ')
    const path = `/v${version}/distribution/${nameOf('shown')}/json`
    const asked = await run('curl', ['-s', '--unix-socket', windows.socket, `http://x${path}`])
    expect(JSON.parse(asked.stdout)).toMatchObject({
      Descriptor: { digest, mediaType: INDEX },
      Platforms: [{ os: 'linux' }, { os: 'windows', 'os.version': '10.0.20348.3091' }]
    })
  })
})

test.each([
  ['linux', /cannot download image with operating system "linux" when requesting "windows"/],
  ['10.0.99999.1', /a Windows version 10\.0\.99999-based image is incompatible with a 10\.0\.26100 host/]
])('an image for %s alone is refused', async (build, words) => {
  const image = images[build] ?? linux
  const { code, stderr } = await windows.docker(['pull', nameOf(image.digest.slice(7, 19))])
  expect([code, stderr]).toEqual([1, expect.stringMatching(words)])
})

describe('sizes', () => {
  const [shared, one, two] = [8_000_000, 3_000_000, 1_000_000]
  const names = ['size-one', 'size-two'].map(tag => () => nameOf(tag))

  interface Usage {
    LayersSize: number
    Images: { Id: string; Size: number; SharedSize: number; Containers: number }[]
  }
  const api = async <T>(path: string): Promise<T> => {
    const { stdout } = await run('curl', ['-s', '--unix-socket', windows.socket, `http://x/v1.41${path}`])
    return JSON.parse(stdout) as T
  }
  let doubled = false
  const about = (bytes: number) => [bytes - 100_000, (doubled ? 2.1 : 1) * bytes + 400_000] as const
  const expectAbout = (value: number, bytes: number) => {
    const [least, most] = about(bytes)
    expect(value).toBeGreaterThan(least)
    expect(value).toBeLessThan(most)
  }

  beforeAll(async () => {
    doubled = (await run('docker', ['-H', windows.engine, 'info'])).stdout.includes('io.containerd.snapshotter')
    const version = '10.0.20348.3091'
    const layer = (name: string, size: number): Promise<TestLayer> =>
      windowsLayer(`COPY ${name}`, [{ name: `Files/${name}`, data: randomBytes(size) }])
    const common = [...(await microsoftLayers(version)), await layer('shared', shared)]
    for (const [at, size] of [one, two].entries()) {
      const image = windowsImage([...common, await layer(`own-${at}`, size)], version, {
        Cmd: ['cmd', '/c', 'echo', String(at)]
      })
      await publish(names[at]?.() ?? '', image)
    }
  })

  test('of images agree wherever they are told, and what is shared counts once', async () => {
    const before = await api<Usage>('/system/df')
    for (const name of names) await windows.out(['pull', '-q', name()])
    const inspects = await Promise.all(names.map(name => windows.inspectImage(name())))
    const list = await api<{ Id: string; Size: number }[]>('/images/json')
    for (const [at, { Id, Size }] of inspects.entries()) {
      expect(list.find(row => row.Id === Id)?.Size).toBe(Size)
      const history = await api<{ Size: number }[]>(`/images/${encodeURIComponent(names[at]?.() ?? '')}/history`)
      const sum = history.reduce((total, row) => total + row.Size, 0)
      // With containerd's image store an image takes its compressed bytes, too, which no row tells of.
      if (doubled) expect(sum).toBeLessThan(Size)
      else expect(sum).toBe(Size)
      expect(history).toHaveLength(5)
      for (const [row, size] of [at === 0 ? one : two, shared].entries()) expectAbout(history[row + 1]?.Size ?? 0, size)
    }
    const [large = 0, small = 0] = inspects.map(({ Size }) => Size)
    expectAbout(large - small, one - two)

    const after = await api<Usage>('/system/df')
    const rows = inspects.map(({ Id }) => after.Images.find(row => row.Id === Id))
    // Both lie on the Wine base and the shared layer; only the rest is an image's own.
    const common = large - (doubled ? 2 : 1) * one
    for (const [at, row] of rows.entries()) {
      expect(row?.Size).toBe(inspects[at]?.Size)
      expectAbout(row?.SharedSize ?? 0, common)
      expectAbout((row?.Size ?? 0) - (row?.SharedSize ?? 0), at === 0 ? one : two)
    }
    // What is on the engine already may be the same Wine base.
    const added = after.LayersSize - before.LayersSize
    const known = before.Images.length > 0 ? added : added - (common - shared)
    expectAbout(known, shared + one + two)
    expect(after.LayersSize).toBeLessThan(large + small)
  })

  test('of what is built on one are told row by row', async () => {
    const context = mkdtempSync(join(folder, 'context-'))
    writeFileSync(
      join(context, 'Dockerfile'),
      `FROM ${names[0]?.()}\nENV A=b\nCOPY file C:/x/\nRUN copy C:\\x\\file C:\\y\n`
    )
    writeFileSync(join(context, 'file'), randomBytes(600_000))
    await windows.out(['build', '-t', 'size-built', context])
    const history = await api<{ Size: number; CreatedBy: string }[]>('/images/size-built/history')
    const [ran, copied, env, config, own] = history.map(({ Size }) => Size)
    expectAbout(copied ?? 0, 600_000)
    // With the registry, which Wine writes at the end of a program.
    expect(ran).toBeGreaterThan(600_000)
    expect(ran).toBeLessThan(4_000_000)
    expect([env, config]).toEqual([0, 0])
    expectAbout(own ?? 0, one)
    const { Size } = await windows.inspectImage('size-built')
    const sum = history.reduce((total, row) => total + row.Size, 0)
    if (doubled) expect(sum).toBeLessThan(Size)
    else expect(sum).toBe(Size)
    await windows.out(['rmi', 'size-built'])
  })

  test('of what is in use are not told to be reclaimable', async () => {
    await windows.out(['create', '--name', 'user', names[0]?.() ?? ''])
    const usage = await api<Usage>('/system/df')
    const { Id } = await windows.inspectImage(names[0]?.() ?? '')
    const row = usage.Images.find(each => each.Id === Id)
    expect(row?.Containers).toBe(1)
    const total = '{{.Type}} {{.TotalCount}} {{.Active}} {{.Reclaimable}}'
    const [line = ''] = (await windows.out(['system', 'df', '--format', total])).split('\n')
    expect(line).toMatch(/^Images \d+ [1-9]/)
    // With containerd's image store the steps of the build above are images still, which share all of it.
    if (!doubled) expect((row?.Size ?? 0) - (row?.SharedSize ?? 0)).toBeGreaterThan(one - 100_000)
    await windows.out(['rm', 'user'])
  })

  test('go when the last image goes', async () => {
    const before = await api<Usage>('/system/df')
    await windows.out(['rmi', names[0]?.() ?? ''])
    const between = await api<Usage>('/system/df')
    expectAbout(before.LayersSize - between.LayersSize, one)
    const left = between.Images.find(row => row.Size > shared)
    // Nobody else has its layers now, but for the Wine base if there is another image.
    if (between.Images.length === 1) expect(left?.SharedSize).toBe(0)
    await windows.out(['rmi', names[1]?.() ?? ''])
    const after = await api<Usage>('/system/df')
    expect(between.LayersSize - after.LayersSize).toBeGreaterThan(shared + two - 100_000)
  })
})
