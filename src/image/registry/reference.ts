import { Fault } from '#lib/fault.ts'
import { parseDigest } from './digest.ts'

/** An image in a registry, with all that docker leaves out written in. */
export interface ImageReference {
  /** `docker.io`, or the host with the port where one is given. */
  registry: string
  /** Without the registry: `library/golang`. */
  repository: string
  tag?: string
  digest?: string
}

const DOCKER_HUB = 'docker.io'
const DEFAULT_TAG = 'latest'
const MOST_NAME = 255
/** Longer than any that is right; a limit keeps the patterns below quick. */
const MOST_TEXT = 2048

// https://pkg.go.dev/github.com/distribution/reference, the grammar at its head.
const COMPONENT = /^[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*$/
const DOMAIN = /^(?:[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*|\[[a-f0-9:]+\])(?::[0-9]+)?$/i
const TAG = /^\w[\w.-]{0,127}$/
const DIGEST = /^[a-z][a-z0-9]*(?:[-_+.][a-z][a-z0-9]*)*:[0-9a-f]{32,}$/i

/** Reads what a person writes: `golang`, `host:5000/app:1.0@sha256:…`. Fault 2 in docker's own words for what is none. */
export function parseReference(text: string): ImageReference {
  if (/^[a-f0-9]{64}$/.test(text)) {
    throw invalid(`invalid repository name (${text}), cannot specify 64-byte hexadecimal strings`)
  }
  if (text.length > MOST_TEXT) throw invalid('invalid reference format')
  const { registry, rest } = splitRegistry(text)
  const [remote = ''] = rest.split(':')
  if (remote !== remote.toLowerCase()) {
    throw invalid(`invalid reference format: repository name (${remote}) must be lowercase`)
  }
  const at = rest.indexOf('@')
  const digest = at < 0 ? undefined : rest.slice(at + 1)
  const named = at < 0 ? rest : rest.slice(0, at)
  const colon = named.indexOf(':')
  const tag = colon < 0 ? undefined : named.slice(colon + 1)
  const repository = colon < 0 ? named : named.slice(0, colon)
  const right =
    DOMAIN.test(registry) &&
    repository.split('/').every(component => COMPONENT.test(component)) &&
    (tag === undefined || TAG.test(tag)) &&
    (digest === undefined || DIGEST.test(digest))
  if (!right) throw invalid('invalid reference format')
  if (repository.length > MOST_NAME) throw invalid(`repository name must not be more than ${MOST_NAME} characters`)
  if (digest !== undefined) parseDigest(digest)
  return { registry, repository, ...(tag === undefined ? {} : { tag }), ...(digest === undefined ? {} : { digest }) }
}

/** The first part is a registry when it looks like a host; all else is on Docker Hub, in `library/` when it has one part. */
function splitRegistry(text: string): { registry: string; rest: string } {
  const slash = text.indexOf('/')
  const first = text.slice(0, slash)
  const isHost = slash >= 0 && (first === 'localhost' || /[.:]/.test(first) || first !== first.toLowerCase())
  const registry = !isHost || first === 'index.docker.io' ? DOCKER_HUB : first
  const rest = isHost ? text.slice(slash + 1) : text
  return { registry, rest: registry === DOCKER_HUB && !rest.includes('/') ? `library/${rest}` : rest }
}

function invalid(message: string): Fault {
  return new Fault(message, { exitCode: 2 })
}

/** `docker.io/library/golang`: the name without what docker leaves out, without tag and digest. */
export function canonicalName({ registry, repository }: ImageReference): string {
  return `${registry}/${repository}`
}

/** `golang`: the name as docker prints it, without tag and digest. */
export function familiarName({ registry, repository }: ImageReference): string {
  if (registry !== DOCKER_HUB) return `${registry}/${repository}`
  const official = repository.startsWith('library/') ? repository.slice('library/'.length) : repository
  return official.includes('/') ? repository : official
}

/** `golang:1.24`: all of it as docker prints it; `latest` where there is neither tag nor digest. */
export function familiarString(ref: ImageReference): string {
  const tag = ref.tag ?? (ref.digest === undefined ? DEFAULT_TAG : undefined)
  return `${familiarName(ref)}${tag === undefined ? '' : `:${tag}`}${ref.digest === undefined ? '' : `@${ref.digest}`}`
}

/** What a registry is asked for: the digest, or the tag, or `latest`. */
export function tagOrDigest({ tag, digest }: ImageReference): string {
  return digest ?? tag ?? DEFAULT_TAG
}
