import { open } from 'node:fs/promises'
import { type Duplex, pipeline, Readable, Transform } from 'node:stream'
import zlib from 'node:zlib'
import { Decompress } from 'fzstd'
import { Fault, messageOf } from '#lib/fault.ts'

const CHUNK_BYTES = 256 * 1024

// Node has it from 22.15 on.
const nodeZstd = (zlib as { createZstdDecompress?: (options: { chunkSize: number }) => Duplex }).createZstdDecompress

/**
 * The plain tar of a layer, by its media type (Docker's and OCI's, foreign ones included). Fault for a media type that is no layer's; the stream ends with one when the data are damaged.
 */
export function decompress(stream: Readable, mediaType: string): Readable {
  const format = /^application\/vnd\.(?:oci|docker)\..*\btar(?:[.+](gzip|zstd))?$/.exec(mediaType)
  if (format === null) throw new Fault(`"${mediaType}" is no media type of a layer`)
  return decompressAs(stream, format[1] as Compression | undefined)
}

export type Compression = 'gzip' | 'zstd'

/** The plain tar of a layer that is compressed so. The stream ends with a Fault when the data are damaged. */
export function decompressAs(stream: Readable, compression: Compression | undefined): Readable {
  if (compression === undefined) return stream
  const decoder = compression === 'gzip' ? zlib.createGunzip({ chunkSize: CHUNK_BYTES }) : zstdDecoder()
  return Readable.from(decoded(stream, decoder, compression), { objectMode: false, highWaterMark: 4 * CHUNK_BYTES })
}

/** How the file of a layer is compressed, by its first bytes. */
export async function compressionOf(file: string): Promise<Compression | undefined> {
  const handle = await open(file)
  try {
    const { buffer } = await handle.read(Buffer.alloc(4), 0, 4, 0)
    const magic = buffer.toString('hex')
    return magic.startsWith('1f8b') ? 'gzip' : magic === '28b52ffd' ? 'zstd' : undefined
  } finally {
    await handle.close()
  }
}

function zstdDecoder(): Duplex {
  return nodeZstd?.({ chunkSize: CHUNK_BYTES }) ?? slowZstdDecoder()
}

/** In JavaScript, for a Node that has none of its own. */
export function slowZstdDecoder(): Duplex {
  const decoder = new Decompress()
  return new Transform({
    readableHighWaterMark: CHUNK_BYTES,
    transform(chunk: Buffer, _encoding, done) {
      try {
        decoder.ondata = piece => this.push(piece)
        decoder.push(chunk)
        done()
      } catch (error) {
        done(error instanceof Error ? error : new Error(String(error)))
      }
    },
    flush(done) {
      try {
        decoder.ondata = piece => this.push(piece)
        decoder.push(new Uint8Array(0), true)
        done()
      } catch (error) {
        done(error instanceof Error ? error : new Error(String(error)))
      }
    }
  })
}

async function* decoded(stream: Readable, decoder: Duplex, format: string): AsyncGenerator<Buffer> {
  let failure: Error | undefined
  stream.once('error', error => {
    failure = error
  })
  pipeline(stream, decoder, () => {})
  try {
    yield* decoder
  } catch (error) {
    // What the source says (a digest that is wrong, a line that broke) is the cause; the decoder only notices.
    if (failure !== undefined) throw failure
    throw new Fault(`the layer is no ${format} data, or damaged: ${messageOf(error)}`, { cause: error })
  }
}
