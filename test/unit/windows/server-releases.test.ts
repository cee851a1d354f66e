import { expect, test } from 'vitest'
import { RELEASES } from '#windows/releases.ts'
import {
  ENGINES,
  engineArchive,
  OPENSSH_ARCHIVE,
  SERVER_RELEASES,
  serverEdition,
  serverRelease
} from '#windows/server-releases.ts'

test.each([
  ['2025', '2025'],
  ['ltsc2025', '2025'],
  ['LTSC2019', '2019'],
  ['Server 2022', '2022'],
  ['windows-server-2016', '2016'],
  ['Windows Server 2025', '2025'],
  ['11-arm64', '11-arm64'],
  ['Windows 11-arm64', '11-arm64']
])('"%s" is the release %s', (name, release) => {
  expect(serverRelease(name).name).toBe(release)
})

test.each(['', '2012', 'ltsc', '11', 'server', '2025x'])('"%s" is no release, and the names are told', name => {
  expect(() => serverRelease(name)).toThrow(
    expect.objectContaining({ exitCode: 2, hint: 'Choose: 2025, 2022, 2019, 2016, 11-arm64.' })
  )
})

test.each(SERVER_RELEASES)('$product is told completely and without contradiction', release => {
  for (const medium of release.media) {
    expect(medium.sha256).toMatch(/^[0-9a-f]{64}$/)
    expect(medium.size % 2048).toBe(0)
    expect(Number.parseInt(medium.build, 10)).toBe(release.build)
    for (const source of medium.sources) expect(new URL(source).protocol).toBe('https:')
    expect(new URL(medium.sources[0] ?? '').pathname).toMatch(new RegExp(`/${medium.file}$`))
  }
  const builds = release.media.map(({ build }) => Number(build.split('.')[1]))
  expect(builds).toEqual([...builds].sort((one, other) => other - one))
  expect(release.editions.map(({ index }) => index)).toEqual(release.editions.map((_, at) => at + 1))
  for (const { kmsKey } of release.editions) expect(kmsKey).toMatch(/^([A-Z0-9]{5}-){4}[A-Z0-9]{5}$/)
  expect(serverEdition(release).name).toBe(release.defaultEdition)
  for (const tag of release.containers.process) expect(release.containers.hyperv).toContain(tag)
})

test('files in the cache, discs and engines are not confused', () => {
  const media = SERVER_RELEASES.flatMap(release => release.media)
  expect(new Set(media.map(({ file }) => file)).size).toBe(media.length)
  expect(new Set([...media, ...ENGINES, OPENSSH_ARCHIVE].map(({ sha256 }) => sha256)).size).toBe(
    media.length + ENGINES.length + 1
  )
})

test('every container image release has a server that runs it without a second hypervisor', () => {
  for (const { tag } of RELEASES) {
    expect(SERVER_RELEASES.some(({ containers }) => containers.process.includes(tag))).toBe(true)
  }
})

test('editions are named as on the discs', () => {
  expect(serverEdition(serverRelease('2025')).imageName).toBe('Windows Server 2025 SERVERDATACENTERCORE')
  expect(serverEdition(serverRelease('2016'), 'Standard')).toMatchObject({
    imageName: 'Windows Server 2016 SERVERSTANDARD',
    index: 2
  })
  expect(() => serverEdition(serverRelease('2025'), 'home')).toThrow(/no edition called "home"/)
})

test('an engine is given only where it runs and its checksum is known', () => {
  const engine = engineArchive('29.7.2', serverRelease('2025'))
  expect(engine.url).toBe('https://download.docker.com/win/static/stable/x86_64/docker-29.7.2.zip')
  expect(engineArchive('v28.5.2', serverRelease('2019')).version).toBe('28.5.2')
  expect(serverRelease('2016').engine?.version).toBe('20.10.23')
  expect(() => engineArchive('29.7.2', serverRelease('2016'))).toThrow(/does not run on Windows Server 2016/)
  expect(() => engineArchive('29.2.0', serverRelease('2025'))).toThrow(
    /the checksum of Docker Engine 29\.2\.0 is not known/
  )
  expect(() => engineArchive('29.7.2', serverRelease('11-arm64'))).toThrow(
    /publishes no engine for Windows 11 on aarch64/
  )
})
