import { readFileSync } from 'node:fs'
import { rootCertificates } from 'node:tls'
import { Agent, type Dispatcher, EnvHttpProxyAgent } from 'undici'
import { Fault, messageOf } from './fault.ts'

const CONNECT_MS = 20_000
/** For the head of an answer, and between two pieces of its body. */
const SILENCE_MS = 60_000

export interface AgentOptions {
  /** Takes any certificate. */
  anyCertificate?: boolean
  /** Authorities beside those that Node trusts, as PEM. */
  authorities?: readonly string[]
  /** What servers that ask for a certificate are shown, as PEM. */
  own?: readonly { certificate: string; key: string }[]
}

/** Connections through the proxies of `env` (HTTP_PROXY, HTTPS_PROXY, NO_PROXY, in lower case as well). Fault for a bad one. */
export function makeAgent(env: NodeJS.ProcessEnv, options: AgentOptions = {}): Dispatcher {
  const tls = tlsOptions(env, options)
  const settings = {
    connect: { timeout: CONNECT_MS, ...tls },
    headersTimeout: SILENCE_MS,
    bodyTimeout: SILENCE_MS
  }
  const httpProxy = env.http_proxy ?? env.HTTP_PROXY ?? ''
  const httpsProxy = env.https_proxy ?? env.HTTPS_PROXY ?? ''
  const noProxy = env.no_proxy ?? env.NO_PROXY ?? ''
  if (httpProxy === '' && httpsProxy === '') return new Agent(settings)
  try {
    return new EnvHttpProxyAgent({
      ...settings,
      requestTls: { timeout: CONNECT_MS, ...tls },
      httpProxy: proxyUrl(httpProxy),
      httpsProxy: proxyUrl(httpsProxy),
      noProxy,
      // Proxies forward plain http; many let nobody tunnel to port 80.
      proxyTunnel: false
    })
  } catch {
    // The message would tell the address, and with it a password.
    throw new Fault('HTTP_PROXY or HTTPS_PROXY is not the URL of a proxy', { exitCode: 2 })
  }
}

function tlsOptions(env: NodeJS.ProcessEnv, { anyCertificate = false, authorities = [], own = [] }: AgentOptions) {
  return {
    ...(anyCertificate ? { rejectUnauthorized: false } : {}),
    // Given any, Node trusts no others.
    ...(authorities.length > 0 ? { ca: [...rootCertificates, ...extraAuthorities(env), ...authorities] } : {}),
    ...(own.length > 0 ? { cert: own.map(({ certificate }) => certificate), key: own.map(({ key }) => key) } : {})
  }
}

/** What a person has told Node to trust. One that cannot be read, Node leaves out with a warning at its start. */
function extraAuthorities({ NODE_EXTRA_CA_CERTS: path = '' }: NodeJS.ProcessEnv): string[] {
  try {
    return path === '' ? [] : [readFileSync(path, 'utf8')]
  } catch {
    return []
  }
}

/** As curl does: `proxy:3128` is an address as well. */
function proxyUrl(proxy: string): string {
  return proxy === '' || proxy.includes('://') ? proxy : `http://${proxy}`
}

/** The first value of a header, by its name in lower case. */
export function headerOf(headers: Dispatcher.ResponseData['headers'], name: string): string | undefined {
  const value = headers[name]
  return Array.isArray(value) ? value[0] : value
}

/** Ends the connection of an answer: nobody wants to wait for the rest of gigabytes. */
export function discard(response: Dispatcher.ResponseData): void {
  response.body.on('error', () => undefined).destroy()
}

/** The code of what went wrong on the way: Node's (`ECONNREFUSED`) or undici's (`UND_ERR_SOCKET`); empty for others. */
export function networkCode(error: unknown): string {
  if (error instanceof AggregateError && error.errors.length > 0) return networkCode(error.errors[0])
  return error instanceof Error && 'code' in error ? String(error.code) : ''
}

/** What went wrong on the way, in words; undici's own message where there are none. */
export function reasonOf(error: unknown, url?: URL): string {
  const host = url?.hostname ?? 'the server'
  const words: Record<string, string> = {
    ENOTFOUND: `${host} is not known to the name service`,
    EAI_AGAIN: `the name service does not answer for ${host}`,
    ECONNREFUSED: 'the connection was refused',
    ECONNRESET: 'the connection was cut',
    UND_ERR_SOCKET: 'the connection was cut',
    EPIPE: 'the connection was cut',
    EHOSTUNREACH: `${host} cannot be reached`,
    ENETUNREACH: 'there is no network',
    ETIMEDOUT: `${host} does not answer`,
    UND_ERR_CONNECT_TIMEOUT: `${host} does not answer`,
    UND_ERR_HEADERS_TIMEOUT: `${host} does not answer`,
    UND_ERR_BODY_TIMEOUT: `nothing came for ${SILENCE_MS / 1000} s`,
    UND_ERR_RES_CONTENT_LENGTH_MISMATCH: 'the connection was cut'
  }
  return words[networkCode(error)] ?? messageOf(firstOf(error))
}

function firstOf(error: unknown): unknown {
  return error instanceof AggregateError && error.errors.length > 0 ? firstOf(error.errors[0]) : error
}
