/** What a docker client knows of a registry, as it comes in `X-Registry-Auth`. */
export interface RegistryAuth {
  username?: string
  password?: string
  /** For a token server, instead of a password. */
  identitytoken?: string
  /** Sent to the registry as it is. */
  registrytoken?: string
  serveraddress?: string
}

const FIELDS = ['username', 'password', 'identitytoken', 'registrytoken', 'serveraddress'] as const

/** Reads the header `X-Registry-Auth` (JSON in base64url). As dockerd, takes what cannot be read for nothing at all. */
export function parseRegistryAuth(header: string | undefined): RegistryAuth | undefined {
  if (header === undefined || header === '') return undefined
  let value: unknown
  try {
    value = JSON.parse(Buffer.from(header, 'base64url').toString('utf8'))
  } catch {
    return undefined
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return undefined
  const auth: RegistryAuth = {}
  for (const field of FIELDS) {
    const text = (value as Record<string, unknown>)[field]
    if (text === undefined || text === null || text === '') continue
    if (typeof text !== 'string') return undefined
    auth[field] = text
  }
  return Object.keys(auth).length === 0 ? undefined : auth
}

/** One challenge of a `WWW-Authenticate` header: RFC 9110, 11.6.1. */
export interface Challenge {
  /** In lower case. */
  scheme: string
  /** Names are in lower case. */
  parameters: Readonly<Record<string, string>>
}

const SCHEME = /^([!#$%&'*+.^_`|~\w-]+)(?:\s+|(?=,)|$)/
const PARAMETER = /^([!#$%&'*+.^_`|~\w-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))\s*/

/** Reads the values of `WWW-Authenticate`, each of which may hold more than one challenge. */
export function parseChallenges(values: readonly string[]): Challenge[] {
  return values.flatMap(value => {
    const found: { scheme: string; parameters: Record<string, string> }[] = []
    let rest = value.slice(0, 8192).replace(/^[\s,]+/, '')
    while (rest !== '') {
      const [parameter, name = '', quoted, plain] = PARAMETER.exec(rest) ?? []
      const last = found.at(-1)
      if (parameter !== undefined && last !== undefined) {
        last.parameters[name.toLowerCase()] = plain ?? (quoted ?? '').replace(/\\(.)/g, '$1')
        rest = rest.slice(parameter.length)
      } else {
        const [whole, scheme = ''] = SCHEME.exec(rest) ?? []
        if (whole === undefined) break
        found.push({ scheme: scheme.toLowerCase(), parameters: {} })
        rest = rest.slice(whole.length)
      }
      rest = rest.replace(/^[\s,]+/, '')
    }
    return found
  })
}
