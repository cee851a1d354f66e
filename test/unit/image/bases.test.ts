import { expect, test } from 'vitest'
import { baseConfig, baseImage, knownBase, splitReference } from '#image/bases.ts'

test.each([
  ['windowsservercore', 'servercore', 'ltsc2022'],
  ['nanoserver:1809', 'nanoserver', 'ltsc2019'],
  ['microsoft/windowsservercore:latest', 'servercore', 'ltsc2022'],
  ['docker.io/microsoft/nanoserver:ltsc2025', 'nanoserver', 'ltsc2025'],
  ['docker.io/library/windowsservercore', 'servercore', 'ltsc2022'],
  ['mcr.microsoft.com/windows/nanoserver:ltsc2022-amd64', 'nanoserver', 'ltsc2022'],
  ['mcr.microsoft.com/windows/servercore:10.0.20348.1487', 'servercore', 'ltsc2022'],
  ['mcr.microsoft.com/windows/servercore:10.0.17763.5458-amd64', 'servercore', 'ltsc2019'],
  ['mcr.microsoft.com/windows/server:ltsc2025', 'server', 'ltsc2025'],
  ['mcr.microsoft.com/windows/servercore:ltsc2019-KB4516058', 'servercore', 'ltsc2019']
])('%s is %s of %s', (reference, family, release) => {
  const base = knownBase(reference)
  expect(base).toMatchObject({ family, release: { tag: release } })
})

test('other images are not bases, and an unknown tag is told apart', () => {
  expect(knownBase('alpine')).toBeUndefined()
  expect(knownBase('localhost:5000/nanoserver:ltsc2022')).toBeUndefined()
  expect(knownBase('mcr.microsoft.com/windows/servercore/iis:latest')).toBeUndefined()
  expect(knownBase('nanoserver:ltsc2016')).toBe('unknownTag')
  expect(knownBase('nanoserver:10.0.2034')).toBe('unknownTag')
})

test('a port is not a tag', () => {
  expect(splitReference('localhost:5000/a/b')).toEqual({ repository: 'localhost:5000/a/b' })
  expect(splitReference('localhost:5000/a/b:c@sha256:d')).toEqual({
    repository: 'localhost:5000/a/b',
    tag: 'c',
    digest: 'sha256:d'
  })
})

test('Nano Server runs as ContainerUser, Server Core as the administrator', () => {
  const of = (name: string) => {
    const base = knownBase(name)
    if (base === undefined || base === 'unknownTag') throw new Error(name)
    return baseImage(base).config.User
  }
  expect(of('nanoserver')).toBe('ContainerUser')
  expect(of('windowsservercore')).toBe('')
})

test('no base hides the PATH of the registry, which setx adds to, with one of its own', () => {
  for (const family of ['nanoserver', 'servercore', 'server'] as const) expect(baseConfig(family).Env).toEqual([])
})
