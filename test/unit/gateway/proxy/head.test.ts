import { expect, test } from 'vitest'
import { BodyReader, requestFraming, responseFraming } from '#gateway/proxy/framing.ts'
import {
  formatRequestHead,
  formatResponseHead,
  parseRequestHead,
  parseResponseHead,
  withHeader
} from '#gateway/proxy/head.ts'

const get = (text: string) => parseRequestHead(Buffer.from(text, 'latin1'))

test('order, spelling and repetition of headers survive', () => {
  const text = 'POST /v1.41/x?a=%2F HTTP/1.1\r\nHost: d\r\nx-B: 1\r\nX-a: \xe9\r\nX-B: 2\r\nEmpty: \r\n\r\n'
  const head = get(text)
  expect(head.headers.map(([name]) => name)).toEqual(['Host', 'x-B', 'X-a', 'X-B', 'Empty'])
  expect(formatRequestHead(head).toString('latin1')).toBe(text)
})

test.each([
  'GET  / HTTP/1.1\r\n\r\n',
  'GET / HTTP/1.1 \r\n\r\n',
  'GET /\r\n\r\n',
  ' GET / HTTP/1.1\r\n\r\n',
  'G(T / HTTP/1.1\r\n\r\n',
  'GET / HTTP/11\r\n\r\n',
  'GET / http/1.1\r\n\r\n',
  'GET x HTTP/1.1\r\n\r\n',
  'GET /\x7f HTTP/1.1\r\n\r\n',
  'CONNECT host:1 HTTP/1.1\r\n\r\n',
  'GET / HTTP/1.1\r\nA : b\r\n\r\n',
  'GET / HTTP/1.1\r\nA: b\r\n c\r\n\r\n',
  'GET / HTTP/1.1\r\nA: b\r\n\tc\r\n\r\n',
  'GET / HTTP/1.1\r\n: b\r\n\r\n',
  'GET / HTTP/1.1\r\nno colon\r\n\r\n',
  'GET / HTTP/1.1\r\nA: b\rc\r\n\r\n',
  'GET / HTTP/1.1\r\nA: \x01\r\n\r\n'
])('%j is refused', text => {
  expect(() => get(text)).toThrow(expect.objectContaining({ status: 400 }))
})

test('other versions are refused by name', () => {
  expect(() => get('PRI * HTTP/2.0\r\n\r\n')).toThrow(expect.objectContaining({ status: 505 }))
  expect(() => get('GET / HTTP/1.0\r\n\r\n')).toThrow(expect.objectContaining({ status: 505 }))
})

test.each<[string, [string, string][]]>([
  [
    'both',
    [
      ['Transfer-Encoding', 'chunked'],
      ['Content-Length', '1']
    ]
  ],
  [
    'two lengths',
    [
      ['Content-Length', '1'],
      ['content-length', '2']
    ]
  ],
  [
    'the same length twice',
    [
      ['Content-Length', '1'],
      ['Content-Length', '1']
    ]
  ],
  ['a list', [['Content-Length', '1, 1']]],
  ['a sign', [['Content-Length', '+1']]],
  ['hex', [['Content-Length', '0x1']]],
  ['huge', [['Content-Length', '99999999999999999999']]],
  [
    'two encodings',
    [
      ['Transfer-Encoding', 'chunked'],
      ['Transfer-Encoding', 'chunked']
    ]
  ],
  ['gzip', [['Transfer-Encoding', 'gzip, chunked']]],
  ['not quite chunked', [['Transfer-Encoding', 'xchunked']]]
])('ambiguous framing is refused: %s', (_what, headers) => {
  expect(() => requestFraming(headers)).toThrow(expect.objectContaining({ status: 400 }))
})

test('framing of answers', () => {
  expect(responseFraming('HEAD', 200, [['Content-Length', '5']])).toEqual({ kind: 'none' })
  expect(responseFraming('GET', 304, [])).toEqual({ kind: 'none' })
  expect(responseFraming('GET', 200, [['content-length', '5']])).toEqual({ kind: 'length', length: 5 })
  expect(responseFraming('GET', 200, [['Transfer-Encoding', 'Chunked']])).toEqual({ kind: 'chunked' })
  expect(responseFraming('POST', 200, [])).toEqual({ kind: 'until-close' })
})

test('an answer keeps its reason, a broken one is a 502', () => {
  const text = 'HTTP/1.1 101 UPGRADED\r\nUpgrade: tcp\r\n\r\n'
  expect(formatResponseHead(parseResponseHead(Buffer.from(text))).toString()).toBe(text)
  expect(() => parseResponseHead(Buffer.from('SSH-2.0\r\n\r\n'))).toThrow(expect.objectContaining({ status: 502 }))
})

test('a rewrite cannot split a head, and replaces in place', () => {
  const head = get('GET / HTTP/1.1\r\nA: 1\r\nB: 2\r\na: 3\r\n\r\n')
  expect(withHeader(head, 'A', 'x').headers).toEqual([
    ['A', 'x'],
    ['B', '2']
  ])
  expect(withHeader(head, 'C', 'x').headers.at(-1)).toEqual(['C', 'x'])
  expect(() => formatRequestHead(withHeader(head, 'A', 'x\r\nEvil: 1'))).toThrow('line break')
  expect(() => formatRequestHead({ ...head, target: '/ HTTP/1.1\r\nEvil: 1' })).toThrow('line break')
})

test('a chunked body is read byte by byte as well as whole', () => {
  const wire = Buffer.from('4;x=y\r\nWiki\r\nA\r\npedia in\r\n\r\n0\r\nT: 1\r\n\r\nnext')
  for (const step of [1, 2, 7, wire.length]) {
    const reader = new BodyReader({ kind: 'chunked' })
    let data = ''
    let rest = ''
    for (let at = 0; at < wire.length; at += step) {
      const piece = wire.subarray(at, at + step)
      if (reader.done) {
        rest += piece
        continue
      }
      const cut = reader.feed(piece)
      data += Buffer.concat(cut.data)
      rest += cut.rest
    }
    expect([data, rest]).toEqual(['Wikipedia in\r\n', 'next'])
  }
})

test.each([
  'x\r\n',
  '4\nWiki',
  '4\r\nWikiX\r\n',
  '\r\n',
  '-1\r\n',
  '0x4\r\n',
  'fffffffffffffff\r\n',
  `1;${'x'.repeat(5000)}`
])('a broken chunk is refused: %j', wire => {
  expect(() => new BodyReader({ kind: 'chunked' }).feed(Buffer.from(wire))).toThrow('chunks of the body are broken')
})
