import { describe, expect, test } from 'vitest'
import { canonicalName, familiarName, familiarString, parseReference, tagOrDigest } from '#image/registry/reference.ts'
import { Fault } from '#lib/fault.ts'

const HEX = 'c0ffee00'.repeat(8)

describe('a reference', () => {
  test.each([
    ['golang', 'docker.io/library/golang', 'golang', 'golang:latest'],
    ['golang:1.24', 'docker.io/library/golang', 'golang', 'golang:1.24'],
    ['docker.io/golang', 'docker.io/library/golang', 'golang', 'golang:latest'],
    ['index.docker.io/library/golang', 'docker.io/library/golang', 'golang', 'golang:latest'],
    ['team/app:a_b.C-1', 'docker.io/team/app', 'team/app', 'team/app:a_b.C-1'],
    ['docker.io/library/a/b', 'docker.io/library/a/b', 'library/a/b', 'library/a/b:latest'],
    ['localhost/app', 'localhost/app', 'localhost/app', 'localhost/app:latest'],
    ['localhost:5000/app:2', 'localhost:5000/app', 'localhost:5000/app', 'localhost:5000/app:2'],
    ['[::1]:5000/app', '[::1]:5000/app', '[::1]:5000/app', '[::1]:5000/app:latest'],
    ['Host/app', 'Host/app', 'Host/app', 'Host/app:latest'],
    [`a/b:t@sha256:${HEX}`, 'docker.io/a/b', 'a/b', `a/b:t@sha256:${HEX}`],
    [`a.b/c@sha256:${HEX}`, 'a.b/c', 'a.b/c', `a.b/c@sha256:${HEX}`],
    ['a__b/c-----d', 'docker.io/a__b/c-----d', 'a__b/c-----d', 'a__b/c-----d:latest']
  ])('%s', (text, canonical, familiar, whole) => {
    const ref = parseReference(text)
    expect([canonicalName(ref), familiarName(ref), familiarString(ref)]).toEqual([canonical, familiar, whole])
  })

  test('asks for its digest rather than for its tag', () => {
    expect(tagOrDigest(parseReference(`a:t@sha256:${HEX}`))).toBe(`sha256:${HEX}`)
    expect(tagOrDigest(parseReference('a:t'))).toBe('t')
    expect(tagOrDigest(parseReference('a'))).toBe('latest')
  })

  test.each([
    ['', 'invalid reference format'],
    ['a b', 'invalid reference format'],
    ['-a', 'invalid reference format'],
    ['a:', 'invalid reference format'],
    ['a/', 'invalid reference format'],
    ['a//b', 'invalid reference format'],
    ['../../etc', 'invalid reference format'],
    ['a.b/../c', 'invalid reference format'],
    ['https://a.b/c', 'invalid reference format'],
    ['a@sha256:short', 'invalid reference format'],
    ['a:t:u', 'invalid reference format'],
    [`a:${'t'.repeat(129)}`, 'invalid reference format'],
    ['a'.repeat(100_000), 'invalid reference format'],
    ['a.b/Upper', 'invalid reference format: repository name (Upper) must be lowercase'],
    ['Upper', 'invalid reference format: repository name (library/Upper) must be lowercase'],
    [HEX, `invalid repository name (${HEX}), cannot specify 64-byte hexadecimal strings`],
    [`a.b/${'a'.repeat(256)}`, 'repository name must not be more than 255 characters'],
    [`a@sha256:${'a'.repeat(40)}`, 'invalid checksum digest length'],
    [`a@sha256:${HEX.toUpperCase()}`, 'invalid checksum digest format'],
    [`a@md9:${HEX}`, 'unsupported digest algorithm']
  ])('%s is none', (text, message) => {
    const error = catching(() => parseReference(text))
    expect(error).toBeInstanceOf(Fault)
    expect(error).toMatchObject({ message, exitCode: 2 })
  })
})

function catching(work: () => unknown): unknown {
  try {
    return work()
  } catch (error) {
    return error
  }
}
