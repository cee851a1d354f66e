import { createHash } from 'node:crypto'
import { open, readdir, readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import type { DriverWork, MachinePlace } from '#driver/driver.ts'
import { Fault, messageOf } from '#lib/fault.ts'
import { hashFile } from '#lib/hashed-file.ts'
import { packageRoot } from '#lib/package-root.ts'
import { hostSettings, parseKeyboard, parseLocale, parseTimeZone } from '#windows/host-settings.ts'
import { mediaFolder } from '#windows/media/cache.ts'
import { type Download, fetchFile } from '#windows/media/download.ts'
import { chooseImage, inspectMedia, type MediaFacts } from '#windows/media/inspect.ts'
import { productKeyFor } from '#windows/product-key.ts'
import {
  type EditionName,
  OPENSSH_ARCHIVE,
  type ServerRelease,
  serverEdition,
  serverRelease
} from '#windows/server-releases.ts'
import { GOLDEN_DISK_BYTES, goldenKey } from './golden.ts'
import type { QemuSettings } from './settings.ts'

/** What a machine's Windows is made from, before anything is fetched. */
export interface Plan {
  release: ServerRelease
  edition: EditionName
  locale: string
  keyboard: string
  isolation: 'process' | 'hyperv'
  /** The installation disc: a file of the person's, or something to download. */
  disc: { file: string } | { download: Download }
  engine: { version: string; download: Download } | { version: string; file: string; sha256?: string }
  openssh: boolean
  /** Name of the golden image that all this makes. */
  key: string
}

/** Fetched and looked at. */
export interface Materials {
  iso: string
  facts: MediaFacts
  imageName: string
  productKey: string | undefined
  engine: { version: string; archive: string; sha256: string }
  openssh: { version: string; archive: string; sha256: string } | undefined
}

/** The folder with the scripts that run in the guest. */
export function scriptsFolder(): string {
  return join(packageRoot(), 'guest', 'windows')
}

/** Fault 2 for settings that no release fits, 4 when a file is missing or no engine is known. */
export async function makePlan(settings: QemuSettings, env: NodeJS.ProcessEnv): Promise<Plan> {
  const release = serverRelease(settings.windows)
  const edition = serverEdition(release, settings.edition).name
  const host = await hostSettings(env)
  const locale = settings.locale === undefined ? host.locale : parseLocale(settings.locale)
  const keyboard = parseKeyboard(settings.keyboard ?? settings.locale ?? host.keyboard)
  // Used only when the machine is made, and an hour too late to be told then.
  if (settings.timeZone !== undefined) await parseTimeZone(settings.timeZone)
  const disc = discOf(settings, release)
  const engine = engineOf(settings, release)
  const { isolation } = settings
  const openssh = release.openssh === 'archive'
  const key = goldenKey({
    release: release.name,
    edition,
    locale,
    keyboard,
    isolation,
    disc: await identityOf(disc),
    engine: `${engine.version} ${'file' in engine ? (engine.sha256 ?? (await sha256Of(engine.file))) : engine.download.sha256}`,
    key: settings.productKey ?? '',
    disk: String(GOLDEN_DISK_BYTES),
    scripts: await hashOfScripts()
  })
  return { release, edition, locale, keyboard, isolation, disc, engine, openssh, key }
}

/** Looks at a disc that is there already: a wrong one is refused before there is a machine. */
export async function checkPlan(plan: Plan): Promise<void> {
  if ('file' in plan.disc) choosePlanned(plan, await inspectMedia(plan.disc.file))
}

function choosePlanned({ release, edition }: Plan, facts: MediaFacts): ReturnType<typeof chooseImage> {
  return chooseImage(facts, { release: release.name, edition, architecture: release.architecture })
}

/** Fetches what the plan needs and looks at the disc; a wrong one is a Fault. */
export async function gather(
  plan: Plan,
  settings: QemuSettings,
  place: MachinePlace,
  work: DriverWork
): Promise<Materials> {
  const stage = { stage: 'media', ...work }
  const folder = mediaFolder(place.home)
  const iso = 'file' in plan.disc ? plan.disc.file : (await fetchFile(plan.disc.download, folder, stage)).path
  const facts = await inspectMedia(iso)
  const image = choosePlanned(plan, facts)
  const kmsKey = plan.release.editions.find(edition => edition.name === plan.edition)?.kmsKey
  return {
    iso,
    facts,
    imageName: image.name,
    productKey: productKeyFor({
      evaluation: image.evaluation,
      ...(kmsKey === undefined ? {} : { kmsKey }),
      ...(settings.productKey === undefined ? {} : { own: settings.productKey })
    }),
    engine: await fetchEngine(plan.engine, folder, stage),
    openssh: plan.openssh ? await fetchOpenssh(folder, stage) : undefined
  }
}

type FetchWork = Parameters<typeof fetchFile>[2]

export async function fetchEngine(
  engine: Plan['engine'],
  folder: string,
  work: FetchWork
): Promise<Materials['engine']> {
  const { version } = engine
  if ('download' in engine) {
    const { path, sha256 } = await fetchFile(engine.download, folder, work)
    return { version, archive: path, sha256 }
  }
  const sha256 = await sha256Of(engine.file)
  if (engine.sha256 !== undefined && engine.sha256 !== sha256) {
    throw new Fault(`${engine.file} is not the archive that machine.yaml means: its SHA-256 is ${sha256}.`, {
      exitCode: 4,
      hint: 'Correct engineArchive in machine.yaml, or fetch the file again.'
    })
  }
  return { version, archive: engine.file, sha256 }
}

async function fetchOpenssh(folder: string, work: FetchWork): Promise<Materials['openssh']> {
  const { version, url, sha256 } = OPENSSH_ARCHIVE
  const file = `OpenSSH-Win64-${version}.zip`
  const { path } = await fetchFile({ file, sources: [url], sha256, kind: 'zip' }, folder, work)
  return { version, archive: path, sha256 }
}

function discOf(settings: QemuSettings, release: ServerRelease): Plan['disc'] {
  const { media } = settings
  if (media !== undefined && !/^https?:/i.test(media.iso)) return { file: media.iso }
  if (media !== undefined) {
    const { sha256, iso } = media
    const file = nameOf(iso)
    return { download: { file, sources: [iso], kind: 'disc', ...(sha256 === undefined ? {} : { sha256 }) } }
  }
  const [medium] = release.media
  if (medium === undefined) {
    throw new Fault(`Oriel knows no medium of ${release.product}.`, {
      exitCode: 4,
      hint: 'Give one that you have: oriel up NAME --driver qemu --iso FILE'
    })
  }
  const { file, sources, size, sha256 } = medium
  return { download: { file, sources, sha256, kind: 'disc', ...(size === undefined ? {} : { size }) } }
}

/** The engine that a machine gets: the person's own archive, or the one that is known for the release. Fault 4 without either. */
export function engineOf(settings: QemuSettings, release: ServerRelease): Plan['engine'] {
  const own = settings.engineArchive
  if (own === undefined) {
    if (release.engine === undefined) {
      throw new Fault(`nobody publishes a Docker Engine for ${release.product}.`, {
        exitCode: 4,
        hint: 'Give an archive that you made: oriel up NAME --driver qemu --engine-archive FILE'
      })
    }
    const { version, url, sha256 } = release.engine
    const download: Download = { file: `docker-${version}.zip`, sources: [url], kind: 'zip' }
    return { version, download: { ...download, sha256 } }
  }
  const version = own.version ?? /(\d+\.\d+\.\d+)/.exec(nameOf(own.file))?.[1]
  if (version === undefined) {
    throw new Fault(`the name of ${own.file} does not tell the version of the engine in it.`, {
      exitCode: 2,
      hint: 'Call it docker-29.7.2.zip, or set engineArchive.version in machine.yaml.'
    })
  }
  const { file, sha256 } = own
  if (/^https?:/i.test(file)) {
    const download: Download = { file: nameOf(file), sources: [file], kind: 'zip' }
    return { version, download: { ...download, ...(sha256 === undefined ? {} : { sha256 }) } }
  }
  return { version, file, ...(sha256 === undefined ? {} : { sha256 }) }
}

/** What tells one disc from another, without reading all of it. Fault when it is none. */
async function identityOf(disc: Plan['disc']): Promise<string> {
  if ('download' in disc) return disc.download.sha256 ?? disc.download.sources.join(' ')
  const { size } = await stat(disc.file).catch(() => {
    throw new Fault(`there is no installation disc at ${disc.file}.`, { exitCode: 4, hint: 'Give another: --iso FILE' })
  })
  // A disc of eight gigabytes takes a minute to hash; pieces from all over it tell two builds apart as well.
  return `${size} ${await hashSamples(disc.file, size)}`
}

const SAMPLES = 64
const SAMPLE_BYTES = 64 * 1024

async function hashSamples(file: string, size: number): Promise<string> {
  const hash = createHash('sha256')
  const handle = await open(file, 'r')
  try {
    const piece = Buffer.alloc(SAMPLE_BYTES)
    for (let index = 0; index < SAMPLES; index += 1) {
      const at = Math.floor((Math.max(0, size - SAMPLE_BYTES) * index) / (SAMPLES - 1))
      const { bytesRead } = await handle.read(piece, 0, SAMPLE_BYTES, at)
      hash.update(piece.subarray(0, bytesRead))
    }
  } finally {
    await handle.close()
  }
  return hash.digest('hex')
}

async function hashOfScripts(): Promise<string> {
  const folder = scriptsFolder()
  const hash = createHash('sha256')
  for (const name of (await readdir(folder)).filter(each => each.endsWith('.ps1')).sort()) {
    hash.update(`${name}\n`).update(await readFile(join(folder, name)))
  }
  return hash.digest('hex')
}

async function sha256Of(file: string): Promise<string> {
  const hash = createHash('sha256')
  await hashFile(file, hash).catch(error => {
    throw new Fault(`cannot read ${file}: ${messageOf(error)}`, { exitCode: 4 })
  })
  return hash.digest('hex')
}

function nameOf(url: string): string {
  const path = /^https?:/i.test(url) ? new URL(url).pathname : url
  return decodeURIComponent(path.slice(path.lastIndexOf('/') + 1)).replace(/[^\w.-]/g, '_') || 'download'
}
