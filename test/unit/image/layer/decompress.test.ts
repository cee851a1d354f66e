import { execFileSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import { gzipSync } from 'node:zlib'
import { expect, test } from 'vitest'
import { compressionOf, decompress, decompressAs, slowZstdDecoder } from '#image/layer/decompress.ts'
import { Fault } from '#lib/fault.ts'
import { temporaryFolder } from '../../../support/installation-disc.ts'
import { inPieces } from '../../../support/tar.ts'

const PLAIN = Buffer.from('the layer '.repeat(100_000))
const GZIP = gzipSync(PLAIN)

test.each([
  'application/vnd.docker.image.rootfs.diff.tar.gzip',
  'application/vnd.docker.image.rootfs.foreign.diff.tar.gzip',
  'application/vnd.oci.image.layer.v1.tar+gzip',
  'application/vnd.oci.image.layer.nondistributable.v1.tar+gzip'
])('%s', async mediaType => {
  expect((await buffer(decompress(inPieces(GZIP, 1000), mediaType))).equals(PLAIN)).toBe(true)
})

test('a plain tar passes', async () => {
  const stream = Readable.from([PLAIN])
  expect(decompress(stream, 'application/vnd.oci.image.layer.v1.tar')).toBe(stream)
})

test('zstd, also without a decoder of Node', async () => {
  const mediaType = 'application/vnd.oci.image.layer.v1.tar+zstd'
  const zstd = execFileSync('zstd', ['-q', '-c'], { input: PLAIN })
  expect((await buffer(decompress(inPieces(zstd, 1000), mediaType))).equals(PLAIN)).toBe(true)
  expect((await buffer(inPieces(zstd, 777).pipe(slowZstdDecoder()))).equals(PLAIN)).toBe(true)
  await expect(buffer(decompress(Readable.from([PLAIN]), mediaType))).rejects.toThrow(/no zstd data/)
  await expect(buffer(decompress(Readable.from([zstd.subarray(0, 100)]), mediaType))).rejects.toThrow(Fault)
})

test('a file is known by its first bytes, and comes out plain', async () => {
  const { path: folder, remove } = temporaryFolder()
  try {
    for (const [bytes, compression] of [
      [PLAIN, undefined],
      [GZIP, 'gzip'],
      [execFileSync('zstd', ['-q', '-c'], { input: PLAIN }), 'zstd'],
      [Buffer.from([0x1f]), undefined]
    ] as const) {
      const file = join(folder, 'layer')
      writeFileSync(file, bytes)
      expect(await compressionOf(file)).toBe(compression)
      if (bytes.length > 1)
        expect((await buffer(decompressAs(inPieces(bytes, 1000), compression))).equals(PLAIN)).toBe(true)
    }
  } finally {
    remove()
  }
})

test('damaged and cut data are a Fault', async () => {
  const mediaType = 'application/vnd.oci.image.layer.v1.tar+gzip'
  await expect(buffer(decompress(Readable.from([PLAIN]), mediaType))).rejects.toThrow(/no gzip data/)
  await expect(buffer(decompress(Readable.from([GZIP.subarray(0, 500)]), mediaType))).rejects.toThrow(Fault)
})

test('an error of the source stays what it is', async () => {
  const broken = new Readable({ read() {} })
  const output = decompress(broken, 'application/vnd.oci.image.layer.v1.tar+gzip')
  const read = buffer(output)
  broken.push(GZIP.subarray(0, 100))
  const cause = new Fault('the digest is wrong')
  setImmediate(() => broken.destroy(cause))
  await expect(read).rejects.toBe(cause)
})

test.each(['text/html', 'application/vnd.oci.image.config.v1+json', 'application/vnd.oci.image.layer.v1.tar+xz'])(
  '%s is no layer',
  mediaType => {
    expect(() => decompress(Readable.from([]), mediaType)).toThrow(Fault)
  }
)
