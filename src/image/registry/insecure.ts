import { lookup } from 'node:dns/promises'
import { BlockList, isIP } from 'node:net'

/**
 * Whether a registry may be spoken to over plain HTTP, and with any certificate: loopback, and what `insecure` names, by
 * `host`, `host:port` or network (`10.0.0.0/8`). `host` may have a port. A name is looked up only when there are networks.
 */
export async function isInsecure(host: string, insecure: readonly string[]): Promise<boolean> {
  const name = hostName(host)
  if (isLoopback(name)) return true
  const entries = insecure.map(entry => entry.replace(/^https?:\/\//i, '').toLowerCase())
  if (entries.includes(host.toLowerCase())) return true
  const networks = networksOf(entries)
  if (networks === undefined) return false
  if (isIP(name) !== 0) return within(networks, name)
  const addresses = await lookup(name, { all: true }).catch(() => [])
  return addresses.some(({ address }) => within(networks, address))
}

/** Whether a host, without port, is this computer. By its name only, so that no name service has a say. */
export function isLoopback(host: string): boolean {
  const name = host.replace(/^\[|\]$/g, '').toLowerCase()
  if (name === 'localhost' || name.endsWith('.localhost')) return true
  return isIP(name) !== 0 && within(loopback, name)
}

const loopback = new BlockList()
loopback.addSubnet('127.0.0.0', 8, 'ipv4')
loopback.addAddress('::1', 'ipv6')

function hostName(host: string): string {
  return URL.canParse(`http://${host}`) ? new URL(`http://${host}`).hostname.replace(/^\[|\]$/g, '') : host
}

function networksOf(entries: readonly string[]): BlockList | undefined {
  const networks = new BlockList()
  let any = false
  for (const entry of entries) {
    const [address = '', bits = ''] = entry.split('/')
    const kind = isIP(address)
    if (kind === 0 || !/^\d{1,3}$/.test(bits) || Number(bits) > (kind === 4 ? 32 : 128)) continue
    networks.addSubnet(address, Number(bits), kind === 4 ? 'ipv4' : 'ipv6')
    any = true
  }
  return any ? networks : undefined
}

function within(networks: BlockList, address: string): boolean {
  return networks.check(address, isIP(address) === 6 ? 'ipv6' : 'ipv4')
}
