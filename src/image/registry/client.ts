import type { Readable } from 'node:stream'
import { Fault } from '#lib/fault.ts'
import { headerOf } from '#lib/http-agent.ts'
import { checkAborted, pause } from '#lib/wait.ts'
import type { RegistryAuth } from './auth.ts'
import { type Blob, BlobReader } from './blob-reader.ts'
import { digestOf, parseDigest } from './digest.ts'
import { Endpoint } from './endpoint.ts'
import { type ImageReference, tagOrDigest } from './reference.ts'
import { pullFault, RegistryFault } from './registry-fault.ts'
import { type Answer, faultOf, type Message, mediaTypeOf, readAnswer, release, Transport } from './transport.ts'

export interface RegistryOptions {
  auth?: RegistryAuth
  /** Hosts (`host`, `host:port`) and networks (`10.0.0.0/8`) for which HTTP and any certificate will do. Loopback always is. */
  insecure: readonly string[]
  /** URLs of mirrors of Docker Hub, asked before it. They get no credentials. */
  mirrors: readonly string[]
  /** For HTTP_PROXY, HTTPS_PROXY and NO_PROXY. */
  env: NodeJS.ProcessEnv
  /** Ends all that the client does. */
  signal: AbortSignal
  /** The first pause before something is tried again, in milliseconds; each further one is twice as long. */
  retryMs?: number
}

/** What one call is given beside what it asks for. */
export interface CallOptions {
  signal?: AbortSignal
  /** Told before a pause, in seconds, after which a transfer goes on. */
  onRetry?: (seconds: number) => void
}

export interface FetchedManifest {
  mediaType: string
  digest: string
  bytes: Buffer
}

/** What dockerd takes as well. */
const MOST_MANIFEST = 4 * 1024 * 1024
const MOST_TAGS = 100_000
const RETRY_MS = 1000
/** After an answer that may be another one in a moment. */
const MOST_RETRIES = 3
/** A longer Retry-After is left to the person. */
const LONGEST_WAIT_S = 60
const MOST_UPLOADS = 3

const MANIFEST_TYPES = [
  'application/vnd.docker.distribution.manifest.v2+json',
  'application/vnd.docker.distribution.manifest.list.v2+json',
  'application/vnd.oci.image.manifest.v1+json',
  'application/vnd.oci.image.index.v1+json',
  // So that the message is about the image's age, and not about what was accepted.
  'application/vnd.docker.distribution.manifest.v1+prettyjws'
]

/** A request below `/v2/REPOSITORY/` of a registry. */
interface Call extends Omit<Message, 'authorization' | 'body'> {
  repository: string
  /** Below the repository, or the URL of an upload that the registry gave. */
  path: string | URL
  actions: 'pull' | 'pull,push'
  /** Another repository to read from. */
  mountFrom?: string | undefined
  body?: () => Buffer | Readable
  /** Not sent again by itself: nobody knows what of it came. */
  once?: boolean
  /** Statuses that the caller deals with. */
  expected: readonly number[]
  signal: AbortSignal
}

/**
 * Speaks to one registry: the OCI distribution spec 1.1 and what docker's own registries do beside it. Everything throws
 * RegistryFault in docker's words, and Fault 130 when a signal fires. No secret is in any message.
 */
export class RegistryClient {
  readonly registry: string
  readonly #options: RegistryOptions
  readonly #transport: Transport
  readonly #origin: Endpoint
  readonly #mirrors: Endpoint[]

  /** `registry` as in ImageReference. */
  constructor(registry: string, options: RegistryOptions) {
    this.registry = registry
    this.#options = options
    this.#transport = new Transport(registry, options.env, options.insecure)
    const hub = registry === 'docker.io'
    const { auth, signal } = options
    this.#origin = new Endpoint(hub ? 'registry-1.docker.io' : registry, this.#transport, auth, signal)
    this.#mirrors = hub ? options.mirrors.map(url => new Endpoint(url, this.#transport, undefined, signal)) : []
  }

  /** The manifest, or index, that a reference names, its digest checked. */
  async manifest(ref: ImageReference, call: CallOptions = {}): Promise<FetchedManifest> {
    try {
      return await this.#anywhere(call, (endpoint, signal) => this.#manifest(endpoint, ref, signal))
    } catch (error) {
      throw error instanceof RegistryFault ? pullFault(error, ref) : error
    }
  }

  async #manifest(endpoint: Endpoint, ref: ImageReference, signal: AbortSignal): Promise<FetchedManifest> {
    const wanted = tagOrDigest(ref)
    const headers = { accept: MANIFEST_TYPES.join(', ') }
    const path = `manifests/${wanted}`
    const call = { method: 'GET', repository: ref.repository, path, actions: 'pull', headers, signal } as const
    const answer = await this.#ask(endpoint, { ...call, expected: [200] })
    const mediaType = mediaTypeOf(answer)
    const bytes = await readAnswer(answer, MOST_MANIFEST, signal)
    if (bytes === undefined) throw new RegistryFault(`the manifest of ${ref.repository} is longer than 4 MiB`)
    const first = bytes.subarray(0, 64).toString('utf8').trimStart()
    if (mediaType === 'text/html' || first.startsWith('<')) {
      throw new RegistryFault(
        `unsupported manifest media type and no default available: text/html: ${endpoint.host} answered with a web page`,
        { hint: 'A proxy, or the login page of a network, may have answered in its place.' }
      )
    }
    const said = headerOf(answer.headers, 'docker-content-digest')
    const expected = ref.digest ?? (said === undefined ? undefined : checkedDigest(said))
    const digest = digestOf(bytes, expected)
    if (expected !== undefined && expected !== digest) {
      throw new RegistryFault(`manifest verification failed for digest ${expected}`)
    }
    return { mediaType, digest, bytes }
  }

  /** All tags of a repository, in the registry's order. */
  async tags(ref: ImageReference, call: CallOptions = {}): Promise<string[]> {
    try {
      return await this.#anywhere(call, (endpoint, signal) => this.#tags(endpoint, ref.repository, signal))
    } catch (error) {
      throw error instanceof RegistryFault ? pullFault(error, ref) : error
    }
  }

  async #tags(endpoint: Endpoint, repository: string, signal: AbortSignal): Promise<string[]> {
    const tags = new Set<string>()
    const asked = new Set<string>()
    let path: string | URL = 'tags/list'
    for (;;) {
      const call = { method: 'GET', repository, path, actions: 'pull', expected: [200], signal } as const
      const answer = await this.#ask(endpoint, call)
      const bytes = await readAnswer(answer, MOST_MANIFEST, signal)
      for (const tag of tagsIn(bytes, endpoint.host)) tags.add(tag)
      if (tags.size > MOST_TAGS) throw new RegistryFault(`${repository} has more than ${MOST_TAGS} tags`)
      const next = nextPage(headerOf(answer.headers, 'link'))
      if (next === undefined || asked.has(next)) return [...tags]
      asked.add(next)
      // Behind a proxy a registry may name itself otherwise than it is asked.
      path = new URL(next, await endpoint.base(signal))
    }
  }

  async hasBlob(repository: string, digest: string, call: CallOptions = {}): Promise<boolean> {
    const signal = this.#signalOf(call)
    const path = `blobs/${checkedDigest(digest)}`
    const asked = { method: 'HEAD', repository, path, actions: 'pull', expected: [200, 404], signal } as const
    const answer = await this.#ask(this.#origin, asked)
    release(answer)
    return answer.statusCode === 200
  }

  /**
   * The bytes of a blob from `from` on. The stream goes on by itself after a cut, ends with an error when it has not the
   * size of the descriptor, and is not checked by digest (BlobStore does). `urls` are tried when the registry has it not.
   */
  async blob(repository: string, descriptor: Blob, from = 0, call: CallOptions = {}): Promise<Readable> {
    const signal = this.#signalOf(call)
    const path = `blobs/${checkedDigest(descriptor.digest)}`
    const open = (at: number): Promise<Answer> => {
      const headers = at > 0 ? { range: `bytes=${at}-` } : {}
      const asked = { method: 'GET', repository, path, actions: 'pull', headers, signal } as const
      return this.#anywhere(call, async endpoint => {
        try {
          return await this.#ask(endpoint, { ...asked, expected: [200, 206, 416] })
        } catch (error) {
          const absent = error instanceof RegistryFault && error.status === 404
          if (!absent || descriptor.urls === undefined || endpoint !== this.#origin) throw error
          return await this.#foreign(descriptor.urls, headers, signal, error)
        }
      })
    }
    return new BlobReader(descriptor, open, { ...call, signal, retryMs: this.#retryMs }).read(from)
  }

  /** The first of the URLs that gives something. Nobody's credentials are for them. */
  async #foreign(urls: readonly string[], headers: Record<string, string>, signal: AbortSignal, absent: Fault) {
    const encrypted = (await this.#origin.base(signal)).protocol === 'https:'
    for (const text of urls) {
      const url = URL.canParse(text) ? new URL(text) : undefined
      if (url?.protocol !== 'https:' && (encrypted || url?.protocol !== 'http:')) continue
      try {
        const answer = await this.#transport.send(url, { method: 'GET', headers }, signal)
        if ([200, 206].includes(answer.statusCode)) return answer
        release(answer)
      } catch (error) {
        checkAborted(signal)
        if (!(error instanceof Fault)) throw error
      }
    }
    throw absent
  }

  /**
   * Sees to it that a repository has a blob: it has, or takes it from the repository `mountFrom`, or is sent it. `open`
   * gives the bytes, from the first on, once for each try.
   */
  async pushBlob(
    repository: string,
    descriptor: { digest: string; size: number },
    open: () => Readable,
    mountFrom?: string,
    call: CallOptions = {}
  ): Promise<'exists' | 'mounted' | 'uploaded'> {
    if (await this.hasBlob(repository, descriptor.digest, call)) return 'exists'
    if (mountFrom !== undefined && (await this.mountBlob(repository, descriptor.digest, mountFrom, call)))
      return 'mounted'
    const signal = this.#signalOf(call)
    for (let uploads = 1; ; uploads += 1) {
      try {
        await this.#upload(repository, descriptor, open, signal)
        return 'uploaded'
      } catch (error) {
        if (uploads >= MOST_UPLOADS) throw error
        await this.#waitAfter(error, uploads, signal, call.onRetry)
      }
    }
  }

  /** Has the registry take a blob from another of its repositories. False when it will not. */
  async mountBlob(repository: string, digest: string, mountFrom: string, call: CallOptions = {}): Promise<boolean> {
    const signal = this.#signalOf(call)
    const query = new URLSearchParams({ mount: checkedDigest(digest), from: mountFrom })
    const path = `blobs/uploads/?${query}`
    const asked = { method: 'POST', repository, path, actions: 'pull,push', mountFrom, signal } as const
    try {
      const answer = await this.#ask(this.#origin, { ...asked, expected: [201, 202] })
      release(answer)
      if (answer.statusCode === 202) await this.#cancel(repository, await this.#locationOf(answer, signal), signal)
      return answer.statusCode === 201
    } catch (error) {
      checkAborted(signal)
      // It may not be this person's to read; then it is sent.
      if (error instanceof RegistryFault && !error.passing) return false
      throw error
    }
  }

  async #upload(repository: string, { digest, size }: Blob, open: () => Readable, signal: AbortSignal): Promise<void> {
    const call = { repository, actions: 'pull,push', signal } as const
    const begun = await this.#ask(this.#origin, { ...call, method: 'POST', path: 'blobs/uploads/', expected: [202] })
    release(begun)
    let location = await this.#locationOf(begun, signal)
    try {
      const headers = { 'content-type': 'application/octet-stream' }
      const sent = { ...call, headers, method: 'PATCH', path: location, body: open, length: size, once: true } as const
      const answer = await this.#ask(this.#origin, { ...sent, expected: [202] })
      release(answer)
      location = await this.#locationOf(answer, signal)
      const whole = new URL(`${location.href}${location.search === '' ? '?' : '&'}digest=${encodeURIComponent(digest)}`)
      const put = { ...call, headers, method: 'PUT', path: whole, body: () => Buffer.alloc(0) } as const
      release(await this.#ask(this.#origin, { ...put, expected: [201] }))
    } catch (error) {
      if (!signal.aborted) await this.#cancel(repository, location, signal)
      throw error
    }
  }

  /** Tells the registry that an upload will not go on. It would find out by itself, so this may fail. */
  async #cancel(repository: string, path: URL, signal: AbortSignal): Promise<void> {
    const call = { method: 'DELETE', repository, path, actions: 'pull,push', signal } as const
    await this.#ask(this.#origin, { ...call, expected: [204] }).then(release, () => undefined)
  }

  async #locationOf(answer: Answer, signal: AbortSignal): Promise<URL> {
    const base = await this.#origin.base(signal)
    const location = headerOf(answer.headers, 'location')
    if (location === undefined || !URL.canParse(location, base.href)) {
      throw new RegistryFault(`${this.#origin.host} does not say where an upload goes to`)
    }
    const url = new URL(location, base)
    if (base.protocol === 'https:' && url.protocol === 'http:') {
      // A registry that does not know of the proxy before it, which does the encryption.
      if (url.hostname !== base.hostname) throw new RegistryFault(`${this.#origin.host} wants an upload unencrypted`)
      return new URL(`${url.pathname}${url.search}`, base)
    }
    return url
  }

  /** Gives its digest, which is checked against the registry's. */
  async pushManifest(
    repository: string,
    tagOrDigest: string,
    mediaType: string,
    bytes: Buffer,
    call: CallOptions = {}
  ): Promise<string> {
    const signal = this.#signalOf(call)
    const answer = await this.#ask(this.#origin, {
      method: 'PUT',
      repository,
      path: `manifests/${tagOrDigest}`,
      actions: 'pull,push',
      headers: { 'content-type': mediaType },
      body: () => bytes,
      expected: [200, 201, 202],
      signal
    })
    release(answer)
    const said = headerOf(answer.headers, 'docker-content-digest')
    const digest = digestOf(bytes, said === undefined ? undefined : checkedDigest(said))
    if (said !== undefined && said !== digest)
      throw new RegistryFault(`manifest verification failed for digest ${digest}`)
    return digest
  }

  /** Ends the connections. */
  close(): Promise<void> {
    return this.#transport.close()
  }

  get #retryMs(): number {
    return this.#options.retryMs ?? RETRY_MS
  }

  #signalOf({ signal }: CallOptions): AbortSignal {
    return signal === undefined ? this.#options.signal : AbortSignal.any([this.#options.signal, signal])
  }

  /** Asks the mirrors, and the registry itself when none of them has it. */
  async #anywhere<T>(call: CallOptions, ask: (endpoint: Endpoint, signal: AbortSignal) => Promise<T>): Promise<T> {
    const signal = this.#signalOf(call)
    for (const mirror of this.#mirrors.filter(({ dead }) => !dead)) {
      try {
        return await ask(mirror, signal)
      } catch (error) {
        checkAborted(signal)
        if (!(error instanceof Fault)) throw error
        // One that does not answer would cost its time again for every layer.
        mirror.dead = error.cause !== undefined || (error instanceof RegistryFault && error.passing)
      }
    }
    return ask(this.#origin, signal)
  }

  /** One request, again when the registry wants to be asked otherwise (401) or later (429, 5xx). */
  async #ask(endpoint: Endpoint, call: Call): Promise<Answer> {
    const { repository, path, actions, mountFrom, body, once = false, expected, signal, ...message } = call
    const base = await endpoint.base(signal)
    const url = path instanceof URL ? path : new URL(`v2/${repository}/${path}`, base)
    const scopes = [`repository:${repository}:${actions}`, ...(mountFrom ? [`repository:${mountFrom}:pull`] : [])]
    let challenged = false
    for (let tries = 0; ; ) {
      try {
        // An upload may be sent to another host, which the credentials are not for.
        const authorization = url.origin === base.origin ? await endpoint.authorizer.header(scopes) : undefined
        const sent = { ...message, ...(body === undefined ? {} : { body: body() }), authorization }
        const answer = await this.#transport.send(url, sent, signal)
        if (expected.includes(answer.statusCode)) return answer
        if (answer.statusCode !== 401 || challenged || !endpoint.authorizer.learn(answer, scopes)) {
          throw await faultOf(answer, text => endpoint.authorizer.hide(text), signal)
        }
        challenged = true
        release(answer)
      } catch (error) {
        if (once || tries >= MOST_RETRIES) throw error
        await this.#waitAfter(error, tries, signal)
        tries += 1
      }
    }
  }

  /** Pauses as long as the registry wants after an error that may pass; throws any other one. */
  async #waitAfter(error: unknown, tries: number, signal: AbortSignal, onRetry?: (seconds: number) => void) {
    checkAborted(signal)
    if (!(error instanceof RegistryFault) || !error.passing) throw error
    const seconds = error.retryAfter ?? (this.#retryMs * 2 ** tries) / 1000
    if (seconds > LONGEST_WAIT_S) throw error
    onRetry?.(seconds)
    await pause(seconds * 1000, signal)
  }
}

function tagsIn(bytes: Buffer | undefined, host: string): string[] {
  try {
    const { tags } = JSON.parse((bytes ?? '').toString()) as { tags?: unknown }
    // Go writes null for an empty list.
    if (tags === null || (Array.isArray(tags) && tags.every(tag => typeof tag === 'string'))) return tags ?? []
  } catch {
    // No JSON, or no object: it is said below.
  }
  throw new RegistryFault(`${host} gives no list of tags`)
}

/** Path and query of the page that a Link header names: RFC 8288. */
function nextPage(link: string | undefined): string | undefined {
  const target = /<([^>]*)>\s*;[^,]*\brel="?next"?/i.exec(link ?? '')?.[1]
  if (target === undefined || !URL.canParse(target, 'http://registry/v2/')) return undefined
  const { pathname, search } = new URL(target, 'http://registry/v2/')
  return `${pathname}${search}`
}

function checkedDigest(digest: string): string {
  parseDigest(digest)
  return digest
}
