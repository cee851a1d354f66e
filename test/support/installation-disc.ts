import { execFile } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { copyFileSync, mkdirSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'

const execute = promisify(execFile)

/** Runs a tool to its end and gives what it printed. */
export async function tool(program: string, ...args: string[]): Promise<string> {
  const { stdout } = await execute(program, args, { maxBuffer: 64 * 1024 * 1024, encoding: 'latin1' })
  return stdout
}

/** A folder for a test file. It lies in /tmp because Unix sockets and locks want short paths. */
export function temporaryFolder(): { path: string; remove: () => void } {
  const path = mkdtempSync(join(realpathSync('/tmp'), 'oriel-d-'))
  return { path, remove: () => rmSync(path, { recursive: true, force: true, maxRetries: 5 }) }
}

export interface TestImage {
  name: string
  displayName?: string
  editionId?: string
  installationType?: string
  productType?: string
  architecture?: number
  build?: string
  language?: string
}

/** The images of an English evaluation disc of a Windows Server, as Microsoft names them. */
export function serverImages(year: string, build: string): TestImage[] {
  return (['Standard', 'Datacenter'] as const).flatMap(edition =>
    ['Server Core', 'Server'].map(installationType => ({
      name: `Windows Server ${year} SERVER${edition.toUpperCase()}${installationType === 'Server' ? '' : 'CORE'}`,
      displayName: `Windows Server ${year} ${edition} Evaluation${installationType === 'Server' ? ' (Desktop Experience)' : ''}`,
      editionId: `Server${edition}Eval`,
      installationType,
      build
    }))
  )
}

/** Makes a WIM with wimlib whose XML says what the images are; there is one small file in each. */
export async function makeWim(folder: string, images: readonly TestImage[]): Promise<string> {
  const tree = join(folder, 'tree')
  const wim = join(folder, 'install.wim')
  mkdirSync(join(tree, 'Windows'), { recursive: true })
  writeFileSync(join(tree, 'Windows', 'win.ini'), '; for 16-bit app support\r\n')
  rmSync(wim, { force: true })
  for (const [at, image] of images.entries()) {
    await tool('wimlib-imagex', at === 0 ? 'capture' : 'append', tree, wim, image.name)
    const { displayName = image.name, build = '26100.1', language = 'en-US' } = image
    const [major, minor] = build.split('.')
    const properties = {
      DISPLAYNAME: displayName,
      'WINDOWS/ARCH': String(image.architecture ?? 9),
      'WINDOWS/EDITIONID': image.editionId ?? 'ServerStandard',
      'WINDOWS/INSTALLATIONTYPE': image.installationType ?? 'Server',
      'WINDOWS/PRODUCTTYPE': image.productType ?? 'ServerNT',
      'WINDOWS/LANGUAGES/LANGUAGE': language,
      'WINDOWS/LANGUAGES/DEFAULT': language,
      'WINDOWS/VERSION/MAJOR': '10',
      'WINDOWS/VERSION/MINOR': '0',
      'WINDOWS/VERSION/BUILD': major ?? '',
      'WINDOWS/VERSION/SPBUILD': minor ?? '0'
    }
    const options = Object.entries(properties).flatMap(([name, value]) => ['--image-property', `${name}=${value}`])
    await tool('wimlib-imagex', 'info', wim, String(at + 1), ...options)
  }
  return wim
}

export interface DiscOptions {
  /** Files by path; a text that begins with `@` names a file to copy. */
  files: Record<string, string | Buffer>
  /** `udf` is UDF with ISO 9660 and Joliet beside it, as genisoimage writes it. */
  fileSystem?: 'udf' | 'joliet' | 'iso9660'
  label?: string
  /** Path of the boot image for UEFI. */
  efiBoot?: string
}

/** Makes a disc with genisoimage. */
export async function makeDisc(folder: string, name: string, options: DiscOptions): Promise<string> {
  const { files, fileSystem = 'udf', label = 'SSS_X64FREE_EN-US_DV9', efiBoot } = options
  const tree = join(folder, `${name}.tree`)
  const iso = join(folder, `${name}.iso`)
  rmSync(tree, { recursive: true, force: true })
  for (const [path, content] of Object.entries(files)) {
    const file = join(tree, path)
    mkdirSync(dirname(file), { recursive: true })
    if (typeof content === 'string' && content.startsWith('@')) copyFileSync(content.slice(1), file)
    else writeFileSync(file, content)
  }
  const system = { udf: ['-udf', '-J'], joliet: ['-J', '-joliet-long'], iso9660: ['-l'] }[fileSystem]
  const boot =
    efiBoot === undefined
      ? []
      : ['-b', 'boot/etfsboot.com', '-no-emul-boot', '-eltorito-alt-boot', '-e', efiBoot, '-no-emul-boot']
  await tool('genisoimage', '-quiet', '-iso-level', '3', ...system, '-V', label, ...boot, '-o', iso, tree)
  return iso
}

export const EFISYS = 'efi/microsoft/boot/efisys.bin'
export const EFISYS_NOPROMPT = 'efi/microsoft/boot/efisys_noprompt.bin'

/** The files of an installation disc. Boot images are random, so that no test can confuse them. */
export function installationFiles(
  wim: string,
  sizes = { prompt: 6144, noPrompt: 6144 }
): Record<string, string | Buffer> {
  return {
    'sources/install.wim': `@${wim}`,
    'sources/boot.wim': 'not needed here',
    'boot/etfsboot.com': Buffer.alloc(2048, 1),
    'setup.exe': 'MZ',
    [EFISYS]: randomBytes(sizes.prompt),
    [EFISYS_NOPROMPT]: randomBytes(sizes.noPrompt)
  }
}
