import { createHash } from 'node:crypto'
import { constants } from 'node:fs'
import { copyFile, mkdir, open, readdir, readFile, rename, stat } from 'node:fs/promises'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { PROJECT, run } from './command.ts'

/** What the stand-in does in its setup phase; `test/stand-in/README.md` says what each of them does. */
export type StandInVariant = 'normal' | 'silent' | 'fails-containers' | 'hangs-in-setup' | 'slow'

/** A zip such as Docker's own for Windows. */
export interface EngineArchive {
  file: string
  version: string
  /** Hexadecimal. */
  sha256: string
}

export interface StandIn {
  /** The disc that looks like Microsoft's of Windows Server 2025. */
  iso: string
  engineArchive: EngineArchive
  /** A newer engine, for an upgrade. */
  newerArchive: EngineArchive
  /** An engine that ends as soon as it is started. */
  brokenArchive: EngineArchive
  /** A tar for `docker load`: `stand-in/busybox:latest`, for Linux. */
  image: string
}

const FOLDER = join(PROJECT, 'test', 'stand-in')
const ISO = 'windows-server-2025-stand-in'
/** The length of sources/$OEM$/stand-in.conf, in bytes. */
const CONF_BYTES = 512

/**
 * Builds the stand-in for Windows Server, or takes it from the cache of its sources. Needs a Debian and root; about half a
 * minute when the packages are there. All files are shared with other tests: do not write to them.
 */
export async function standInDisc({ variant = 'normal' }: { variant?: StandInVariant } = {}): Promise<StandIn> {
  const cache = process.env.ORIEL_TEST_CACHE ?? join(homedir(), '.cache', 'oriel-test')
  const folder = join(cache, 'stand-in', await hashOfSources())
  await mkdir(folder, { recursive: true })
  const { code, stderr } = await run(join(FOLDER, 'build.sh'), [folder], { timeoutMs: 15 * 60_000 })
  if (code !== 0) throw new Error(`test/stand-in/build.sh ended with ${code}:\n${stderr.slice(-4000)}`)
  return {
    iso: variant === 'normal' ? join(folder, `${ISO}.iso`) : await variantDisc(folder, variant),
    engineArchive: await engineArchive(folder, '29.7.2'),
    newerArchive: await engineArchive(folder, '29.8.0'),
    brokenArchive: await engineArchive(folder, '29.9.0-broken'),
    image: join(folder, 'busybox.tar')
  }
}

/** Names the build, so that an older one is never taken for it. */
async function hashOfSources(): Promise<string> {
  const hash = createHash('sha256')
  const entries = await readdir(FOLDER, { recursive: true, withFileTypes: true })
  const files = entries.filter(entry => entry.isFile()).map(entry => join(entry.parentPath, entry.name))
  for (const file of files.sort()) hash.update(`${file.slice(FOLDER.length)}\0`).update(await readFile(file))
  return hash.digest('hex').slice(0, 16)
}

/** A copy of the disc with another word in stand-in.conf, which has one length always. */
async function variantDisc(folder: string, variant: StandInVariant): Promise<string> {
  const iso = join(folder, `${ISO}-${variant}.iso`)
  if (await exists(iso)) return iso
  const own = `${iso}.${process.pid}`
  await copyFile(join(folder, `${ISO}.iso`), own, constants.COPYFILE_FICLONE)
  const file = await open(own, 'r+')
  try {
    const offset = Number(await readFile(join(folder, 'variant.offset'), 'utf8'))
    await file.write(`variant=${variant}`.padEnd(CONF_BYTES), offset)
  } finally {
    await file.close()
  }
  await rename(own, iso)
  return iso
}

async function engineArchive(folder: string, version: string): Promise<EngineArchive> {
  const file = join(folder, `docker-${version}-stand-in.zip`)
  return {
    file,
    version,
    sha256: createHash('sha256')
      .update(await readFile(file))
      .digest('hex')
  }
}

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false
  )
}
