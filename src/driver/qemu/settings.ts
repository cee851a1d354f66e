import { availableParallelism } from 'node:os'
import { isAbsolute } from 'node:path'
import * as v from 'valibot'
import { parseSize } from '#lib/size.ts'

const WINDOWS = ['2016', '2019', '2022', '2025', '11-arm64'] as const
const MIN_MEMORY = '512MiB'
const MIN_DISK = '1GiB'

const text = (what: string) => v.pipe(v.string(`must be ${what}`), v.minLength(1, `must be ${what}`))
const port = v.pipe(
  v.number('must be a port'),
  v.integer('must be a port'),
  v.minValue(1, 'must be a port'),
  v.maxValue(65_535, 'must be a port')
)
const sha256 = v.pipe(
  v.string('must be a SHA-256 of 64 hexadecimal digits'),
  v.regex(/^[0-9a-f]{64}$/i, 'must be a SHA-256 of 64 hexadecimal digits'),
  v.toLowerCase()
)

/** Where machine.yaml and the working folder differ, only a whole path says what is meant. */
const wholePath = v.pipe(v.string('must be the path of a file'), v.check(isAbsolute, 'must be a whole path'))
const source = v.pipe(
  v.string('must be a file or URL'),
  v.check(value => isAbsolute(value) || /^https?:\/\/./i.test(value), 'must be a whole path or an http(s) URL')
)

function size(least: string) {
  const wrong = `must be a size of at least ${least}, such as 4GiB`
  return v.pipe(
    v.string(wrong),
    v.check(value => (parseSize(value) ?? 0) >= (parseSize(least) ?? 0), wrong)
  )
}

/** What machine.yaml says of a machine of the qemu driver. Sizes stay text, as a person writes them; see `parseSize`. */
export const QemuSettings = v.strictObject({
  /** Unquoted, YAML takes a year for a number. */
  windows: v.optional(
    v.pipe(
      v.union([v.string(), v.number()], `must be one of ${WINDOWS.join(', ')}`),
      v.transform(String),
      v.picklist(WINDOWS, `must be one of ${WINDOWS.join(', ')}`)
    ),
    '2025'
  ),
  /** As the disc names it. */
  edition: v.optional(text('the name of an edition')),
  /** Installation disc, in place of the one that Oriel knows for the release. */
  media: v.optional(v.strictObject({ iso: source, sha256: v.optional(sha256) })),
  cpus: v.optional(
    v.pipe(
      v.number('must be a number of processors'),
      v.integer('must be a whole number of processors'),
      v.minValue(1, 'must be at least 1'),
      v.maxValue(255, 'must be at most 255')
    ),
    () => Math.min(4, availableParallelism())
  ),
  memory: v.optional(size(MIN_MEMORY), '4GiB'),
  disk: v.optional(size(MIN_DISK), '64GiB'),
  isolation: v.optional(v.picklist(['process', 'hyperv'], 'must be process or hyperv'), 'process'),
  accelerator: v.optional(v.picklist(['auto', 'kvm', 'hvf', 'tcg'], 'must be one of auto, kvm, hvf, tcg'), 'auto'),
  locale: v.optional(
    v.pipe(
      v.string('must be a locale such as de-DE'),
      v.regex(/^[a-z]{2,3}(-[A-Z][a-z]{3})?-([A-Z]{2}|\d{3})$/, 'must be a locale such as de-DE')
    )
  ),
  keyboard: v.optional(text('a keyboard layout such as de-CH')),
  timeZone: v.optional(text('a time zone such as Europe/Zurich')),
  /** PowerShell scripts that run in the guest, in this order, once each content. */
  provision: v.optional(v.array(wholePath, 'must be a list of files'), () => []),
  /** More keys of the engine's daemon.json. */
  engine: v.optional(v.record(v.string(), v.unknown(), 'must be a mapping of keys of daemon.json'), () => ({})),
  engineArchive: v.optional(
    v.strictObject({ file: source, sha256: v.optional(sha256), version: v.optional(text('a version')) })
  ),
  productKey: v.optional(
    v.pipe(
      v.string('must be a product key'),
      v.regex(/^([A-Z0-9]{5}-){4}[A-Z0-9]{5}$/, 'must be a product key of five groups of five')
    )
  ),
  /** Loopback ports of the host. Without them, free ones are chosen once. */
  ports: v.optional(v.strictObject({ engine: v.optional(port), ssh: v.optional(port), vnc: v.optional(port) })),
  /** How long nothing may happen during the installation before it counts as hung. */
  stallMinutes: v.optional(v.pipe(v.number('must be minutes'), v.minValue(0.1, 'must be at least 0.1')), 20)
})
export type QemuSettings = v.InferOutput<typeof QemuSettings>

/** The guest's memory, in MiB. */
export function memoryMiB(settings: QemuSettings): number {
  return Math.floor((parseSize(settings.memory) ?? 0) / 1024 ** 2)
}

/** The size of the guest's disk, in bytes. */
export function diskBytes(settings: QemuSettings): number {
  return parseSize(settings.disk) ?? 0
}
