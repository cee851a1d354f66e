import { userLabels } from '#image/windows-config.ts'
import { type Json, objectOf, objectsOf, stringOf, stringsOf } from './json.ts'
import { isOwn } from './ownership.ts'

/** The engine's name of a network that a client names: the default network of a Windows daemon is `nat`. */
export function engineNetworkName(name: string): string {
  return name === 'nat' ? 'bridge' : name
}

/** The name, or the driver, of an engine's network as a Windows daemon has it. */
export function windowsNetworkName(name: string): string {
  return name === 'bridge' ? 'nat' : name
}

/** True for the networks that clients see: the default one, `none`, and the machine's own. */
export function isShown(machine: string, network: Json): boolean {
  return network.Name === 'bridge' || network.Name === 'none' || isOwn(machine, network.Labels)
}

/** True for an option that a bridge can be given, false for one of Windows' network service. */
export function linuxOption(name: string): boolean {
  return !name.startsWith('com.docker.network.windowsshim.')
}

/** The engine's network as a Windows daemon would show it, with the containers of this machine alone. */
export function windowsNetwork(network: Json, ownContainers: ReadonlySet<string>): Json {
  const name = windowsNetworkName(stringOf(network.Name))
  const driver = windowsNetworkName(stringOf(network.Driver))
  const options = Object.entries(objectOf(network.Options)).filter(
    ([option]) => !option.startsWith('com.docker.network.bridge.')
  )
  const containers = Object.entries(objectOf(network.Containers)).filter(([id]) => ownContainers.has(id))
  const ipam = objectOf(network.IPAM)
  return {
    ...network,
    Name: name,
    Driver: driver,
    IPAM: { ...ipam, Driver: 'windows', Config: objectsOf(ipam.Config) },
    ...(network.Containers === undefined ? {} : { Containers: Object.fromEntries(containers) }),
    Options: {
      ...Object.fromEntries(options.filter(([option]) => !option.startsWith('com.docker.network.driver.'))),
      ...(driver === 'nat' ? { 'com.docker.network.windowsshim.networkname': name } : {})
    },
    Labels: userLabels(stringsOf(network.Labels))
  }
}
