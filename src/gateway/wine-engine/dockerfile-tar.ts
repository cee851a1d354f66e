import { Readable } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import { pack } from 'tar-stream'

/** A build context with nothing but a Dockerfile. */
export async function dockerfileTar(text: string): Promise<Buffer> {
  const tar = pack()
  tar.entry({ name: 'Dockerfile' }, text)
  tar.finalize()
  return await buffer(Readable.from(tar))
}
