import { Fault } from '#lib/fault.ts'
import {
  type ReleaseName,
  SERVER_RELEASES,
  type ServerRelease,
  serverEdition,
  serverRelease
} from '#windows/server-releases.ts'
import { contiguous, type DiscReader } from './disc-reader.ts'
import { HEAD_SIZE, problemOf } from './file-kind.ts'
import { withImageFile } from './image-file.ts'
import { openIso9660 } from './iso9660.ts'
import { plainText } from './plain-text.ts'
import { openUdf } from './udf.ts'
import { readWim, type WimImage } from './wim.ts'

/** A run of bytes of a disc image. */
export interface BootImage {
  offset: number
  size: number
}

export interface MediaEdition {
  index: number
  name: string
  displayName: string
  editionId: string
  evaluation: boolean
  installation: 'core' | 'desktop'
}

/** What a Windows installation disc is. */
export interface MediaFacts {
  fileSystem: 'udf' | 'iso9660'
  label: string
  /** As in `Windows Server 2025`. */
  product: string
  /** Undefined for a Windows that Oriel cannot make a machine of. */
  release?: ReleaseName
  kind: 'server' | 'client'
  /** As in `26100.32230`. */
  build: string
  architecture: 'x86_64' | 'aarch64' | 'x86'
  languages: string[]
  editions: MediaEdition[]
  /** True when every edition is an evaluation. */
  evaluation: boolean
  /** Where the boot images for UEFI lie, when in one piece: with and without "Press any key to boot from CD or DVD". */
  bootImages: { prompt?: BootImage; noPrompt?: BootImage }
}

/**
 * Reads what a disc image is, from a few blocks of it, without mounting it. Fault 2 when it is no installation disc of
 * Windows, saying what it is instead; Fault 1 when it is damaged.
 */
export function inspectMedia(path: string): Promise<MediaFacts> {
  return withImageFile(path, async image => {
    const problem = problemOf('disc', await image.read(0, Math.min(HEAD_SIZE, image.size)))
    if (problem !== undefined) throw notADisc(path, problem)
    const disc = (await openUdf(image)) ?? (await openIso9660(image))
    if (disc === undefined) throw notADisc(path, 'it has no file system that discs have')
    const wim = await disc.find('sources/install.wim')
    if (wim === undefined) throw notADisc(path, await describeOther(disc))
    const { kind, images } = await readWim(image, wim)
    if (kind === 'swm') throw notADisc(path, 'its install.wim is split into parts')
    return factsOf(path, disc, images, await bootImages(disc))
  })
}

/**
 * Finds on a disc the image that is to be installed. Fault 2 when the disc is of another release or architecture, or has
 * no such edition.
 */
export function chooseImage(
  facts: MediaFacts,
  wanted: { release: ReleaseName; edition: string; architecture: 'x86_64' | 'aarch64' }
): { index: number; name: string; evaluation: boolean } {
  const release = serverRelease(wanted.release)
  const what = `the disc is ${describe(facts)}`
  if (facts.kind === 'client' && release.kind === 'server') {
    throw new Fault(`${what}: a client Windows, and ${release.product} is wanted.`, {
      exitCode: 2,
      hint: `Fetch the right one: oriel media fetch ${release.name}`
    })
  }
  if (facts.architecture !== wanted.architecture) {
    throw new Fault(`${what}, and the machine has ${wanted.architecture} processors.`, {
      exitCode: 2,
      hint: `Take a disc for ${wanted.architecture}.`
    })
  }
  if (facts.release !== release.name) {
    throw new Fault(`${what}, and ${release.product} is wanted.`, {
      exitCode: 2,
      hint:
        facts.release === undefined ? `Take a disc of ${release.product}.` : `For this disc: --windows ${facts.release}`
    })
  }
  const edition = serverEdition(release, wanted.edition)
  const found =
    facts.editions.find(({ name }) => name.toLowerCase() === edition.imageName.toLowerCase()) ??
    facts.editions.find(
      ({ editionId, installation }) =>
        editionId.replace(/eval$/i, '').toLowerCase() === edition.editionId.toLowerCase() &&
        installation === edition.installation
    )
  if (found !== undefined) return { index: found.index, name: found.name, evaluation: found.evaluation }
  throw new Fault(`the disc has no ${edition.title}.`, {
    exitCode: 2,
    hint: `It has: ${facts.editions.map(({ displayName }) => displayName).join('; ')}.`
  })
}

function notADisc(path: string, problem: string): Fault {
  return new Fault(`${path} is no installation disc of Windows: ${problem}.`, {
    exitCode: 2,
    hint: 'Take the ISO file of an evaluation: oriel releases'
  })
}

function describe(facts: MediaFacts): string {
  const kind = facts.evaluation ? ' evaluation' : ''
  return `${facts.product}${kind} (build ${facts.build}, ${facts.architecture})`
}

/** What a disc without sources/install.wim is, as far as its files tell. */
async function describeOther(disc: DiscReader): Promise<string> {
  for (const name of ['install.swm', 'install.esd']) {
    if ((await disc.find(`sources/${name}`)) !== undefined) return `it has sources/${name} in place of install.wim`
  }
  for (const name of ['casper', '.disk', 'isolinux', 'live', 'boot/grub', 'images/pxeboot', 'arch']) {
    if ((await disc.list(name)) !== undefined) return `it is a Linux disc ("${plainText(disc.label)}")`
  }
  const names = (await disc.list(''))?.map(({ name }) => plainText(name)) ?? []
  const some = names.slice(0, 8).join(', ')
  return names.length === 0
    ? 'it is empty'
    : `it has no sources/install.wim but ${some}${names.length > 8 ? ', …' : ''}`
}

async function bootImages(disc: DiscReader): Promise<MediaFacts['bootImages']> {
  const prompt = contiguous(await disc.find('efi/microsoft/boot/efisys.bin'))
  const noPrompt = contiguous(await disc.find('efi/microsoft/boot/efisys_noprompt.bin'))
  return { ...(prompt === undefined ? {} : { prompt }), ...(noPrompt === undefined ? {} : { noPrompt }) }
}

function factsOf(
  path: string,
  disc: DiscReader,
  images: readonly WimImage[],
  boot: MediaFacts['bootImages']
): MediaFacts {
  const [first] = images
  const architecture = first === undefined ? undefined : ARCHITECTURES[first.architecture]
  if (first?.build === undefined || architecture === undefined) {
    throw notADisc(path, 'its install.wim does not say which Windows is in it')
  }
  const kind = first.productType === 'WinNT' || first.installationType === 'Client' ? 'client' : 'server'
  const editions = images.map(editionOf)
  const release = releaseOf(kind, Number.parseInt(first.build, 10), architecture)
  return {
    fileSystem: disc.fileSystem,
    label: plainText(disc.label),
    product:
      /^(Windows Server \d{4}( R2)?|Hyper-V Server \d{4}|Windows \d+)/.exec(first.displayName)?.[1] ??
      first.displayName,
    ...(release === undefined ? {} : { release: release.name }),
    kind,
    build: first.build,
    architecture,
    languages: [...new Set(images.flatMap(({ languages }) => languages))],
    editions,
    evaluation: editions.every(({ evaluation }) => evaluation),
    bootImages: boot
  }
}

const ARCHITECTURES: Record<number, MediaFacts['architecture']> = { 0: 'x86', 9: 'x86_64', 12: 'aarch64' }

function editionOf(image: WimImage): MediaEdition {
  const { index, name, displayName, editionId } = image
  const evaluation = /eval$/i.test(editionId)
  const installation = /core$/i.test(image.installationType) ? 'core' : 'desktop'
  return { index, name, displayName, editionId, evaluation, installation }
}

function releaseOf(kind: string, build: number, architecture: string): ServerRelease | undefined {
  return SERVER_RELEASES.find(
    release =>
      release.kind === kind &&
      release.architecture === architecture &&
      // A client gets a new build every year, and runs the images of the servers before it.
      (kind === 'client' ? build >= release.build : build === release.build)
  )
}
