import { type Duplex, pipeline, Readable } from 'node:stream'
import zlib from 'node:zlib'
import { Fault, messageOf } from '#lib/fault.ts'

const CHUNK_BYTES = 256 * 1024

// Node has it from 22.15 on.
const nodeZstd = (zlib as { createZstdDecompress?: (options: { chunkSize: number }) => Duplex }).createZstdDecompress

/**
 * The plain tar of a layer, by its media type (Docker's and OCI's, foreign ones included). `zstd` makes a decoder for a Node
 * that has none. Fault for a media type that is no layer's; the stream ends with one when the data are damaged.
 */
export function decompress(stream: Readable, mediaType: string, zstd?: () => Duplex): Readable {
  const format = /^application\/vnd\.(?:oci|docker)\..*\btar(?:[.+](gzip|zstd))?$/.exec(mediaType)
  if (format === null) throw new Fault(`"${mediaType}" is no media type of a layer`)
  if (format[1] === undefined) return stream
  const decoder = format[1] === 'gzip' ? zlib.createGunzip({ chunkSize: CHUNK_BYTES }) : zstdDecoder(zstd)
  return Readable.from(decoded(stream, decoder, format[1]), { objectMode: false, highWaterMark: 4 * CHUNK_BYTES })
}

function zstdDecoder(zstd: (() => Duplex) | undefined): Duplex {
  const decoder = nodeZstd?.({ chunkSize: CHUNK_BYTES }) ?? zstd?.()
  if (decoder === undefined) throw new Fault('this layer is compressed with zstd, which this Node.js cannot read')
  return decoder
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
