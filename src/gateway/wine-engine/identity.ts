import { type KnownBase, knownBase } from '#image/bases.ts'

/** Debian trixie's, which the Wine base is made from. */
export const WINE_VERSION = '10.0'

/** The Windows that the machine says it is: that of the base images' default release. */
export function defaultRelease(): KnownBase['release'] {
  const base = knownBase('windowsservercore')
  if (base === undefined || base === 'unknownTag') throw new Error('the base images have no default release')
  return base.release
}

/** As Windows writes it; the build string is Wine's, since there is no Windows kernel. */
export function kernelVersion(): string {
  const { build, osVersion } = defaultRelease()
  return `10.0 ${build} (${osVersion.replace(/^10\.0\./, '')}.wine-${WINE_VERSION})`
}

/** Says Windows and never lets anyone believe that it is Microsoft's. */
export function operatingSystem(): string {
  return `Oriel: Wine ${WINE_VERSION} playing ${defaultRelease().product} (not a real Windows)`
}

/** The name by which `docker info` calls the machine: that of its docker context. */
export function machineName(machine: string): string {
  return machine === 'default' ? 'oriel' : `oriel-${machine}`
}

export const DOCKER_ROOT = 'C:\\ProgramData\\docker'

/** Whether what a client asked for is what this daemon has: no platform, or Windows on amd64, with any version. */
export function isOwnPlatform(platform: string): boolean {
  return platform === '' || /^windows(\([^)]*\))?(\/(amd64|x86_64))?$/i.test(platform)
}
