import { describe, expect, test } from 'vitest'
import { parseChallenges, parseRegistryAuth } from '#image/registry/auth.ts'
import { isInsecure } from '#image/registry/insecure.ts'

const encode = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url')

describe('X-Registry-Auth', () => {
  test('is read in base64url, with padding and without', () => {
    const auth = { username: 'me', password: 'p>?~ü', serveraddress: 'https://index.docker.io/v1/' }
    expect(parseRegistryAuth(encode(auth))).toEqual(auth)
    const padded = Buffer.from(JSON.stringify(auth)).toString('base64').replaceAll('+', '-').replaceAll('/', '_')
    expect(parseRegistryAuth(padded)).toEqual(auth)
    expect(parseRegistryAuth(encode({ identitytoken: 'i', email: 'x@y' }))).toEqual({ identitytoken: 'i' })
  })

  test.each([undefined, '', encode({}), encode([]), encode(null), encode({ username: 1 }), '{"username":"a"}', '%%%'])(
    'of nothing, or of no sense, is none: %s',
    header => {
      expect(parseRegistryAuth(header)).toBeUndefined()
    }
  )
})

describe('WWW-Authenticate', () => {
  test('is read with quotes, escapes, and more than one challenge', () => {
    expect(
      parseChallenges([
        'Bearer realm="https://a.b/token?x=1,2",service="a \\"b\\"", scope="repository:a/b:pull,push"',
        'Basic realm="r", Negotiate, Bearer realm=plain'
      ])
    ).toEqual([
      {
        scheme: 'bearer',
        parameters: { realm: 'https://a.b/token?x=1,2', service: 'a "b"', scope: 'repository:a/b:pull,push' }
      },
      { scheme: 'basic', parameters: { realm: 'r' } },
      { scheme: 'negotiate', parameters: {} },
      { scheme: 'bearer', parameters: { realm: 'plain' } }
    ])
  })

  test.each(['', '"', '=', ',,,', '\u0000', 'a"'.repeat(5000)])('of no sense ends: %j', text => {
    expect(Array.isArray(parseChallenges([text]))).toBe(true)
  })
})

describe('an insecure registry', () => {
  test.each([
    ['localhost:5000', [], true],
    ['127.3.2.1', [], true],
    ['[::1]:5000', [], true],
    ['10.1.2.3:5000', [], false],
    ['10.1.2.3:5000', ['10.0.0.0/8'], true],
    ['10.1.2.3:5000', ['11.0.0.0/8', 'nonsense/99', '10.1.2.3'], false],
    ['10.1.2.3:5000', ['http://10.1.2.3:5000'], true],
    ['127.0.0.1.example.invalid', [], false],
    ['host.example.invalid', ['host.example.invalid'], true],
    ['host.example.invalid:5000', ['host.example.invalid'], false],
    ['[fd00::1]:5000', ['fd00::/8'], true]
  ])('%s with %j: %s', async (host, insecure, expected) => {
    expect(await isInsecure(host, insecure)).toBe(expected)
  })
})
