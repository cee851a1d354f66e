import { Fault } from '#lib/fault.ts'
import { RELEASES } from './releases.ts'

// What can be installed in a virtual machine. Container images and their builds are in releases.ts.

export type ReleaseName = '2016' | '2019' | '2022' | '2025' | '11-arm64'

export type EditionName = 'standard-core' | 'standard' | 'datacenter-core' | 'datacenter' | 'iot-enterprise-ltsc'

/** One of the images in a disc's `sources/install.wim`. */
export interface Edition {
  name: EditionName
  /** `<NAME>` in the WIM's XML, the same on evaluation and on licensed discs; what an answer file chooses by. */
  imageName: string
  /** `<EDITIONID>` on a licensed disc; an evaluation disc adds `Eval`. */
  editionId: string
  installation: 'core' | 'desktop'
  /** Its place on the English evaluation disc, from 1. */
  index: number
  title: string
  /** Client setup key for licensed discs: it selects the edition and activates nothing. Evaluation discs take no key. */
  kmsKey: string
}

/** An installation disc that Microsoft offers. */
export interface Medium {
  /** The name that the disc has at Microsoft's. */
  file: string
  /** URLs, the best first. */
  sources: readonly string[]
  /** Bytes. */
  size: number
  /** Lower case. */
  sha256: string
  /** As in `26100.32230`. */
  build: string
  language: 'en-us'
  evaluation: true
}

/** A zip of Docker's with `docker/docker.exe` and `docker/dockerd.exe`. */
export interface EngineArchive {
  version: string
  url: string
  sha256: string
}

export interface ServerRelease {
  name: ReleaseName
  /** As in `Windows Server 2025`. */
  product: string
  build: number
  architecture: 'x86_64' | 'aarch64'
  kind: 'server' | 'client'
  experimental: boolean
  /** The newest first. */
  media: readonly Medium[]
  editions: readonly Edition[]
  defaultEdition: EditionName
  /** Tags of the container images that it can run, by isolation. */
  containers: { process: readonly string[]; hyperv: readonly string[] }
  /** What is installed where nobody names a version; undefined where Docker publishes none. */
  engine: EngineArchive | undefined
  /** Whether Windows brings an ssh server of its own. */
  openssh: 'built-in' | 'archive'
}

// SHA-256 as recorded by Scoop: bucket/docker.json of github.com/ScoopInstaller/Main and its history. Docker publishes no
// checksums. 29.2.x is left out: its `--register-service` fails before the Containers feature is active (moby#52006).
const ENGINE_SHA256 = {
  '29.7.2': 'ed9222f478a5d143ac90e8e2fd3209b5076382cdb4b210321f97aa4b68bc6811',
  '29.7.1': 'b40782ff7f7d9098478bdf2aef4c8894b5704467e30198aa8cc005c694b04393',
  '29.6.2': 'c790bfcc9e8b227173b20f04f4ddaae6e997eac6d4aeaf7a850e2874d9222944',
  '29.5.3': '46b70c3680f7f5cf037d714a06d15c8f1fbdded0d17ca18d222a311c424c4ee0',
  '29.4.3': '993b582d09f511a5a260f69a97163472459ecf8ac11a209e87ef6ea0cdb4203b',
  '29.3.1': '9de0daaed958062d2005e2766c856a6671dd95e6202e1ac801c569e22dff7edf',
  '28.5.2': 'be76f32e6d92f4d3c64b8eb5e0e86e9597c00eb75ee41b5cc23e7674c5514810',
  // The last of its line that Scoop recorded; 20.10.24 to 20.10.27 exist, but nobody wrote down their checksums.
  '20.10.23': '59d51669242756b77c22e4d7db6aa44b9fe8a03f46b107276a355ae365d8aaeb'
} as const

/** The engines whose checksums are known, the newest first. */
export const ENGINES: readonly EngineArchive[] = Object.entries(ENGINE_SHA256).map(([version, sha256]) => ({
  version,
  // https://docs.docker.com/engine/install/binaries/, "Install server and client binaries on Windows".
  url: `https://download.docker.com/win/static/stable/x86_64/docker-${version}.zip`,
  sha256
}))

/**
 * Microsoft's port of OpenSSH for releases that bring none. Source of the checksum: github.com/rgl/windows-vagrant, which
 * installs it on every release.
 */
export const OPENSSH_ARCHIVE = {
  version: '10.0.0.0p2',
  url: 'https://github.com/PowerShell/Win32-OpenSSH/releases/download/10.0.0.0p2-Preview/OpenSSH-Win64.zip',
  sha256: '23f50f3458c4c5d0b12217c6a5ddfde0137210a30fa870e98b29827f7b43aba5'
} as const

const MICROSOFT = 'https://software-static.download.prss.microsoft.com'
// What Microsoft's evaluation pages link to. It leads to the newest refresh, so the checksum decides.
const FORWARD = 'https://go.microsoft.com/fwlink'

// Sizes and checksums are recorded by projects that install from these discs; Microsoft publishes none: dockur/windows
// (src/mido.sh), rgl/windows-vagrant and rgl/windows-evaluation-isos-scraper, chef/bento. Which container images a release
// runs: "Windows container version compatibility" in MicrosoftDocs/Virtualization-Documentation. Keys: "KMS client
// activation keys" in MicrosoftDocs/windowsserverdocs.
export const SERVER_RELEASES: readonly ServerRelease[] = [
  {
    name: '2025',
    ...ofImage('ltsc2025'),
    architecture: 'x86_64',
    kind: 'server',
    experimental: false,
    media: [
      {
        file: '26100.32230.260111-0550.lt_release_svc_refresh_SERVER_EVAL_x64FRE_en-us.iso',
        sources: [
          `${MICROSOFT}/dbazure/998969d5-f34g-4e03-ac9d-1f9786c66749/26100.32230.260111-0550.lt_release_svc_refresh_SERVER_EVAL_x64FRE_en-us.iso`,
          `${FORWARD}/?linkid=2345730&clcid=0x409&culture=en-us&country=us`
        ],
        size: 8_152_356_864,
        sha256: '7b052573ba7894c9924e3e87ba732ccd354d18cb75a883efa9b900ea125bfd51',
        build: '26100.32230',
        language: 'en-us',
        evaluation: true
      },
      {
        file: '26100.1742.240906-0331.ge_release_svc_refresh_SERVER_EVAL_x64FRE_en-us.iso',
        sources: [
          `${MICROSOFT}/dbazure/888969d5-f34g-4e03-ac9d-1f9786c66749/26100.1742.240906-0331.ge_release_svc_refresh_SERVER_EVAL_x64FRE_en-us.iso`,
          `${FORWARD}/?linkid=2293312`
        ],
        size: 6_014_152_704,
        sha256: 'd0ef4502e350e3c6c53c15b1b3020d38a5ded011bf04998e950720ac8579b23d',
        build: '26100.1742',
        language: 'en-us',
        evaluation: true
      }
    ],
    editions: serverEditions('2025', {
      standard: 'TVRH6-WHNXV-R9WG3-9XRFY-MY832',
      datacenter: 'D764K-2NDRG-47T6Q-P8T8W-YP6DF'
    }),
    defaultEdition: 'datacenter-core',
    containers: { process: ['ltsc2022', 'ltsc2025'], hyperv: ['ltsc2016', 'ltsc2019', 'ltsc2022', 'ltsc2025'] },
    engine: ENGINES[0],
    // "Get started with OpenSSH Server for Windows": installed since Server 2025, not started.
    openssh: 'built-in'
  },
  {
    name: '2022',
    ...ofImage('ltsc2022'),
    architecture: 'x86_64',
    kind: 'server',
    experimental: false,
    media: [
      {
        file: 'SERVER_EVAL_x64FRE_en-us.iso',
        sources: [
          `${MICROSOFT}/sg/download/888969d5-f34g-4e03-ac9d-1f9786c66749/SERVER_EVAL_x64FRE_en-us.iso`,
          `${FORWARD}/p/?LinkID=2195280&clcid=0x409&culture=en-us&country=US`
        ],
        size: 5_044_094_976,
        sha256: '3e4fa6d8507b554856fc9ca6079cc402df11a8b79344871669f0251535255325',
        build: '20348.587',
        language: 'en-us',
        evaluation: true
      }
    ],
    editions: serverEditions('2022', {
      standard: 'VDYBN-27WPP-V4HQT-9VMD4-VMK7H',
      datacenter: 'WX4NM-KYWYW-QJJR4-XV3QB-6VM33'
    }),
    defaultEdition: 'datacenter-core',
    containers: { process: ['ltsc2022'], hyperv: ['ltsc2016', 'ltsc2019', 'ltsc2022'] },
    engine: ENGINES[0],
    openssh: 'archive'
  },
  {
    name: '2019',
    ...ofImage('ltsc2019'),
    architecture: 'x86_64',
    kind: 'server',
    experimental: false,
    media: [
      {
        file: '17763.3650.221105-1748.rs5_release_svc_refresh_SERVER_EVAL_x64FRE_en-us.iso',
        sources: [
          `${MICROSOFT}/dbazure/988969d5-f34g-4e03-ac9d-1f9786c66749/17763.3650.221105-1748.rs5_release_svc_refresh_SERVER_EVAL_x64FRE_en-us.iso`,
          `${FORWARD}/p/?LinkID=2195167&clcid=0x409&culture=en-us&country=US`
        ],
        size: 5_652_088_832,
        sha256: '6dae072e7f78f4ccab74a45341de0d6e2d45c39be25f1f5920a2ab4f51d7bcbb',
        build: '17763.3650',
        language: 'en-us',
        evaluation: true
      },
      {
        file: '17763.737.190906-2324.rs5_release_svc_refresh_SERVER_EVAL_x64FRE_en-us_1.iso',
        sources: [
          'https://software-download.microsoft.com/download/pr/17763.737.190906-2324.rs5_release_svc_refresh_SERVER_EVAL_x64FRE_en-us_1.iso'
        ],
        size: 5_296_713_728,
        sha256: '549bca46c055157291be6c22a3aaaed8330e78ef4382c99ee82c896426a1cee1',
        build: '17763.737',
        language: 'en-us',
        evaluation: true
      }
    ],
    editions: serverEditions('2019', {
      standard: 'N69G4-B89J2-4G8F4-WWYCC-J464C',
      datacenter: 'WMDGN-G9PQG-XVVXX-R3X43-63DFG'
    }),
    defaultEdition: 'datacenter-core',
    containers: { process: ['ltsc2019'], hyperv: ['ltsc2016', 'ltsc2019'] },
    engine: ENGINES[0],
    openssh: 'archive'
  },
  {
    name: '2016',
    product: 'Windows Server 2016',
    build: 14393,
    architecture: 'x86_64',
    kind: 'server',
    experimental: false,
    media: [
      {
        file: 'Windows_Server_2016_Datacenter_EVAL_en-us_14393_refresh.ISO',
        sources: [
          `${MICROSOFT}/pr/download/Windows_Server_2016_Datacenter_EVAL_en-us_14393_refresh.ISO`,
          'https://software-download.microsoft.com/download/pr/Windows_Server_2016_Datacenter_EVAL_en-us_14393_refresh.ISO',
          `${FORWARD}/p/?LinkID=2195174&clcid=0x409&culture=en-us&country=US`
        ],
        size: 6_972_221_440,
        sha256: '1ce702a578a3cb1ac3d14873980838590f06d5b7101c5daaccbac9d73f1fb50f',
        build: '14393.0',
        language: 'en-us',
        evaluation: true
      }
    ],
    editions: serverEditions('2016', {
      standard: 'WC2BQ-8NRM3-FDDYY-2BFGV-KHKQY',
      datacenter: 'CB7KF-BWN84-R7R2Y-793K2-8XDDG'
    }),
    defaultEdition: 'datacenter-core',
    containers: { process: ['ltsc2016'], hyperv: ['ltsc2016'] },
    engine: ENGINES.find(({ version }) => version.startsWith('20.10.')),
    openssh: 'archive'
  },
  {
    // There is no Windows Server for ARM64 that the public can have, so it is the client with the longest support.
    name: '11-arm64',
    product: 'Windows 11',
    build: 26100,
    architecture: 'aarch64',
    kind: 'client',
    experimental: true,
    media: [
      {
        file: '26100.1742.240906-0331.ge_release_svc_refresh_CLIENT_IOT_LTSC_EVAL_A64FRE_en-us.iso',
        // github.com/dockur/windows-arm, src/define.sh.
        sources: [
          `${MICROSOFT}/dbazure/998969d5-f34g-4e03-ac9d-1f9786c66749/26100.1742.240906-0331.ge_release_svc_refresh_CLIENT_IOT_LTSC_EVAL_A64FRE_en-us.iso`
        ],
        size: 5_042_194_432,
        sha256: '3dcdba9c9c0aa0430d4332b60c9afcb3cd613d648a49cbba2d4ef7b5978f32e8',
        build: '26100.1742',
        language: 'en-us',
        evaluation: true
      }
    ],
    editions: [
      {
        name: 'iot-enterprise-ltsc',
        // As its x64 twin has it (rgl/windows-evaluation-isos-scraper, data/windows-11-iot.json).
        imageName: 'Windows 11 IoT Enterprise LTSC Evaluation',
        editionId: 'IoTEnterpriseS',
        installation: 'desktop',
        index: 1,
        title: 'Windows 11 IoT Enterprise LTSC',
        kmsKey: 'KBN8V-HFGQ4-MGXVD-347P6-PDQGT'
      }
    ],
    defaultEdition: 'iot-enterprise-ltsc',
    // microsoft/Windows-Containers#586.
    containers: { process: ['ltsc2025-arm64'], hyperv: ['ltsc2025-arm64'] },
    // docker/roadmap#852: none for windows/arm64.
    engine: undefined,
    openssh: 'archive'
  }
]

/** The release that `2025`, `ltsc2025`, `Server 2025` or `Windows Server 2025` names; usage Fault with the names otherwise. */
export function serverRelease(name: string): ServerRelease {
  const plain = name
    .trim()
    .toLowerCase()
    .replace(/^(ltsc|(windows[ -]?)?(server[ -]?)?)/, '')
  const found = SERVER_RELEASES.find(release => release.name === plain)
  if (found !== undefined) return found
  throw new Fault(`there is no Windows release called "${name}".`, {
    exitCode: 2,
    hint: `Choose: ${SERVER_RELEASES.map(release => release.name).join(', ')}.`
  })
}

/** An edition of a release, its default where none is named; usage Fault with the names otherwise. */
export function serverEdition(release: ServerRelease, name: string = release.defaultEdition): Edition {
  const found = release.editions.find(edition => edition.name === name.toLowerCase())
  if (found !== undefined) return found
  throw new Fault(`${release.product} has no edition called "${name}".`, {
    exitCode: 2,
    hint: `Choose: ${release.editions.map(edition => edition.name).join(', ')}.`
  })
}

/** The archive of an engine version for a release; usage Fault when its checksum is not known or the release cannot run it. */
export function engineArchive(version: string, release: ServerRelease): EngineArchive {
  const fitting = ENGINES.filter(engine => runsOn(engine, release))
  const found = fitting.find(engine => engine.version === version.replace(/^v/, ''))
  if (found !== undefined) return found
  if (release.engine === undefined) {
    throw new Fault(`Docker publishes no engine for ${release.product} on ${release.architecture}.`, {
      exitCode: 2,
      hint: 'Give one that you built: --engine-archive FILE'
    })
  }
  const known = ENGINES.some(engine => engine.version === version)
  throw new Fault(
    known
      ? `Docker Engine ${version} does not run on ${release.product}.`
      : `the checksum of Docker Engine ${version} is not known here.`,
    {
      exitCode: 2,
      hint: `Choose: ${fitting.map(engine => engine.version).join(', ')}; or give its zip: --engine-archive FILE`
    }
  )
}

// Since 23.0 dockerd refuses builds before 17763 (moby, daemon_windows.go, checkSystem).
function runsOn(engine: EngineArchive, release: ServerRelease): boolean {
  if (release.engine === undefined) return false
  return release.build >= 17763 || Number.parseInt(engine.version, 10) < 23
}

/** Product and build of the release that container images of this tag are made for. */
function ofImage(tag: string): { product: string; build: number } {
  const image = RELEASES.find(release => release.tag === tag)
  if (image === undefined) throw new Error(`releases.ts has no ${tag}`)
  return { product: image.product, build: image.build }
}

// Names and order are the same on all server discs since 2016.
function serverEditions(year: string, keys: { standard: string; datacenter: string }): Edition[] {
  const edition = (
    name: EditionName,
    id: 'Standard' | 'Datacenter',
    installation: Edition['installation'],
    index: number
  ): Edition => ({
    name,
    imageName: `Windows Server ${year} SERVER${id.toUpperCase()}${installation === 'core' ? 'CORE' : ''}`,
    editionId: `Server${id}`,
    installation,
    index,
    title: `Windows Server ${year} ${id}${installation === 'core' ? '' : ' (Desktop Experience)'}`,
    kmsKey: id === 'Standard' ? keys.standard : keys.datacenter
  })
  return [
    edition('standard-core', 'Standard', 'core', 1),
    edition('standard', 'Standard', 'desktop', 2),
    edition('datacenter-core', 'Datacenter', 'core', 3),
    edition('datacenter', 'Datacenter', 'desktop', 4)
  ]
}
