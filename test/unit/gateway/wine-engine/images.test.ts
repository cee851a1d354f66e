import { afterEach, describe, expect, test } from 'vitest'
import { windowsHistory } from '#gateway/wine-engine/image-history.ts'
import { windowsInspect, windowsSummary } from '#gateway/wine-engine/image-views.ts'
import { engineImageName, isHidden, noSuchImage } from '#gateway/wine-engine/windows-images.ts'
import { baseImage, type KnownBase, knownBase } from '#image/bases.ts'
import { IMAGE_LABEL, type WindowsImage } from '#image/windows-config.ts'
import { refusalOf, type Stage, stage } from '../../../support/fake-engine.ts'

const nano = baseImage(knownBase('nanoserver:ltsc2019') as KnownBase)
const labels = { [IMAGE_LABEL]: JSON.stringify(nano) }

let open: Stage | undefined
afterEach(async () => {
  await open?.close()
  open = undefined
})

describe('the list', () => {
  test('asks for Windows images besides what the client asks for', async () => {
    open = await stage({
      'GET /images/json': [
        { Id: 'sha256:1', RepoTags: ['nanoserver:ltsc2019'], Labels: { ...labels, mine: 'x' }, New: 7 }
      ]
    })
    const query = new URLSearchParams({ all: '1', filters: '{"reference":{"nano*":true}}' })
    expect(await open.client.json('GET', `/images/json?${query}`)).toEqual([
      { Id: 'sha256:1', RepoTags: ['nanoserver:ltsc2019'], Labels: { mine: 'x' }, New: 7 }
    ])
    const sent = open.seen.at(-1)
    expect(sent?.query.get('all')).toBe('1')
    expect(JSON.parse(sent?.query.get('filters') ?? '')).toEqual({ reference: ['nano*'], label: [IMAGE_LABEL] })
  })

  test.each(['[]', '"x"', '{', '{"label":1}'])('refuses the filters %s', async filters => {
    open = await stage({})
    const query = new URLSearchParams({ filters })
    expect(await refusalOf(open.client.json('GET', `/images/json?${query}`))).toEqual({
      status: 400,
      message: 'invalid filter'
    })
  })

  test('never shows the name or the id of the Wine base', () => {
    expect(windowsSummary({ Labels: labels, ParentId: 'sha256:wine' })).toMatchObject({ ParentId: '' })
    expect(windowsSummary({ RepoTags: ['oriel/wine:ltsc2022', 'a:1'], Labels: null })).toEqual({
      RepoTags: ['a:1'],
      Labels: null
    })
    expect(windowsSummary({ RepoTags: null })).toMatchObject({ RepoTags: null })
  })
})

describe('inspect', () => {
  const engine = {
    Id: 'sha256:abc',
    Os: 'linux',
    Architecture: 'arm64',
    Variant: 'v8',
    Parent: 'sha256:wine',
    Config: { Entrypoint: ['/oriel/init'], Env: ['PATH=/usr/bin'], StopSignal: 'SIGINT', Hostname: '', Labels: labels },
    RootFS: { Layers: ['sha256:l'] },
    GraphDriver: { Name: 'overlay2', Data: { UpperDir: '/var/lib' } }
  }

  test('shows the Windows side and nothing of Linux', () => {
    const shown = windowsInspect({ inspect: engine, windows: nano, name: 'nanoserver:ltsc2019' }, '1.41')
    expect(shown).toMatchObject({
      Id: 'sha256:abc',
      Os: 'windows',
      OsVersion: '10.0.17763.7678',
      Architecture: 'amd64',
      Parent: '',
      RootFS: { Layers: ['sha256:l'] },
      Config: { User: 'ContainerUser', Cmd: ['c:\\windows\\system32\\cmd.exe'], Entrypoint: null, Labels: null },
      GraphDriver: { Name: 'windowsfilter' }
    })
    expect(shown).not.toHaveProperty('Variant')
    expect(shown.Config).not.toHaveProperty('StopSignal')
    expect(shown.ContainerConfig).toEqual(shown.Config)
    expect(JSON.stringify(shown)).not.toMatch(/oriel|\/usr|\/var/)
  })

  test('gives new clients no ContainerConfig', () => {
    const found = { inspect: engine, windows: nano, name: 'a' }
    expect(windowsInspect(found, '1.50')).not.toHaveProperty('ContainerConfig')
  })

  test.each([
    ['debian:trixie-slim', 'No such image: debian:trixie-slim'],
    ['oriel/wine:ltsc2022', 'No such image: oriel/wine:ltsc2022'],
    ['nosuch', 'No such image: nosuch:latest'],
    ['damaged', 'No such image: damaged:latest']
  ])('%s is not there', async (name, message) => {
    open = await stage({
      'GET /images/debian:trixie-slim/json': { Config: { Labels: null } },
      'GET /images/oriel/wine:ltsc2022/json': { Config: { Labels: labels } },
      'GET /images/damaged/json': { Config: { Labels: { [IMAGE_LABEL]: '{' } } }
    })
    expect(await refusalOf(open.client.json('GET', `/images/${name}/json`))).toEqual({ status: 404, message })
  })

  test("takes a digest of the engine's own, and one that only stands for a base", async () => {
    const digest = `sha256:${'1'.repeat(64)}`
    open = await stage({
      [`GET /images/nanoserver@${digest}/json`]: engine,
      'GET /images/nanoserver:ltsc2022/json': { ...engine, Id: 'sha256:other' }
    })
    expect(await open.client.json('GET', `/images/nanoserver@${digest}/json`)).toMatchObject({ Id: 'sha256:abc' })
    expect(await open.client.json('GET', '/images/nanoserver@sha256:22/json')).toMatchObject({ Id: 'sha256:other' })
  })

  test('tells the size of the list where the engine has two', async () => {
    const contained = { ...engine, RepoTags: ['app:1'], Size: 100, GraphDriver: { Name: 'overlayfs', Data: null } }
    const list = [
      { Id: 'sha256:other', Size: 7 },
      { Id: 'sha256:abc', Size: 300 }
    ]
    const staged = await stage({
      'GET /images/app:1/json': contained,
      'GET /images/untagged/json': { ...contained, RepoTags: [] },
      'GET /images/plain/json': { ...contained, GraphDriver: engine.GraphDriver },
      'GET /images/json': list
    })
    open = staged
    const sizeOf = async (name: string) => (await staged.client.json('GET', `/images/${name}/json`)) as { Size: number }
    expect((await sizeOf('app:1')).Size).toBe(300)
    expect(JSON.parse(staged.seen.at(-1)?.query.get('filters') ?? '')).toEqual({ reference: ['app:1'] })
    expect((await sizeOf('untagged')).Size).toBe(100)
    expect((await sizeOf('plain')).Size).toBe(100)
  })

  test('takes a name with slashes', async () => {
    open = await stage({ 'GET /images/mcr.microsoft.com/windows/nanoserver:ltsc2019/json': engine })
    const shown = await open.client.json('GET', '/v1.41/images/mcr.microsoft.com/windows/nanoserver:ltsc2019/json')
    expect(shown).toMatchObject({ Os: 'windows' })
  })
})

describe('history', () => {
  const rows = [
    { Id: 'sha256:top', Created: 9, CreatedBy: '/bin/sh -c #(nop) LABEL dev.oriel.image={}', Size: 0, Tags: ['a:1'] },
    { Id: 'sha256:run', Created: 8, CreatedBy: '/oriel/init run QQ==', Size: 30, Tags: null },
    { Id: 'sha256:copy', Created: 7, CreatedBy: '/bin/sh -c #(nop) COPY x /c/drive_c/x', Size: 20, Tags: null },
    { Id: 'sha256:base', Created: 5, CreatedBy: '/bin/sh -c #(nop) LABEL dev.oriel.image={}', Size: 0, Tags: null },
    { Id: '<missing>', Created: 4, CreatedBy: 'apt-get install wine', Size: 300, Tags: null },
    { Id: '<missing>', Created: 3, CreatedBy: 'debian', Size: 100, Tags: null }
  ]
  const built: WindowsImage = {
    ...nano,
    history: [
      { created_by: 'cmd /S /C #(nop) COPY x C:\\x', empty: false },
      { created_by: 'cmd /S /C #(nop) ENV A=b', empty: true },
      { created_by: 'cmd /S /C echo hi', empty: false }
    ]
  }

  test('shows the Dockerfile above the two rows of a base', () => {
    const shown = windowsHistory(rows, built)
    expect(shown.map(({ Id, CreatedBy, Size }) => [Id, CreatedBy, Size])).toEqual([
      ['sha256:top', 'cmd /S /C echo hi', 30],
      ['<missing>', 'cmd /S /C #(nop) ENV A=b', 0],
      ['<missing>', 'cmd /S /C #(nop) COPY x C:\\x', 20],
      ['<missing>', 'Install update 10.0.17763.7678', 0],
      ['<missing>', 'Apply image 10.0.17763.1', 400]
    ])
    expect(shown[0]?.Tags).toEqual(['a:1'])
    expect(JSON.stringify(shown)).not.toContain('oriel')
  })

  test('adds what a translation made besides to the last instruction', () => {
    const extra = [{ Id: 'x', CreatedBy: 'more', Size: 5 }, ...rows]
    expect(windowsHistory(extra, built)[0]).toMatchObject({ Size: 35 })
  })

  test('gives each instruction the size of its own kind of layer', () => {
    const nop = '/bin/sh -c #(nop)'
    const made = [
      { CreatedBy: 'COPY x /c/drive_c/x # buildkit', Size: 7 },
      { CreatedBy: '/oriel/init run QQ==', Size: 30 },
      { CreatedBy: `${nop} COPY file:1 in /c/drive_c/app`, Size: 20 },
      { CreatedBy: '/oriel/init anchor 1 C:\\app', Size: 1 },
      { CreatedBy: `${nop} WORKDIR /c/drive_c/app`, Size: 0 },
      ...rows.slice(3)
    ]
    const history = ['#(nop) WORKDIR C:\\app', '#(nop) COPY a in C:\\app', 'RUN x', '#(nop) ADD x C:\\x'].map(text => ({
      created_by: `cmd /S /C ${text}`,
      empty: false
    }))
    const sizes = windowsHistory(made, { ...nano, history }).map(({ Size }) => Size)
    expect(sizes).toEqual([7, 30, 21, 0, 0, 400])
  })

  test('of no rows is empty of sizes', () => {
    expect(windowsHistory([], nano)).toHaveLength(2)
  })
})

describe('changes', () => {
  test('go through for Windows images only', async () => {
    open = await stage({
      'GET /images/win/json': { Config: { Labels: labels } },
      'GET /images/lin/json': { Config: { Labels: {} } },
      'DELETE /images/win': [{ Untagged: 'win:latest' }],
      'POST /images/win/tag': {}
    })
    expect(await open.client.json('DELETE', '/images/win?force=1')).toEqual([{ Untagged: 'win:latest' }])
    expect(open.seen.at(-1)?.query.get('force')).toBe('1')
    await open.client.json('POST', '/images/win/tag?repo=a&tag=b')
    expect(await refusalOf(open.client.json('DELETE', '/images/lin'))).toMatchObject({ status: 404 })
    expect(await refusalOf(open.client.json('POST', '/images/win/tag?repo=oriel/wine&tag=x'))).toMatchObject({
      status: 409
    })
    expect(await refusalOf(open.client.json('POST', '/images/lin/tag?repo=a'))).toMatchObject({ status: 404 })
  })

  test('prune never reaches Linux images', async () => {
    open = await stage({ 'POST /images/prune': { ImagesDeleted: null, SpaceReclaimed: 0 } })
    await open.client.json('POST', `/images/prune?filters=${encodeURIComponent('{"dangling":["false"]}')}`)
    const prune = open.seen.find(({ path }) => path === '/images/prune')
    expect(JSON.parse(prune?.query.get('filters') ?? '')).toEqual({
      dangling: ['false'],
      label: [IMAGE_LABEL]
    })
  })

  test.each([
    ['POST', '/images/win/push?tag=1', 404, 'An image does not exist locally with the tag: win'],
    ['POST', '/images/win/push', 404, 'An image does not exist locally with the tag: win'],
    ['POST', '/images/win/push?tag=UP/', 400, 'invalid reference format'],
    ['GET', '/images/get?names=win', 404, 'No such image: win:latest'],
    ['GET', '/images/win/get', 404, 'No such image: win:latest'],
    ['POST', '/images/load', 400, 'open manifest.json: no such file in the archive']
  ])('%s %s of nothing', async (method, path, status, message) => {
    open = await stage({})
    expect(await refusalOf(open.client.json(method, path))).toEqual({ status, message })
  })
})

describe('distribution', () => {
  test('knows the platforms of a base', async () => {
    open = await stage({})
    expect(await open.client.json('GET', '/distribution/mcr.microsoft.com/windows/nanoserver:1809/json')).toMatchObject(
      {
        Descriptor: { digest: expect.stringMatching(/^sha256:[0-9a-f]{64}$/) },
        Platforms: [{ os: 'windows', architecture: 'amd64', 'os.version': '10.0.17763.7678' }]
      }
    )
  })

  test('says what is not there', async () => {
    open = await stage({})
    expect(await refusalOf(open.client.json('GET', '/distribution/127.0.0.1:1/app/json'))).toMatchObject({
      message: expect.stringContaining('127.0.0.1:1/v2/app/manifests/latest')
    })
  })
})

test('names', () => {
  expect(isHidden('oriel/wine:ltsc2022')).toBe(true)
  expect(isHidden('docker.io/oriel/wine')).toBe(true)
  expect(isHidden('oriel/winery')).toBe(false)
  expect(engineImageName('nanoserver@sha256:00')).toBe('nanoserver:ltsc2022')
  expect(engineImageName('nanoserver:1809@sha256:00')).toBe('nanoserver:1809')
  expect(engineImageName('golang@sha256:00')).toBe('golang@sha256:00')
  expect(noSuchImage('0123456789ab').message).toBe('No such image: 0123456789ab')
  expect(noSuchImage('localhost:5000/a').message).toBe('No such image: localhost:5000/a:latest')
})
