import { connect as connectSocket, isIP, type Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { type ConnectionOptions, connect as connectTls } from 'node:tls'
import { Fault, messageOf } from '#lib/fault.ts'
import { dialSsh } from './ssh-stream.ts'

/** What TLS needs, as PEM text. Without `ca` the system's authorities count. */
export interface TlsMaterial {
  ca?: string
  cert?: string
  key?: string
  skipVerify?: boolean
}

/** Where a Docker engine listens. */
export type Endpoint =
  | { kind: 'unix'; path: string }
  | { kind: 'tcp'; host: string; port: number; tls?: TlsMaterial }
  /** `destination` is the tail of ssh's arguments, e.g. `['-p', '22', 'me@host']`. */
  | { kind: 'ssh'; destination: string[] }

const hint = 'Use unix:///path/to/docker.sock, tcp://host:port or ssh://user@host.'
const plainPort = 2375
const tlsPort = 2376

/** Reads an address as docker writes it: `unix://`, `tcp://`, `http(s)://` or `ssh://`. A Fault (wrong usage) for others. */
export function parseEndpoint(url: string, tls?: TlsMaterial): Endpoint {
  const [, scheme = '', rest = ''] = /^([a-z][a-z0-9+.-]*):\/\/(.*)$/is.exec(url) ?? []
  switch (scheme.toLowerCase()) {
    case 'unix':
      if (!rest.startsWith('/') || rest.includes('\0')) throw wrong(url, 'the path of a socket must be absolute')
      return { kind: 'unix', path: rest }
    case 'tcp':
      return tcpEndpoint(url, rest, tls === undefined ? plainPort : tlsPort, tls)
    case 'http':
      return tcpEndpoint(url, rest, 80, undefined)
    case 'https':
      return tcpEndpoint(url, rest, 443, tls ?? {})
    case 'ssh':
      return sshEndpoint(url, rest)
    case '':
      throw wrong(url, 'it has no scheme')
    case 'npipe':
    case 'fd':
      throw wrong(url, `${scheme}:// is not to be had on this system`)
    default:
      throw wrong(url, `${scheme}:// is not known`)
  }
}

function tcpEndpoint(url: string, rest: string, defaultPort: number, tls: TlsMaterial | undefined): Endpoint {
  const { user, password, host, port } = authority(url, rest)
  if (user !== '' || password !== '') throw wrong(url, 'a TCP address takes no user')
  return { kind: 'tcp', host, port: port ?? defaultPort, ...(tls === undefined ? {} : { tls }) }
}

function sshEndpoint(url: string, rest: string): Endpoint {
  const { user, password, host, port } = authority(url, rest)
  if (password !== '') throw wrong(url, 'a password in the address is not supported, use a key')
  // ssh would take these for options.
  if (host.startsWith('-') || user.startsWith('-')) throw wrong(url, 'a host or user cannot begin with a dash')
  return {
    kind: 'ssh',
    destination: [...(port === undefined ? [] : ['-p', String(port)]), user === '' ? host : `${user}@${host}`]
  }
}

function authority(url: string, rest: string): { user: string; password: string; host: string; port?: number } {
  const match = /^(?:([^@/:\s]*)(?::([^@/\s]*))?@)?(\[[0-9a-f:.]+(?:%\w+)?\]|[^:/@[\]?#\s]+)(?::(\d*))?\/?$/i.exec(rest)
  if (match === null) {
    throw wrong(url, /[/?#]./.test(rest) ? 'a path after the host is not supported' : 'host and port are unclear')
  }
  const [, user = '', password = '', host = '', portText = ''] = match
  const bare = host.replace(/^\[|\]$/g, '')
  if (bare !== host && isIP(bare.replace(/%.*/, '')) !== 6) throw wrong(url, `${bare} is no IPv6 address`)
  if (portText === '') return { user, password, host: bare }
  const port = Number(portText)
  if (port < 1 || port > 65_535) throw wrong(url, `port ${portText} is not between 1 and 65535`)
  return { user, password, host: bare, port }
}

function wrong(url: string, why: string): Fault {
  return new Fault(`Not an address of a Docker engine: "${url}" (${why}).`, { hint, exitCode: 2 })
}

/** The address as people and docker contexts write it. */
export function endpointUrl(endpoint: Endpoint): string {
  switch (endpoint.kind) {
    case 'unix':
      return `unix://${endpoint.path}`
    case 'tcp':
      return `tcp://${endpoint.host.includes(':') ? `[${endpoint.host}]` : endpoint.host}:${endpoint.port}`
    case 'ssh': {
      const [target = '', ...options] = [...endpoint.destination].reverse()
      const port = options.at(-1) === '-p' ? `:${options.at(-2)}` : ''
      const host = target.slice(target.lastIndexOf('@') + 1)
      const user = target.slice(0, target.length - host.length)
      return `ssh://${user}${host.includes(':') ? `[${host}]` : host}${port}`
    }
  }
}

/**
 * Opens a byte stream to the engine, half-open allowed. With ssh the stream is there as soon as ssh runs; a refusal of the
 * far side then ends it with a Fault. `timeoutMs` limits the wait for the connection, handshake included.
 * Rejects with a Fault that names the endpoint and the cause.
 */
export function dial(endpoint: Endpoint, timeoutMs = 10_000): Promise<Duplex> {
  if (endpoint.kind === 'ssh') return dialSsh(endpoint.destination, endpointUrl(endpoint), timeoutMs)
  return new Promise((resolve, reject) => {
    const socket = open(endpoint)
    const fail = (error: Error): void => {
      clearTimeout(timer)
      socket.destroy()
      reject(
        new Fault(`Cannot reach the Docker engine at ${endpointUrl(endpoint)}: ${reason(error)}`, {
          hint: 'Is the engine running?',
          cause: error
        })
      )
    }
    const timer = setTimeout(() => fail(new Error(`no connection within ${timeoutMs / 1000} s`)), timeoutMs)
    const closed = (): void => fail(new Error('the connection was closed during the handshake'))
    socket.once('error', fail)
    socket.once('close', closed)
    socket.once(endpoint.kind === 'tcp' && endpoint.tls !== undefined ? 'secureConnect' : 'connect', () => {
      clearTimeout(timer)
      socket.off('error', fail)
      socket.off('close', closed)
      socket.setNoDelay(true)
      // With TLS 1.3 the engine looks at our certificate only after the handshake has succeeded on this side.
      socket.prependListener('error', error => {
        error.message = reason(error)
      })
      resolve(socket)
    })
  })
}

function open(endpoint: Exclude<Endpoint, { kind: 'ssh' }>): Socket {
  if (endpoint.kind === 'unix') return connectSocket({ path: endpoint.path, allowHalfOpen: true })
  const { host, port, tls } = endpoint
  if (tls === undefined) return connectSocket({ host, port, allowHalfOpen: true, noDelay: true })
  const { skipVerify, ...material } = tls
  // Node takes it and documents it; its type does not have it.
  const options: ConnectionOptions & { allowHalfOpen: boolean } = {
    host,
    port,
    ...material,
    // A server name is a DNS name; TLS forbids addresses there.
    ...(isIP(host) === 0 ? { servername: host } : {}),
    rejectUnauthorized: skipVerify !== true,
    allowHalfOpen: true
  }
  return connectTls(options)
}

/**
 * The cause in words. Node's error for "both addresses of localhost refused" has an empty message, and OpenSSL's for an alert
 * of the far side are lines of its source code.
 */
function reason(error: Error): string {
  const code = 'code' in error && typeof error.code === 'string' ? error.code : ''
  if (/^ERR_SSL_.*_ALERT_(.*CERTIFICATE.*|UNKNOWN_CA)$/.test(code)) {
    const alert = code
      .replace(/^ERR_SSL_.*_ALERT_/, '')
      .replaceAll('_', ' ')
      .toLowerCase()
    return `the engine does not accept our certificate (${alert}); it may be over, or of another authority`
  }
  if (error instanceof AggregateError && error.message === '') return error.errors.map(messageOf).join('; ')
  return error.message
}
