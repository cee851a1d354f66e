import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { RELEASES, releaseOfTag } from '#windows/releases.ts'

test.each([
  [undefined, 'ltsc2022'],
  ['latest', 'ltsc2022'],
  ['LTSC2025', 'ltsc2025'],
  ['21H2', 'ltsc2022'],
  ['10.0.17763', 'ltsc2019'],
  ['10.0.26100.1742-amd64', 'ltsc2025']
])('the tag %s is of %s', (tag, release) => {
  expect(releaseOfTag(tag)?.tag).toBe(release)
})

test.each(['ltsc2016', '10.0.1776', '20348', 'ltsc2022-arm64', 'nonsense'])('the tag %s is of no release', tag => {
  expect(releaseOfTag(tag)).toBeUndefined()
})

test('the registry of each Wine base names the build and the update that its images claim', () => {
  const dockerfile = readFileSync(new URL('../../../guest/wine/Dockerfile', import.meta.url), 'utf8')
  for (const { tag, osVersion, product } of RELEASES) {
    const [, , build, update] = osVersion.split('.')
    expect(dockerfile).toMatch(
      new RegExp(
        `FROM base AS ${tag}\\nRUN sh /oriel/release\\.sh ${build} "${product} Datacenter" \\w+ \\w+ ${update}\\n?`
      )
    )
  }
})
