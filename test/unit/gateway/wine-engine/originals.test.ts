import { describe, expect, test } from 'vitest'
import { addedHistory } from '#gateway/wine-engine/built-image.ts'
import { layersSize, sharedSize, windowsUsage } from '#gateway/wine-engine/df.ts'
import { digestOfTag, digestTag } from '#gateway/wine-engine/digest-tag.ts'
import { windowsHistory } from '#gateway/wine-engine/image-history.ts'
import { goingDigests } from '#gateway/wine-engine/image-removal.ts'
import { windowsInspect, windowsSummary } from '#gateway/wine-engine/image-views.ts'
import { registrySettings } from '#gateway/wine-engine/registry-access.ts'
import { isHidden } from '#gateway/wine-engine/windows-images.ts'
import { builtOn, IMAGE_LABEL, type WindowsImage } from '#image/windows-config.ts'

const HEX = '0123456789abcdef'.repeat(4)
const tagFor = (repository: string, hex = HEX) => `${repository}:oriel-sha256-${hex}`

const config = {
  created: '2024-05-06T07:08:09Z',
  author: 'somebody',
  rootfs: { type: 'layers', diff_ids: ['sha256:a', 'sha256:b', 'sha256:c'] },
  history: [
    { created_by: 'Apply image 10.0.20348.1', created: '2024-01-01T00:00:00Z' },
    { created_by: 'Install update 10.0.20348.2', created: '2024-01-02T00:00:00Z' },
    { created_by: 'COPY a b', created: '2024-01-03T00:00:00Z', comment: 'buildkit.dockerfile.v0' },
    { created_by: 'ENV A=b', empty_layer: true }
  ]
}
const origin = { id: `sha256:${'1'.repeat(64)}`, manifest: `sha256:${'2'.repeat(64)}`, config: JSON.stringify(config) }
const image: WindowsImage = {
  config: { Cmd: ['app'], Env: [], Labels: { mine: 'x' } },
  osVersion: '10.0.20348.2',
  family: 'servercore',
  release: 'ltsc2022',
  folders: [],
  history: [],
  origin
}

describe('the tag that stands for a digest', () => {
  test.each([
    ['app', 'app'],
    ['docker.io/library/app', 'app'],
    ['127.0.0.1:5000/team/app', '127.0.0.1:5000/team/app'],
    ['app:1', 'app']
  ])('of %s', (name, repository) => {
    expect(digestTag(`${name}@sha256:${HEX}`)).toBe(tagFor(repository))
    expect(digestOfTag(tagFor(repository))).toBe(`${repository}@sha256:${HEX}`)
  })

  test('is none for what has no such digest, and is nobody’s to name', () => {
    expect(digestTag('app:1')).toBeUndefined()
    expect(digestTag(`app@sha512:${HEX}${HEX}`)).toBeUndefined()
    expect(digestOfTag('app:oriel-sha256-12')).toBeUndefined()
    expect(isHidden(tagFor('app'))).toBe(true)
    expect(isHidden('app:oriel')).toBe(false)
  })
})

describe('an original', () => {
  const labels = { [IMAGE_LABEL]: JSON.stringify(image) }

  test('has its own id, names and time in the list', () => {
    const row = { Id: 'sha256:engine', RepoTags: ['app:1', tagFor('app')], RepoDigests: [], Created: 1, Labels: labels }
    expect(windowsSummary(row)).toMatchObject({
      Id: origin.id,
      RepoTags: ['app:1'],
      RepoDigests: [`app@sha256:${HEX}`],
      Created: Date.parse(config.created) / 1000
    })
  })

  test('has the digests of registries only', () => {
    const own = `app@sha256:${'e'.repeat(64)}`
    const digests = (RepoTags: string[], RepoDigests: string[] | null | undefined) =>
      windowsSummary({ RepoTags, ...(RepoDigests === undefined ? {} : { RepoDigests }), Labels: labels }).RepoDigests
    expect(digests(['app:1', tagFor('app')], [own])).toEqual([`app@sha256:${HEX}`])
    expect(digests(['app:1'], [own])).toEqual([])
    expect(digests([], ['<none>@<none>'])).toEqual(['<none>@<none>'])
    expect(digests([], null)).toBeNull()
    expect(digests(['app:1'], undefined)).toBeUndefined()
  })

  test('is shown as its config says', () => {
    const inspect = {
      Id: 'sha256:engine',
      RepoTags: [tagFor('app')],
      RootFS: { Layers: ['x'] },
      Config: { Labels: labels }
    }
    expect(windowsInspect({ inspect, windows: image, name: 'app' }, '1.41')).toMatchObject({
      Id: origin.id,
      RepoTags: [],
      RepoDigests: [`app@sha256:${HEX}`],
      Created: config.created,
      Author: 'somebody',
      RootFS: { Type: 'layers', Layers: config.rootfs.diff_ids }
    })
  })

  test('has no digest that an engine has given to what it made of it', () => {
    const names = { RepoTags: ['app:1', tagFor('app')], RepoDigests: ['app@sha256:engine', 'copy@sha256:engine'] }
    expect(windowsSummary({ ...names, Labels: labels }).RepoDigests).toEqual([`app@sha256:${HEX}`])
    const inspect = { ...names, Config: { Labels: labels } }
    expect(windowsInspect({ inspect, windows: image, name: 'app' }, '1.41').RepoDigests).toEqual([`app@sha256:${HEX}`])
  })

  test('with a damaged config does not break the list', () => {
    const damaged = { ...image, origin: { ...origin, config: '{' } }
    expect(windowsSummary({ Labels: { [IMAGE_LABEL]: JSON.stringify(damaged) }, Created: 7 })).toMatchObject({
      Created: 7
    })
  })

  // Engines tell of a commit with its entry point or without.
  const rows = [
    { Id: 'sha256:engine', CreatedBy: 'layer', Size: 0, Tags: ['app:1', tagFor('app')] },
    { Id: 'sha256:laid', CreatedBy: '/oriel/init layer', Size: 20, Tags: null },
    { Id: 'sha256:wine', CreatedBy: 'LABEL x', Size: 300, Tags: ['oriel/wine:ltsc2022'] },
    { Id: '<missing>', CreatedBy: 'debian', Size: 100, Tags: null }
  ]
  const shape = (shown: Record<string, unknown>[]) => shown.map(({ Id, CreatedBy, Size }) => [Id, CreatedBy, Size])

  test.each([
    ['whose program is shown', rows],
    [
      'that shows the command alone',
      rows.map(row => ({ ...row, CreatedBy: row.CreatedBy.replace('/oriel/init ', '') }))
    ]
  ])('has the history of its config, with the sizes of an engine %s', (_name, engineRows) => {
    const shown = windowsHistory(engineRows, image)
    expect(shape(shown)).toEqual([
      [origin.id, 'ENV A=b', 0],
      ['<missing>', 'COPY a b', 20],
      ['<missing>', 'Install update 10.0.20348.2', 0],
      ['<missing>', 'Apply image 10.0.20348.1', 400]
    ])
    expect(shown[0]?.Tags).toEqual(['app:1'])
    expect(shown[1]?.Comment).toBe('buildkit.dockerfile.v0')
  })

  test('keeps it below what is built on it', () => {
    const built = { ...builtOn(image), history: [{ created_by: 'cmd /S /C echo', empty: false }] }
    expect(built).toMatchObject({ parent: origin })
    expect(built).not.toHaveProperty('origin')
    expect(builtOn(built)).toMatchObject({ parent: origin })
    const more = [{ Id: 'sha256:top', CreatedBy: '/oriel/init run QQ==', Size: 5 }, ...rows]
    expect(shape(windowsHistory(more, built)).slice(0, 2)).toEqual([
      ['sha256:top', 'cmd /S /C echo', 5],
      ['<missing>', 'ENV A=b', 0]
    ])
  })

  test('lends nothing of its layers to what is built on it', () => {
    const history = [
      { created_by: 'cmd /S /C one', empty: false },
      { created_by: 'cmd /S /C #(nop) COPY a in C:\\a', empty: false },
      { created_by: 'cmd /S /C two', empty: false, comment: 'of a commit' },
      { created_by: 'cmd /S /C #(nop)  ENTRYPOINT ["a"]', empty: true }
    ]
    const more = [
      { Id: 'sha256:top', CreatedBy: '/bin/sh -c #(nop)  LABEL dev.oriel.image={}', Size: 0 },
      { Id: 'sha256:4', CreatedBy: 'run QQ==', Size: 9, Comment: 'of the engine' },
      { Id: 'sha256:3', CreatedBy: '/bin/sh -c #(nop) COPY file:1 in /oriel/anchor/1', Size: 7 },
      { Id: 'sha256:2', CreatedBy: '/oriel/init anchor 1 C:\\a', Size: 1 },
      { Id: 'sha256:1', CreatedBy: '/oriel/init run QQ==', Size: 5 },
      ...rows
    ]
    const shown = windowsHistory(more, { ...builtOn(image), history })
    expect(shape(shown)).toEqual([
      ['sha256:top', 'cmd /S /C #(nop)  ENTRYPOINT ["a"]', 0],
      ['<missing>', 'cmd /S /C two', 9],
      ['<missing>', 'cmd /S /C #(nop) COPY a in C:\\a', 8],
      ['<missing>', 'cmd /S /C one', 5],
      ['<missing>', 'ENV A=b', 0],
      ['<missing>', 'COPY a b', 20],
      ['<missing>', 'Install update 10.0.20348.2', 0],
      ['<missing>', 'Apply image 10.0.20348.1', 400]
    ])
    expect(shown.map(({ Comment }) => Comment).slice(0, 3)).toEqual(['', 'of a commit', ''])
  })
})

test('the digests of a repository go with its last tag', () => {
  const tags = ['app:1', 'app:2', tagFor('app'), 'other:1', tagFor('other')]
  expect(goingDigests(tags, 'app:1')).toEqual([])
  expect(goingDigests(tags.slice(1), 'app:2')).toEqual([tagFor('app')])
  expect(goingDigests(tags, 'other:1')).toEqual([tagFor('other')])
  expect(goingDigests(['app:latest', tagFor('app')], 'app')).toEqual([tagFor('app')])
  expect(goingDigests(tags, undefined)).toEqual([tagFor('app'), tagFor('other')])
  expect(goingDigests(['app:1', tagFor('app')], tagFor('app'))).toEqual([])
})

test('layers that images share count once', () => {
  const wine = { id: 'wine', layers: ['w1', 'w2'], size: 400, shown: false }
  const laid = { id: 'laid', layers: ['w1', 'w2', 'a'], size: 430, shown: false }
  const app = { id: 'app', layers: ['w1', 'w2', 'a'], size: 430, shown: true }
  const built = { id: 'built', layers: ['w1', 'w2', 'a', 'b'], size: 437, shown: true }
  const other = { id: 'other', layers: ['w1', 'w2', 'c'], size: 401, shown: true }
  expect(layersSize([])).toBe(0)
  expect(layersSize([wine])).toBe(0)
  expect(layersSize([wine, laid, app])).toBe(430)
  expect(layersSize([wine, laid, app, app, built, other])).toBe(438)
})

test('what an image shares is what another shown image has, and not what lies below it', () => {
  const labels = { [IMAGE_LABEL]: JSON.stringify(image) }
  const all = [
    { id: 'wine', layers: ['w1', 'w2'], size: 400, shown: false },
    { id: 'laid', layers: ['w1', 'w2', 'a'], size: 430, shown: false },
    { id: 'app', layers: ['w1', 'w2', 'a'], size: 430, shown: true },
    { id: 'other', layers: ['w1', 'w2', 'c'], size: 401, shown: true },
    { id: 'built', layers: ['w1', 'w2', 'a', 'b'], size: 437, shown: true }
  ]
  const pick = (...ids: string[]) => all.filter(({ id }) => ids.includes(id))
  const shared = (...ids: string[]) => {
    const shown = pick(...ids)
    return shown.map(each => sharedSize(each, shown, all))
  }
  expect(shared('app')).toEqual([0])
  expect(shared('app', 'other')).toEqual([400, 400])
  expect(shared('app', 'built')).toEqual([430, 430])
  expect(shared('app', 'other', 'built')).toEqual([430, 400, 430])
  const row = (Id: string, Size: number) => ({ Id, Size, SharedSize: Size, Containers: 1, Labels: labels })
  const usage = { Images: [row('app', 430), row('other', 401), row('new', 5)], LayersSize: 9999 }
  expect(windowsUsage(usage, 'm1', all)).toMatchObject({
    LayersSize: 438,
    // One that came in between is as the engine has it.
    Images: [{ SharedSize: 400 }, { SharedSize: 400 }, { SharedSize: 5 }]
  })
})

describe('what is pushed', () => {
  const layer = { descriptor: {} }
  const none = { descriptor: undefined }
  const nop = '/bin/sh -c #(nop)'
  const rows = [
    { created: '1', created_by: 'debian' },
    { created: '2', created_by: 'layer' },
    { created: '3', created_by: 'layer', empty_layer: true },
    { created: '4', created_by: `${nop} WORKDIR /c/drive_c/app`, empty_layer: true },
    { created: '5', created_by: '/oriel/init anchor 1 C:\\a' },
    { created: '6', created_by: `${nop} COPY file:1 in /oriel/anchor/1` },
    { created: '7', created_by: '/oriel/init mkdir C:\\b' },
    { created: '8', created_by: '/oriel/init run QQ==' },
    { created: '9', created_by: `${nop} LABEL dev.oriel.image={}`, empty_layer: true }
  ]
  const shown = [
    { created_by: 'cmd /S /C #(nop) WORKDIR C:\\app', empty: false },
    { created_by: 'cmd /S /C #(nop) COPY a in C:\\a', empty: false },
    { created_by: 'ENV', empty: true },
    { created_by: 'cmd /S /C #(nop) WORKDIR C:\\b', empty: false },
    { created_by: 'RUN', empty: false, comment: 'why' }
  ]
  const by = (made: object[], of = shown) =>
    addedHistory({ history: of }, rows, made as { descriptor: unknown }[]).map(entry => Object.values(entry).join(' '))

  test('has one entry of the history for each layer, of the instruction that made it', () => {
    expect(by([none, layer, layer, layer])).toEqual([
      '9 cmd /S /C #(nop) WORKDIR C:\\app true',
      '6 cmd /S /C #(nop) COPY a in C:\\a',
      '9 ENV true',
      '7 cmd /S /C #(nop) WORKDIR C:\\b',
      '8 RUN why'
    ])
    const copied = '#(nop) COPY a in C:\\a'
    expect(by([layer, layer, layer, layer]).filter(entry => entry.includes(copied))).toHaveLength(2)
    expect(by([layer, layer, layer, none]).at(-1)).toBe('9 RUN why true')
  })

  test('has an entry even for the layers that nobody knows of', () => {
    expect(by([layer, none, layer, none], [])).toEqual(['5 ', '7 '])
    expect(by([none, none, none, none], [])).toEqual([])
    expect(by([layer, layer, layer, layer], shown.slice(0, 1))).toHaveLength(4)
  })
})

test('insecure registries and mirrors are those of the engine', () => {
  const settings = {
    InsecureRegistryCIDRs: ['127.0.0.0/8'],
    IndexConfigs: { 'docker.io': { Secure: true }, 'reg:5000': { Secure: false } },
    Mirrors: ['https://mirror/']
  }
  expect(registrySettings(settings)).toEqual({ insecure: ['reg:5000', '127.0.0.0/8'], mirrors: ['https://mirror/'] })
  expect(registrySettings({ Mirrors: null, IndexConfigs: null })).toEqual({ insecure: [], mirrors: [] })
})
