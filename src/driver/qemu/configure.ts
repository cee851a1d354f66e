import { stat } from 'node:fs/promises'
import { resolve } from 'node:path'
import * as v from 'valibot'
import type { UpOptions } from '#driver/driver.ts'
import { flagOf, refuseOthers } from '#driver/options.ts'
import { Fault } from '#lib/fault.ts'
import { parseSize } from '#lib/size.ts'
import { QemuSettings } from './settings.ts'

const OPTIONS = [
  'windows',
  'edition',
  'iso',
  'sha256',
  'cpus',
  'memory',
  'disk',
  'isolation',
  'accelerator',
  'locale',
  'keyboard',
  'timeZone',
  'provision',
  'engineArchive'
] as const satisfies readonly (keyof UpOptions)[]

/** What a setting is called as an option; the path is that of the schema. */
const OPTION_OF: Record<string, keyof UpOptions> = {
  'media.iso': 'iso',
  'media.sha256': 'sha256',
  'engineArchive.file': 'engineArchive'
}

/** What Windows is installed with and cannot take on later. */
const FIXED = ['windows', 'edition', 'media', 'isolation', 'locale', 'keyboard'] as const

/**
 * The settings of a machine after `oriel up` with these options. `made` says that its disk exists: from then on what Windows
 * was installed with stays. Fault 2 for an option or value that makes no sense, 3 for a change that comes too late.
 */
export async function configureQemu(
  former: QemuSettings | undefined,
  options: UpOptions,
  made: boolean
): Promise<QemuSettings> {
  refuseOthers('qemu', options, OPTIONS)
  const { iso, sha256, engineArchive, provision, engine: _, ...plain } = options
  if (sha256 !== undefined && iso === undefined && former?.media === undefined) {
    throw new Fault('--sha256 is that of a disc, and none was named.', { exitCode: 2, hint: 'Add: --iso FILE|URL' })
  }
  const wanted = {
    ...former,
    ...withoutUndefined(plain),
    ...(iso === undefined && sha256 === undefined ? {} : { media: await media(former, iso, sha256) }),
    ...(engineArchive === undefined ? {} : { engineArchive: { file: await sourceOf(engineArchive) } }),
    ...(provision === undefined ? {} : { provision: await Promise.all(provision.map(existing)) })
  }
  const result = v.safeParse(QemuSettings, wanted)
  if (!result.success) throw wrongUsage(result.issues)
  if (former !== undefined && made) checkChange(former, result.output)
  return result.output
}

function checkChange(former: QemuSettings, next: QemuSettings): void {
  const changed = FIXED.filter(key => JSON.stringify(former[key]) !== JSON.stringify(next[key]))
  if (changed.length > 0) {
    const what = changed.map(key => `${key} (${said(former[key])})`).join(', ')
    throw new Fault(`what Windows was installed with cannot change: ${what}.`, {
      exitCode: 3,
      hint: 'Make another machine: oriel up OTHER --driver qemu …, or remove this one first: oriel rm NAME'
    })
  }
  if (JSON.stringify(former.engineArchive) !== JSON.stringify(next.engineArchive)) {
    throw new Fault('the engine of a machine is not replaced by --engine-archive.', {
      exitCode: 3,
      hint: 'Use: oriel upgrade NAME --engine VERSION'
    })
  }
  if ((parseSize(next.disk) ?? 0) < (parseSize(former.disk) ?? 0)) {
    throw new Fault(`a disk can only grow, and this one has ${former.disk}.`, {
      exitCode: 3,
      hint: `Name a larger size, such as --disk 128GiB, or leave it.`
    })
  }
}

function said(value: unknown): string {
  if (value === undefined) return 'none given'
  return typeof value === 'object' && value !== null && 'iso' in value ? String(value.iso) : String(value)
}

async function media(
  former: QemuSettings | undefined,
  iso: string | undefined,
  sha256: string | undefined
): Promise<object> {
  const source = iso === undefined ? former?.media?.iso : await sourceOf(iso)
  // The hash of another disc is that disc's alone.
  const rest = source === former?.media?.iso ? former?.media : { iso: source }
  return { ...rest, ...(sha256 === undefined ? {} : { sha256 }) }
}

/** A URL as it is; a file as a whole path, since machine.yaml is not in the folder where the command was typed. */
async function sourceOf(named: string): Promise<string> {
  return /^[a-z][a-z0-9+.-]+:\/\//i.test(named) ? named : existing(named)
}

async function existing(file: string): Promise<string> {
  const path = resolve(file)
  const found = await stat(path).catch(() => undefined)
  if (found?.isFile()) return path
  throw new Fault(`${found === undefined ? 'there is no file' : 'this is no file:'} ${path}.`, { exitCode: 2 })
}

function withoutUndefined(options: UpOptions): Partial<UpOptions> {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined))
}

function wrongUsage(issues: readonly v.BaseIssue<unknown>[]): Fault {
  const problems = issues.map(issue => {
    const path = (issue.path ?? []).map(item => String(item.key)).join('.')
    const option = OPTION_OF[path] ?? OPTIONS.find(each => each === path)
    return `${option === undefined ? path : flagOf(option)} ${issue.message}, not ${issue.received}`
  })
  return new Fault(`${problems.join('; ')}.`, { exitCode: 2, hint: 'See: oriel up --help' })
}
