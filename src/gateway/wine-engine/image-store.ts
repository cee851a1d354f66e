import { createHash } from 'node:crypto'
import { mkdtemp, readdir, readFile, rm, stat } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import type { Engine } from '#docker/engine.ts'
import { BlobStore } from '#image/registry/blob-store.ts'
import type { ImageOrigin } from '#image/windows-config.ts'
import { makeFolder, writeFileAtomic } from '#lib/atomic-file.ts'
import { objectOf, stringOf } from './json.ts'

/** Nobody reads an archive for so long. */
const LEFT_MS = 24 * 60 * 60_000

/** What the gateway keeps of images beside what the engine has: their bytes as they came, and the work that is going on. */
export class ImageStore {
  /** For HTTP_PROXY and the like. */
  readonly env: NodeJS.ProcessEnv
  /** Layers that are being laid, by the mark that their image will have. */
  readonly laying = new Map<string, Promise<unknown>>()
  /** How many images are being pulled or loaded: until they have a name, nothing tells their layers from rubbish. */
  pulling = 0
  /** Containers that are being worked in. */
  readonly working = new Set<string>()
  readonly #folder: string
  readonly #engine: Engine
  #blobs: Promise<BlobStore> | undefined

  /** `folder` is for all engines: each has its own below it, since nobody can tell what images an absent engine has. */
  constructor(folder: string, engine: Engine, env: NodeJS.ProcessEnv) {
    this.#folder = folder
    this.#engine = engine
    this.env = env
  }

  /** A new folder for what is being read from an archive. What an agent that was killed has left there goes. */
  async workFolder(): Promise<string> {
    const work = join(await this.#place(), 'work')
    await makeFolder(work)
    for (const name of await readdir(work)) {
      const { mtimeMs } = await stat(join(work, name))
      if (Date.now() - mtimeMs > LEFT_MS) await rm(join(work, name), { recursive: true, force: true })
    }
    return await mkdtemp(join(work, 'archive-'))
  }

  /** What an image that was built here is as a Windows image, once that has been made. */
  async builtAs(engineId: string): Promise<ImageOrigin | undefined> {
    try {
      return JSON.parse(await readFile(await this.#builtFile(engineId), 'utf8')) as ImageOrigin
    } catch (error) {
      if (error instanceof SyntaxError || (error instanceof Error && 'code' in error && error.code === 'ENOENT')) {
        return undefined
      }
      throw error
    }
  }

  /** An image of the engine never changes; undefined for one that is gone. */
  async setBuiltAs(engineId: string, origin: ImageOrigin | undefined): Promise<void> {
    const file = await this.#builtFile(engineId)
    if (origin === undefined) return await rm(file, { force: true })
    await makeFolder(dirname(file))
    await writeFileAtomic(file, JSON.stringify(origin))
  }

  async #builtFile(engineId: string): Promise<string> {
    return join(await this.#place(), 'built', `${engineId.replace(/\W/g, '-')}.json`)
  }

  /** The blobs of the images of this engine. */
  blobs(): Promise<BlobStore> {
    this.#blobs ??= this.#open().catch(error => {
      this.#blobs = undefined
      throw error
    })
    return this.#blobs
  }

  async #open(): Promise<BlobStore> {
    return new BlobStore(await this.#place())
  }

  async #place(): Promise<string> {
    const id = stringOf(objectOf(await this.#engine.json('GET', '/info')).ID)
    const name = createHash('sha256').update(id).digest('hex').slice(0, 16)
    return join(this.#folder, name)
  }
}
