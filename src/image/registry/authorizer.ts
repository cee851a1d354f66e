import { type Challenge, parseChallenges, type RegistryAuth } from './auth.ts'
import { RegistryFault } from './registry-fault.ts'
import { type Answer, faultOf, readAnswer, type Transport } from './transport.ts'

/** What a token server gave, and until when it is good, in milliseconds since 1970. */
interface Token {
  text: Promise<string>
  expires: number
}

/** Old docker clients took every token for good for a minute, so servers let them live as long at least. */
const LEAST_TOKEN_S = 60
const MOST_ANSWER = 1024 * 1024

/**
 * Knows what one registry wants to see: nothing, a name and a password, or a token for a scope.
 * https://distribution.github.io/distribution/spec/auth/token/ and …/oauth/
 */
export class Authorizer {
  readonly #transport: Transport
  readonly #auth: RegistryAuth
  readonly #signal: AbortSignal
  readonly #tokens = new Map<string, Token>()
  readonly #issued = new Set<string>()
  #challenge: Challenge | undefined

  /** `signal` ends what is asked of token servers: a token is for all requests, and outlives each of them. */
  constructor(transport: Transport, auth: RegistryAuth | undefined, signal: AbortSignal) {
    this.#transport = transport
    this.#signal = signal
    this.#auth = auth ?? {}
  }

  /** The `Authorization` for requests that need `scopes`, as far as it is known what the registry wants. */
  async header(scopes: readonly string[]): Promise<string | undefined> {
    const challenge = this.#challenge
    if (challenge === undefined) return undefined
    if (challenge.scheme === 'basic') return this.#basic()
    if (this.#auth.registrytoken !== undefined) return `Bearer ${this.#auth.registrytoken}`
    return `Bearer ${await this.#token(challenge, scopes)}`
  }

  /** Learns from a 401 what the registry wants, and forgets the token that was refused. False when it wants nothing known. */
  learn(answer: Answer, scopes: readonly string[]): boolean {
    const header = answer.headers['www-authenticate'] ?? []
    const challenges = parseChallenges(typeof header === 'string' ? [header] : header)
    const wanted =
      challenges.find(({ scheme }) => scheme === 'bearer') ?? challenges.find(({ scheme }) => scheme === 'basic')
    if (wanted === undefined) return false
    this.#challenge = wanted
    this.#tokens.delete(scopes.join(' '))
    return true
  }

  /** Text without the secrets in it: a server can send back what it got. */
  hide(text: string): string {
    const { username = '', password = '', identitytoken, registrytoken } = this.#auth
    const pair = Buffer.from(`${username}:${password}`).toString('base64')
    const secrets = [password, identitytoken, registrytoken, password === '' ? '' : pair, ...this.#issued]
    return secrets.reduce<string>(
      (safe, secret) => ((secret ?? '').length < 4 ? safe : safe.replaceAll(secret ?? '', '…')),
      text
    )
  }

  #basic(): string {
    const { username = '', password = '' } = this.#auth
    if (username === '' || password === '') {
      throw new RegistryFault('no basic auth credentials', { hint: 'Log in with: docker login REGISTRY' })
    }
    return `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`
  }

  /** Many that need the same token at once wait for one. */
  #token(challenge: Challenge, scopes: readonly string[]): Promise<string> {
    const key = scopes.join(' ')
    const known = this.#tokens.get(key)
    if (known !== undefined && known.expires > Date.now()) return known.text
    const token: Token = { text: this.#fetchToken(challenge, scopes, ms => (token.expires = ms)), expires: Infinity }
    this.#tokens.set(key, token)
    token.text.catch(() => this.#tokens.delete(key))
    return token.text
  }

  async #fetchToken(
    { parameters }: Challenge,
    scopes: readonly string[],
    onExpiry: (ms: number) => void
  ): Promise<string> {
    const realm = await this.#realm(parameters.realm)
    const answer =
      this.#auth.identitytoken === undefined
        ? await this.#askByName(realm, parameters.service, scopes)
        : await this.#askByIdentity(realm, parameters.service, scopes, this.#auth.identitytoken)
    if (answer.statusCode >= 400) throw await faultOf(answer, text => this.hide(text), this.#signal)
    const body = (await readAnswer(answer, MOST_ANSWER, this.#signal))?.toString('utf8') ?? ''
    const { text, seconds } = readToken(body)
    // The server's clock may be another one, so the time counts from now.
    onExpiry(Date.now() + seconds * 1000)
    this.#issued.add(text)
    return text
  }

  /** Where tokens are to be had: encrypted, or on a host that may be spoken to in the clear. */
  async #realm(realm: string | undefined): Promise<URL> {
    if (realm === undefined) throw new RegistryFault('no realm specified for token auth challenge')
    const url = URL.canParse(realm) ? new URL(realm) : undefined
    const web = url?.protocol === 'https:' || url?.protocol === 'http:'
    if (url === undefined || !web) throw new RegistryFault('invalid token auth challenge realm')
    if (url.protocol === 'http:' && !(await this.#transport.isInsecure(url.host))) {
      throw new RegistryFault(`invalid token auth challenge realm: http://${url.host} is not encrypted`)
    }
    url.username = ''
    url.password = ''
    return url
  }

  #askByName(realm: URL, service: string | undefined, scopes: readonly string[]) {
    const { username = '', password = '' } = this.#auth
    const known = username !== '' && password !== ''
    const url = new URL(realm)
    if (service !== undefined) url.searchParams.append('service', service)
    for (const scope of scopes) url.searchParams.append('scope', scope)
    if (known) url.searchParams.append('account', username)
    return this.#transport.send(url, { method: 'GET', authorization: known ? this.#basic() : undefined }, this.#signal)
  }

  #askByIdentity(realm: URL, service: string | undefined, scopes: readonly string[], identity: string) {
    const form = new URLSearchParams({
      grant_type: 'refresh_token',
      refresh_token: identity,
      client_id: 'docker',
      scope: scopes.join(' '),
      ...(service === undefined ? {} : { service })
    })
    const headers = { 'content-type': 'application/x-www-form-urlencoded' }
    return this.#transport.send(realm, { method: 'POST', headers, body: form.toString() }, this.#signal)
  }
}

/** The JSON of a token server. */
function readToken(body: string): { text: string; seconds: number } {
  let value: unknown
  try {
    value = JSON.parse(body)
  } catch {
    throw new RegistryFault('unable to decode token response')
  }
  const { access_token, token, expires_in } = (value ?? {}) as Record<string, unknown>
  const text = [access_token, token].find(candidate => typeof candidate === 'string' && candidate !== '')
  if (typeof text !== 'string' || !/^[\x21-\x7e]+$/.test(text)) {
    throw new RegistryFault('authorization server did not include a token in the response')
  }
  const seconds = typeof expires_in === 'number' ? Math.max(expires_in, LEAST_TOKEN_S) : LEAST_TOKEN_S
  return { text, seconds }
}
