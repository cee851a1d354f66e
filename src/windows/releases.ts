/** A Windows Server release that container images are made for. */
export interface WindowsRelease {
  /** The tag that Microsoft's base images carry. */
  readonly tag: 'ltsc2019' | 'ltsc2022' | 'ltsc2025'
  /** As in `Windows Server 2022`. */
  readonly product: string
  readonly build: number
  /** Full version as in an image's `os.version`; the last number is the monthly update. */
  readonly osVersion: string
  /** Other tags of the same release: the half-yearly name and the build. */
  readonly aliases: readonly string[]
}

// Builds and update numbers: https://learn.microsoft.com/virtualization/windowscontainers/deploy-containers/base-image-lifecycle
export const RELEASES: readonly WindowsRelease[] = [
  { tag: 'ltsc2019', product: 'Windows Server 2019', build: 17763, osVersion: '10.0.17763.7678', aliases: ['1809'] },
  { tag: 'ltsc2022', product: 'Windows Server 2022', build: 20348, osVersion: '10.0.20348.4052', aliases: ['21H2'] },
  { tag: 'ltsc2025', product: 'Windows Server 2025', build: 26100, osVersion: '10.0.26100.4946', aliases: ['24H2'] }
]

/** What is used where nobody names a release: it runs everywhere and its images are the most common. */
export const DEFAULT_RELEASE = 'ltsc2022'

/**
 * The release that an image tag names: `ltsc2022`, `1809`, `10.0.20348`, `10.0.20348.1487`, `ltsc2022-amd64`,
 * `ltsc2022-KB5012345`; `latest` and no tag are the default. Undefined when the tag names none that is known.
 */
export function releaseOfTag(tag: string | undefined): WindowsRelease | undefined {
  if (tag === undefined || tag === '' || tag.toLowerCase() === 'latest') return releaseOfTag(DEFAULT_RELEASE)
  const plain = tag.replace(/-(amd64|kb\d+(-amd64)?)$/i, '').toLowerCase()
  return RELEASES.find(
    release =>
      release.tag === plain ||
      release.aliases.some(alias => alias.toLowerCase() === plain) ||
      plain === `10.0.${release.build}` ||
      plain.startsWith(`10.0.${release.build}.`)
  )
}
