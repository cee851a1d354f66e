import { expect, test } from 'vitest'
import { nearest } from '#lib/nearest.ts'

const words = ['dns', 'dns-opts', 'dns-search', 'registry-mirrors', 'labels', 'log-level']

test.each([
  ['dns', 'dns'],
  ['dsn', undefined],
  ['DNS-OPTS', 'dns-opts'],
  ['dns-opt', 'dns-opts'],
  ['registry-mirror', 'registry-mirrors'],
  ['registrymirrors', 'registry-mirrors'],
  ['lables', 'labels'],
  ['loglevel', 'log-level'],
  ['something-else', undefined],
  ['', undefined]
])('%s', (word, expected) => {
  expect(nearest(word, words)).toBe(expected)
})

test('the nearest one wins, and no candidates give nothing', () => {
  expect(nearest('log-leve', ['log-level', 'log-lever-x', 'log-leve'])).toBe('log-leve')
  expect(nearest('x', [])).toBeUndefined()
})
