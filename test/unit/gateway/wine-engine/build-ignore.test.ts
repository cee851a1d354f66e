import { expect, test } from 'vitest'
import { ignores } from '#gateway/wine-engine/build-ignore.ts'

test.each<[string, string, boolean]>([
  ['', 'Dockerfile', false],
  ['# Dockerfile', 'Dockerfile', false],
  ['Dockerfile', 'Dockerfile', true],
  ['/Dockerfile', 'Dockerfile', true],
  ['dockerfile', 'Dockerfile', false],
  ['  Dockerfile  ', 'Dockerfile', true],
  ['*', 'Dockerfile', true],
  ['*\n!Dockerfile', 'Dockerfile', false],
  ['!Dockerfile\n*', 'Dockerfile', true],
  ['D*e', 'Dockerfile', true],
  ['Dockerfil?', 'Dockerfile', true],
  ['[CD]ockerfile', 'Dockerfile', true],
  ['[^D]ockerfile', 'Dockerfile', false],
  ['*', 'a/Dockerfile', true],
  ['a', 'a/Dockerfile', true],
  ['a/*', 'a/Dockerfile', true],
  ['*/Dockerfile', 'Dockerfile', false],
  ['**/Dockerfile', 'Dockerfile', true],
  ['**/Dockerfile', 'a/b/Dockerfile', true],
  ['a/**', 'a/b/Dockerfile', true],
  ['**', 'Dockerfile', true],
  ['./a/../Dockerfile', 'Dockerfile', true],
  ['Docker.ile', 'Dockerfile', false],
  ['\\Dockerfile', 'Dockerfile', true],
  ['[z-a]x', 'Dockerfile', false],
  ['Dockerfile\r\n', 'Dockerfile', true]
])('%j with %s: %s', (patterns, path, expected) => {
  expect(ignores(patterns, path)).toBe(expected)
})
