import { Readable } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import { pipeline } from 'node:stream/promises'
import { extract, type Header, pack } from 'tar-stream'
import { describe, expect, test } from 'vitest'
import { ContextFilter, GENERATED } from '#gateway/wine-engine/build-context.ts'

type Entry = [name: string, content: string, header?: Partial<Header>]

async function tar(entries: readonly Entry[]): Promise<Buffer> {
  const archive = pack()
  for (const [name, content, header] of entries) archive.entry({ ...header, name }, content)
  archive.finalize()
  return await buffer(Readable.from(archive))
}

function chunks(data: Buffer, size: number): Buffer[] {
  return Array.from({ length: Math.ceil(data.length / size) }, (_, at) => data.subarray(at * size, (at + 1) * size))
}

/** Sends a tar through the filter; gives what the engine would see. */
async function filtered(data: Buffer, wanted = 'Dockerfile', size = 1000): Promise<Map<string, string>> {
  const filter = new ContextFilter(wanted, async text => `translated ${text}`)
  const files = new Map<string, string>()
  const reader = extract()
  reader.on('entry', (header, stream, next) => {
    buffer(stream).then(content => {
      files.set(header.name, content.toString('utf8'))
      next()
    }, next)
  })
  await pipeline(Readable.from(chunks(data, size)), filter, reader)
  return files
}

const long = `${'deep/'.repeat(60)}file.txt`

describe.each([1, 511, 512, 513, 100_000])('in chunks of %i bytes', size => {
  test('passes everything and adds the translation', async () => {
    const big = 'x'.repeat(70_000)
    const data = await tar([
      ['a.txt', 'a'],
      ['Dockerfile', 'FROM x'],
      [long, big, { mtime: new Date(1.5) }],
      ['empty', ''],
      ['dir/', '', { type: 'directory' }],
      ['é/日', 'u']
    ])
    const files = await filtered(data, 'Dockerfile', size)
    expect(Object.fromEntries(files)).toEqual({
      'a.txt': 'a',
      [long]: big,
      empty: '',
      'dir/': '',
      'é/日': 'u',
      Dockerfile: 'FROM x',
      '.dockerignore': `.dockerignore\n${GENERATED}\n`,
      [GENERATED]: 'translated FROM x'
    })
  })
})

test('keeps links, modes and times as they are', async () => {
  const data = await tar([
    ['Dockerfile', 'FROM x', { mode: 0o640 }],
    ['l', '', { type: 'symlink', linkname: '/a' }],
    ['h', '', { type: 'link', linkname: 'Dockerfile' }]
  ])
  const seen: Header[] = []
  const reader = extract()
  reader.on('entry', (header, stream, next) => {
    seen.push(header)
    stream.resume()
    next()
  })
  await pipeline(Readable.from([data]), new ContextFilter('Dockerfile', async text => text), reader)
  expect(seen.map(({ name, type, linkname, mode }) => ({ name, type, linkname, mode })).slice(0, 3)).toEqual([
    { name: 'l', type: 'symlink', linkname: '/a', mode: 0o644 },
    { name: 'h', type: 'link', linkname: 'Dockerfile', mode: 0o644 },
    { name: 'Dockerfile', type: 'file', linkname: null, mode: 0o640 }
  ])
})

test('finds a Dockerfile elsewhere, below ./ and in lower case', async () => {
  expect((await filtered(await tar([['./docker/My', 'A']]), 'docker/My')).get(GENERATED)).toBe('translated A')
  expect((await filtered(await tar([['dockerfile', 'A']]))).get(GENERATED)).toBe('translated A')
  const both = await filtered(
    await tar([
      ['dockerfile', 'lower'],
      ['Dockerfile', 'upper']
    ])
  )
  expect(both.get(GENERATED)).toBe('translated upper')
  expect(both.get('dockerfile')).toBe('lower')
})

test.each<[string, string[], string]>([
  ['node_modules', ['.dockerignore', 'Dockerfile'], `node_modules\n${GENERATED}\n`],
  ['Dockerfile\n', ['.dockerignore'], `Dockerfile\n${GENERATED}\n`],
  ['.*\n', ['.dockerignore', 'Dockerfile'], `.*\n.dockerignore\n${GENERATED}\n`],
  ['*\n!a', ['.dockerignore'], `*\n!a\n.dockerignore\n${GENERATED}\n`]
])('.dockerignore of %j', async (patterns, kept, content) => {
  // The order does not matter: the Dockerfile may come before the patterns that exclude it.
  for (const order of [1, -1]) {
    const entries: Entry[] = [
      ['Dockerfile', 'F'],
      ['.dockerignore', patterns]
    ]
    const files = await filtered(await tar(order === 1 ? entries : entries.reverse()))
    expect([...files.keys()].filter(name => name !== GENERATED).sort()).toEqual(kept)
    expect(files.get('.dockerignore')).toBe(content)
  }
})

test.each<[string, Promise<Buffer>, string]>([
  ['no Dockerfile', tar([['a', 'b']]), 'Cannot locate specified Dockerfile: Dockerfile'],
  ['nothing', Promise.resolve(Buffer.alloc(0)), 'Cannot locate specified Dockerfile: Dockerfile'],
  [
    'noise',
    Promise.resolve(Buffer.alloc(2048, 'x')),
    'Error processing tar file(exit status 1): archive/tar: invalid tar header'
  ],
  [
    'a link',
    tar([['Dockerfile', '', { type: 'symlink', linkname: 'D' }]]),
    'Dockerfile in the build context is not a plain file'
  ],
  ['half a header', tar([['Dockerfile', 'x']]).then(data => data.subarray(0, 300)), 'unexpected EOF'],
  ['half a file', tar([['a', 'x'.repeat(3000)]]).then(data => data.subarray(0, 2000)), 'unexpected EOF'],
  ['a Dockerfile of 17 MiB', tar([['Dockerfile', 'x'.repeat(17 * 1024 * 1024)]]), 'larger than']
])('%s is refused', async (_, data, message) => {
  await expect(filtered(await data)).rejects.toThrow(message)
})

test('an error of the translation ends the stream with it', async () => {
  const filter = new ContextFilter('Dockerfile', async () => {
    throw new Error('no good')
  })
  await expect(pipeline(Readable.from([await tar([['Dockerfile', 'x']])]), filter, buffer)).rejects.toThrow('no good')
})

test('holds back no more than a chunk', async () => {
  const filter = new ContextFilter('Dockerfile', async text => text)
  const block = Buffer.alloc(1024 * 1024)
  const head = (await tar([['big', '']])).subarray(0, 512)
  head.write(`${(64 * block.length).toString(8).padStart(11, '0')}\0`, 124)
  head.write('        ', 148)
  head.write(
    `${head
      .reduce((sum, byte) => sum + byte, 0)
      .toString(8)
      .padStart(6, '0')}\0 `,
    148
  )
  async function* source(): AsyncGenerator<Buffer> {
    yield head
    for (let count = 0; count < 64; count++) yield block
    yield await tar([['Dockerfile', 'x']])
  }
  let most = 0
  let total = 0
  await pipeline(source(), filter, async stream => {
    for await (const chunk of stream) {
      most = Math.max(most, filter.readableLength + filter.writableLength)
      total += (chunk as Buffer).length
    }
  })
  expect(total).toBeGreaterThan(64 * block.length)
  expect(most).toBeLessThan(4 * block.length)
})
