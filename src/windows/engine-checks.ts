import { isIP } from 'node:net'

/** What is wrong with a value, as the end of a sentence that begins with its name; undefined when nothing is. */
export type Check = (value: unknown) => string | undefined

const HOST_NAME = /^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$/i

export const flag: Check = value =>
  typeof value === 'boolean' ? undefined : `must be true or false, not ${shown(value)}`

export function wholeNumber(least: number, most = 2_147_483_647): Check {
  const range = most === 2_147_483_647 ? `of ${least} or more` : `from ${least} to ${most}`
  return value =>
    typeof value === 'number' && Number.isInteger(value) && value >= least && value <= most
      ? undefined
      : `must be a whole number ${range}, not ${shown(value)}`
}

/** Text of a form; `form` says which, as in "must be …". */
export function text(form: string, matches: (value: string) => boolean): Check {
  return value => (typeof value === 'string' && matches(value) ? undefined : `must be ${form}, not ${shown(value)}`)
}

export function oneOf(...words: string[]): Check {
  return text(`one of ${words.join(', ')}`, value => words.includes(value))
}

export function listOf(item: Check): Check {
  return value => (Array.isArray(value) ? firstProblem(value, item) : `must be a list, not ${shown(value)}`)
}

export function mapOf(item: Check): Check {
  return value => {
    if (!isMapping(value)) return `must be a mapping of names to values, not ${shown(value)}`
    for (const [name, inner] of Object.entries(value)) {
      const problem = item(inner)
      if (problem !== undefined) return within(name, problem)
    }
    return undefined
  }
}

/** A mapping that may have some of the named entries and no others. */
export function record(entries: Readonly<Record<string, Check>>): Check {
  return value => {
    if (!isMapping(value)) return `must be a mapping with ${Object.keys(entries).join(', ')}, not ${shown(value)}`
    for (const [name, inner] of Object.entries(value)) {
      const check = Object.hasOwn(entries, name) ? entries[name] : undefined
      const problem = check === undefined ? `is none of ${Object.keys(entries).join(', ')}` : check(inner)
      if (problem !== undefined) return within(name, problem)
    }
    return undefined
  }
}

export function isMapping(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

export const anyText = text('text', value => value.trim() !== '')
export const keyValue = text('text such as name=value', value => /^[^=\s][^=]*=/.test(value))
export const ipAddress = text('an IP address', value => isIP(value) !== 0)
export const hostAndPort = text('an address with a port, such as 0.0.0.0:9323', value =>
  /^[\w.[\]:-]*:\d{1,5}$/.test(value)
)
export const searchDomain = text(
  'a domain',
  value => value === '.' || (/[a-z]/i.test(value) && value.length < 255 && HOST_NAME.test(value.replace(/\.$/, '')))
)

/** IPv4 only, as WinNAT has no other. */
export const ipv4Network = text('an IPv4 network such as 172.30.0.0/16', value => {
  const [address = '', bits = '', ...rest] = value.split('/')
  return isIP(address) === 4 && /^\d{1,2}$/.test(bits) && Number(bits) <= 32 && rest.length === 0
})

/** As dockerd checks it; a path after the host is an error before Docker Engine 25. */
export function mirrorUrl(pathAllowed: boolean): Check {
  return text(`an http:// or https:// address without user${pathAllowed ? '' : ', path'} and query`, value => {
    if (!/^https?:\/\//i.test(value) || !URL.canParse(value)) return false
    const { username, password, search, hash, pathname } = new URL(value)
    return username === '' && password === '' && search === '' && hash === '' && (pathAllowed || pathname === '/')
  })
}

export const proxyUrl = text('an address such as http://proxy.example:3128', value => {
  return /^(https?|socks5h?):\/\/./i.test(value) && URL.canParse(value)
})

export const registryHost = text('host, host:port or a network such as 10.0.0.0/8, without http://', value => {
  const network = /^(.+)\/(\d{1,3})$/.exec(value)
  if (network !== null) {
    const kind = isIP(network[1] ?? '')
    return kind !== 0 && Number(network[2]) <= (kind === 4 ? 32 : 128)
  }
  if (isIP(value) !== 0) return true
  const [, host = '', port = '0'] = /^([^:]+|\[[0-9a-f:.]+\])(?::(\d{1,5}))?$/i.exec(value) ?? []
  return (HOST_NAME.test(host) || isIP(host.replace(/^\[|\]$/g, '')) === 6) && Number(port) <= 65_535
})

function firstProblem(values: readonly unknown[], check: Check): string | undefined {
  for (const [index, value] of values.entries()) {
    const problem = check(value)
    if (problem !== undefined) return within(`entry ${index + 1}`, problem)
  }
  return undefined
}

/** A problem of something inside: `: http-proxy must be …`. */
export function within(name: string, problem: string): string {
  return `: ${name}${problem.startsWith(':') ? '' : ' '}${problem}`
}

/** The value in a message. Passwords of addresses stay out. */
function shown(value: unknown): string {
  const json = JSON.stringify(value) ?? 'nothing'
  const safe = json.replace(/\/\/[^/@"]*@/g, '//…@')
  return safe.length > 60 ? `${safe.slice(0, 57)}…` : safe
}
