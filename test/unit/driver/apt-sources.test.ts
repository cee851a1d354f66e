import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, expect, test } from 'vitest'
import { deb822Uris, debianMirror, oneLineUris } from '#driver/wine/apt-sources.ts'

const folder = mkdtempSync(join(tmpdir(), 'oriel-apt-'))
afterEach(() => rmSync(folder, { recursive: true, force: true }))

function sources(files: Record<string, string>): string {
  mkdirSync(join(folder, 'sources.list.d'), { recursive: true })
  for (const [name, text] of Object.entries(files)) writeFileSync(join(folder, name), text)
  return folder
}

test('addresses of one-line entries', () => {
  const text = `# deb http://old/debian x main
deb http://a/debian bookworm main
deb [arch=amd64 signed-by=/k.gpg] http://b/debian bookworm main
deb-src http://c/debian bookworm main
rubbish`
  expect(oneLineUris(text)).toEqual(['http://a/debian', 'http://b/debian'])
})

test('addresses of enabled deb822 stanzas of type deb', () => {
  const text = `Types: deb deb-src
# a comment within
URIs: http://a/debian
 http://b/debian
Suites: trixie

Types: deb-src
URIs: http://c/debian

Types: deb
Enabled: no
URIs: http://d/debian`
  expect(deb822Uris(text)).toEqual(['http://a/debian', 'http://b/debian'])
})

test("the mirror of the main archive is taken, not its security's or another's", async () => {
  const root = sources({
    'sources.list': 'deb https://download.example/linux/ubuntu x stable\n',
    'sources.list.d/debian.sources':
      'Types: deb\nURIs: http://m/debian-security\nSuites: x\n\nTypes: deb\nURIs: http://m/debian\nSuites: x\n'
  })
  expect(await debianMirror(root)).toBe('http://m/debian')
})

test('none where apt has no sources', async () => {
  expect(await debianMirror(join(folder, 'absent'))).toBeUndefined()
})
