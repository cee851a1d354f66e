import type { Check } from '#driver/driver.ts'
import type { HostFacts } from './host.ts'
import type { Accelerator, VmSpec } from './vm-spec.ts'

/** What decides whether a known trouble concerns a machine. */
export interface Circumstances {
  host: Pick<HostFacts, 'os' | 'arch' | 'osVersion' | 'cpuModel'>
  guest: VmSpec['guest']
  accelerator: Accelerator
  version: readonly [number, number, number]
  client: boolean
}

interface Trouble {
  /** Where it is reported: qemu# is gitlab.com/qemu-project/qemu, the others are on GitHub. */
  issue: string
  concerns(circumstances: Circumstances): boolean
  detail: string
  advice: string
  result?: 'missing'
}

const mac = ({ host }: Circumstances) => host.os === 'darwin'
const hvf = ({ accelerator }: Circumstances) => accelerator === 'hvf'
const from = (version: readonly number[], least: readonly number[]) => compare(version, least) >= 0
const is = (version: readonly number[], wanted: readonly number[]) => compare(version, wanted) === 0
const macosFrom = ({ host }: Circumstances, least: string) => from(numbersOf(host.osVersion), numbersOf(least))
const m1 = ({ host }: Circumstances) => /^Apple M1\b/.test(host.cpuModel)

const TROUBLES: Trouble[] = [
  {
    issue: 'QEMU 6.0',
    concerns: ({ version }) => !from(version, [6, 0]),
    detail: 'this QEMU is too old: it has no snapshot-save',
    advice: 'Install QEMU 7.2 or newer.',
    result: 'missing'
  },
  {
    issue: 'QEMU 7.2',
    concerns: ({ version }) => from(version, [6, 0]) && !from(version, [7, 2]),
    detail: 'Oriel is not tested with a QEMU this old',
    advice: 'Install QEMU 7.2 or newer.'
  },
  {
    issue: 'qemu#3433',
    concerns: about => hvf(about) && is(about.version, [11, 0, 0]),
    detail: 'an idle guest keeps the processor of the host busy',
    advice: 'Install QEMU 10.2, or one after 11.0.0.'
  },
  {
    issue: 'qemu#3533',
    concerns: about => hvf(about) && m1(about) && macosFrom(about, '26') && from(about.version, [11]),
    detail: 'QEMU 11 ends in a failed assertion on an M1 with macOS 26',
    advice: 'Install QEMU 10.2.'
  },
  {
    issue: 'qemu#3565',
    concerns: ({ version }) => is(version, [11, 0, 1]),
    detail: 'this QEMU crashes when a running machine is set back to a live snapshot',
    advice: 'Restore snapshots of a machine that is off, or install another version.'
  },
  {
    issue: 'qemu#2312, UTM#4176',
    concerns: about => hvf(about) && about.guest === 'aarch64',
    detail: 'Windows on ARM under HVF may end QEMU with "Assertion failed: (isv)"',
    advice: 'When it happens, install the newest QEMU, or set accelerator: tcg.'
  },
  {
    issue: 'lima#5511',
    concerns: about => hvf(about) && about.client && macosFrom(about, '27') && from(about.version, [11, 1, 1]),
    detail: 'a TPM makes QEMU end with HV_BAD_ARGUMENT on macOS 27',
    advice: 'Install a QEMU after 11.1.1, or an older macOS.'
  },
  {
    issue: 'lima#795',
    concerns: about => hvf(about) && m1(about) && !macosFrom(about, '12.4'),
    detail: 'an M1 gives a guest no more than 3 GiB before macOS 12.4',
    advice: 'Install a newer macOS.'
  },
  {
    issue: 'UTM#2368, UTM#5844',
    concerns: about => mac(about) && hvf(about) && about.host.arch === 'x64',
    detail: 'Windows Server under HVF on Intel is not verified: no Hyper-V isolation, no suspend, no live snapshots',
    advice: 'When Windows stops with a blue screen, tell us, and set accelerator: tcg meanwhile.'
  }
]

/** What is known to go wrong with this QEMU on this host, each with where it is reported and what to do. */
export function knownTroubles(circumstances: Circumstances): Check[] {
  return TROUBLES.filter(trouble => trouble.concerns(circumstances)).map(({ issue, detail, advice, result }) => ({
    name: 'qemu version',
    result: result ?? 'warning',
    detail: `${detail} (${issue})`,
    advice
  }))
}

function numbersOf(version: string): number[] {
  return version.split('.').map(part => Number.parseInt(part, 10) || 0)
}

/** Below 0 when `a` is the older; what one of them does not say counts as 0. */
function compare(a: readonly number[], b: readonly number[]): number {
  for (let index = 0; index < Math.max(a.length, b.length); index += 1) {
    const difference = (a[index] ?? 0) - (b[index] ?? 0)
    if (difference !== 0) return difference
  }
  return 0
}
