import { STATUS_CODES } from 'node:http'
import { Fault } from '#lib/fault.ts'
import { familiarName, familiarString, type ImageReference } from './reference.ts'

export interface RegistryFaultOptions {
  status?: number
  code?: string
  passing?: boolean
  retryAfter?: number | undefined
  hint?: string
  cause?: unknown
}

/** What a registry, or the way to it, refused, in docker's words. */
export class RegistryFault extends Fault {
  /** The status that dockerd would answer its client with. */
  readonly status: number
  /** The registry's own code: `MANIFEST_UNKNOWN`; empty where it gave none. */
  readonly code: string
  /** True when the same may work in a moment. */
  readonly passing: boolean
  /** Seconds after which the registry wants to be asked again. */
  readonly retryAfter: number | undefined

  constructor(message: string, options: RegistryFaultOptions = {}) {
    const { status = 500, code = '', passing = false, retryAfter, ...rest } = options
    super(message, rest)
    this.retryAfter = retryAfter
    this.status = status
    this.code = code
    this.passing = passing
  }
}

/** What a registry has under a name can be no image here: it is for another system, or none at all. */
export class UnfitImage extends RegistryFault {}

/** What a registry says of a code, where it says nothing more: OCI distribution-spec, Error Codes. */
const MESSAGES: Readonly<Record<string, string>> = {
  UNAUTHORIZED: 'authentication required',
  DENIED: 'requested access to the resource is denied',
  TOOMANYREQUESTS: 'too many requests',
  MANIFEST_UNKNOWN: 'manifest unknown',
  NAME_UNKNOWN: 'repository name not known to registry',
  BLOB_UNKNOWN: 'blob unknown to registry',
  UNKNOWN: 'unknown error'
}

const MOST_MESSAGE = 1000

/** The Fault for an answer that is none of success: the registry's own words where it sends them, else those of the status. */
export function answerFault(status: number, contentType: string, body: string, retryAfter?: number): RegistryFault {
  if (status >= 500) return unexpected(status, true, retryAfter)
  const errors = errorsOf(body)
  if (errors.length > 0) {
    const first = errors[0] as CodeAndMessage
    const lines = errors.map(wordsOf)
    // As docker prints more than one.
    const words = lines.length === 1 ? (lines[0] ?? '') : `errors:\n${lines.join('\n')}\n`
    return fault(status, first.code, words, retryAfter)
  }
  const code =
    status === 401 ? 'UNAUTHORIZED' : status === 403 ? 'DENIED' : status === 429 ? 'TOOMANYREQUESTS' : 'UNKNOWN'
  const text = plain(body)
  // A page of a proxy or a web server, which tells a person nothing in a terminal.
  const silent = text === '' || contentType.startsWith('text/html') || text.startsWith('<') || text.startsWith('{')
  if (silent && code === 'UNKNOWN') return unexpected(status, false)
  return fault(status, code, wordsOf({ code, message: silent ? '' : text }), retryAfter)
}

function unexpected(status: number, passing: boolean, retryAfter?: number): RegistryFault {
  const message = `received unexpected HTTP status: ${status} ${STATUS_CODES[status] ?? ''}`.trim()
  return new RegistryFault(message, { status: status === 404 ? 404 : 500, passing, ...waiting(retryAfter) })
}

function fault(status: number, code: string, message: string, retryAfter?: number): RegistryFault {
  const answered = code === 'UNAUTHORIZED' ? 401 : status === 404 ? 404 : 500
  return new RegistryFault(message, { status: answered, code, passing: status === 429, ...waiting(retryAfter) })
}

function waiting(retryAfter: number | undefined): RegistryFaultOptions {
  if (retryAfter === undefined) return {}
  return { retryAfter, hint: `The registry says to try again in ${Math.ceil(retryAfter)} seconds.` }
}

interface CodeAndMessage {
  code: string
  message: string
}

function wordsOf({ code, message }: CodeAndMessage): string {
  return `${code.toLowerCase().replaceAll('_', ' ')}: ${message || (MESSAGES[code] ?? MESSAGES.UNKNOWN)}`
}

/** `{"errors":[{"code":…,"message":…}]}`, and the `{"details":…}` and `{"message":…}` of some registries. */
function errorsOf(body: string): CodeAndMessage[] {
  let value: unknown
  try {
    value = JSON.parse(body)
  } catch {
    return []
  }
  if (typeof value !== 'object' || value === null) return []
  const { errors, details } = value as { errors?: unknown; details?: unknown }
  if (typeof details === 'string' && details !== '') return [{ code: 'UNKNOWN', message: plain(details) }]
  if (!Array.isArray(errors)) return []
  return errors.slice(0, 10).flatMap((error: unknown) => {
    if (typeof error !== 'object' || error === null) return []
    const { code, message } = error as { code?: unknown; message?: unknown }
    if (typeof code !== 'string') return []
    return [{ code: plain(code).toUpperCase(), message: typeof message === 'string' ? plain(message) : '' }]
  })
}

/** Text of somebody else for a terminal: no control characters, no novel. */
function plain(text: string): string {
  return text
    .replace(/\p{Cc}+/gu, ' ')
    .trim()
    .slice(0, MOST_MESSAGE)
}

/** What dockerd says of a pull, for what the registry said. */
export function pullFault(fault: RegistryFault, ref: ImageReference): RegistryFault {
  const before: Readonly<Record<string, string>> = {
    DENIED: `pull access denied for ${familiarName(ref)}, repository does not exist or may require 'docker login'`,
    MANIFEST_UNKNOWN: `manifest for ${familiarString(ref)} not found`,
    NAME_UNKNOWN: `repository ${familiarName(ref)} not found`
  }
  const words = before[fault.code]
  if (words === undefined) return fault
  // Of many errors docker takes the first.
  const [said = ''] = fault.message.replace(/^errors:\n/, '').split('\n')
  return new RegistryFault(`${words}: ${said}`, { status: 404, code: fault.code, cause: fault })
}
