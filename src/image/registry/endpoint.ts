import { checkAborted } from '#lib/wait.ts'
import type { RegistryAuth } from './auth.ts'
import { Authorizer } from './authorizer.ts'
import { release, type Transport } from './transport.ts'

/** One address where a registry is spoken to: itself, or a mirror. */
export class Endpoint {
  /** With its port, for people. */
  readonly host: string
  readonly authorizer: Authorizer
  /** It is not asked any more. */
  dead = false
  readonly #transport: Transport
  readonly #address: string
  #base: Promise<URL> | undefined

  /** `address` is a host with or without port, or the URL of a mirror. */
  constructor(address: string, transport: Transport, auth: RegistryAuth | undefined, signal: AbortSignal) {
    this.#transport = transport
    this.#address = address.includes('://') ? address : `https://${address}`
    this.host = this.#address.replace(/^[a-z]+:\/\//i, '').replace(/\/.*$/, '')
    this.authorizer = new Authorizer(transport, auth, signal)
  }

  /** What `v2/…` is below, with a slash at its end. HTTPS, or HTTP where only that answers and it may be. */
  async base(signal: AbortSignal): Promise<URL> {
    this.#base ??= this.#find(signal)
    try {
      return await this.#base
    } catch (error) {
      this.#base = undefined
      throw error
    }
  }

  async #find(signal: AbortSignal): Promise<URL> {
    const url = new URL(this.#address.endsWith('/') ? this.#address : `${this.#address}/`)
    if (url.protocol === 'http:' || !(await this.#transport.isInsecure(url.host))) return url
    try {
      release(await this.#transport.send(new URL('v2/', url), { method: 'GET' }, signal))
      return url
    } catch {
      checkAborted(signal)
      return new URL(url.href.replace(/^https/, 'http'))
    }
  }
}
