import type { IncomingMessage } from 'node:http'
import { Readable } from 'node:stream'
import { decompressed, peek } from './build-compression.ts'
import type { WineContext } from './context.ts'
import { dockerfileTar } from './dockerfile-tar.ts'
import { withGitContext } from './git-context.ts'
import { Refusal } from './refusal.ts'
import { type RemoteFile, withRemoteFile } from './remote-file.ts'

/** What a build is made from. */
export interface BuildSource {
  /** Not compressed. */
  tar: Readable
  /** Path of the Dockerfile in it. */
  dockerfile: string
}

const GIT = /^(git:\/\/|git@|github\.com\/)|^https?:\/\/.*\.git(#.+)?$/i
/** How a client names a context that comes over /session. */
const SESSION = 'client-session'

/**
 * The context of a build for as long as `work` takes: what the client sends, or what is at the URL that it names, which the
 * daemon fetches. A Refusal in docker's words for what cannot be had.
 */
export async function withBuildSource<T>(
  context: WineContext,
  { remote, dockerfile }: { remote: string; dockerfile: string },
  request: IncomingMessage,
  signal: AbortSignal,
  work: (source: BuildSource) => Promise<T>
): Promise<T> {
  if (remote === '') return await work({ tar: await decompressed(request), dockerfile })
  request.resume()
  if (remote === SESSION) {
    throw new Refusal(
      'experimental session with v1 builder is no longer supported, use builder version v2 (BuildKit) instead'
    )
  }
  if (GIT.test(remote)) {
    return await withGitContext(context, remote, dockerfile, signal, tar => work({ tar, dockerfile }))
  }
  if (!/^https?:\/\//i.test(remote)) throw new Refusal(`remoteURL (${remote}) could not be recognized as URL`)
  const fetched = async ({ url, contentType, body }: RemoteFile): Promise<T> => {
    if (!(await isDockerfile(url, contentType, body))) {
      return await work({ tar: await decompressed(body), dockerfile })
    }
    // A Dockerfile by itself: there is nothing to copy from, and nothing that a path could name.
    const tar = await dockerfileTar(await textOf(body))
    return await work({ tar: Readable.from([tar], { objectMode: false }), dockerfile: 'Dockerfile' })
  }
  return await withRemoteFile(context, remote, signal, fetched, 'error downloading remote context')
}

/** As much as tells text from an archive. */
const SNIFFED_BYTES = 512
const MOST_TEXT = 16 * 1024 * 1024
const ARCHIVE = /^application\/(?:(?:x-)?(?:tar|gzip|bzip2?|xz|zstd|gtar|compressed-tar)|octet-stream)$/
// biome-ignore lint/suspicious/noControlCharactersInRegex: what no text has.
const NOT_IN_TEXT = /[\0-\x08\x0b\x0e-\x1a\x1c-\x1f]/

/**
 * Whether a server gives a text and not an archive. Many call every file `octet-stream`, and some a tar a text, so its first
 * bytes decide. A Refusal, as docker's, for what is neither.
 */
async function isDockerfile(url: string, contentType: string, body: Readable): Promise<boolean> {
  const first = (await peek(body, SNIFFED_BYTES)).toString('latin1')
  if (first === '') throw new Refusal(`error detecting content type for remote ${url}: empty response`)
  const isText = !NOT_IN_TEXT.test(first)
  if (contentType === 'text/plain') return isText
  const page = /^\s*<(!doctype html|html)/i.test(first)
  if (page || !(contentType === '' || ARCHIVE.test(contentType))) {
    const shown = page ? 'text/html' : contentType
    throw new Refusal(`error detecting content type for remote ${url}: unsupported Content-Type "${shown}"`)
  }
  return isText
}

async function textOf(body: Readable): Promise<string> {
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of body) {
    size += (chunk as Buffer).length
    if (size > MOST_TEXT) throw new Refusal(`the Dockerfile is larger than ${MOST_TEXT} bytes`)
    chunks.push(chunk as Buffer)
  }
  return Buffer.concat(chunks).toString('utf8')
}
