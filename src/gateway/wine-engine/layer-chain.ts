import { createHash } from 'node:crypto'
import { type Readable, Transform } from 'node:stream'
import { attach } from '#docker/attach.ts'
import { joinTarget } from '#gateway/routes.ts'
import { wineBaseTag } from '#image/bases.ts'
import { INIT } from '#image/launch.ts'
import { decompress } from '#image/layer/decompress.ts'
import { FolderNames } from '#image/layer/folder-names.ts'
import { toLinuxLayer } from '#image/layer/to-linux.ts'
import { parseDigest } from '#image/registry/digest.ts'
import type { Descriptor } from '#image/registry/manifest.ts'
import { FOLDERS_LABEL, IMAGE_LABEL, LAYER_LABEL, WORK_LABEL } from '#image/windows-config.ts'
import { checkAborted } from '#lib/wait.ts'
import type { WineContext } from './context.ts'
import { numberOf, objectOf, objectsOf, stringOf, stringsOf } from './json.ts'
import { getIfThere } from './ownership.ts'
import { Refusal } from './refusal.ts'

/** What init is asked in a container that lays a layer; the engine's history says it of each image that such a one became. */
export const LAYING = ['layer']

/** The Wine base with some Windows layers on it. */
export interface LaidLayers {
  /** The engine's image. */
  image: string
  /** What tells it from all others: the value of LAYER_LABEL. */
  mark: string
  /** As in WindowsImage. */
  folders: string[]
}

/** A layer to lay: `open` gives its bytes as they are in a registry. */
export interface LayerToLay {
  descriptor: Pick<Descriptor, 'mediaType' | 'size'>
  diffId: string
  open: () => Readable
}

export interface LayOptions {
  /** Told of each layer, by its place: it is there already, so many bytes of it are laid, or all of it is. */
  tell: (at: number, what: 'exists' | 'done' | { current: number }) => void
  signal: AbortSignal
}

/**
 * Lays layers over the Wine base of a release, each as an image of the engine that other images share. What an earlier try,
 * or another image, has laid is taken as it is.
 */
export async function layLayers(
  context: WineContext,
  release: string,
  layers: readonly LayerToLay[],
  { tell, signal }: LayOptions
): Promise<LaidLayers> {
  let below = await wineBase(context, release)
  for (const [at, layer] of layers.entries()) {
    const known = await findLaid(context, markOf(below, layer))
    if (known !== undefined) {
      tell(at, 'exists')
      below = known
      continue
    }
    const on = below
    below = await once(context, markOf(on, layer), signal, () =>
      lay(context, on, layer, current => tell(at, { current }), signal)
    )
    tell(at, 'done')
  }
  return below
}

/** The Wine base of a release, which all layers lie on. A Refusal that says what to type when the engine has it not. */
export async function wineBase(context: WineContext, release: string): Promise<LaidLayers> {
  const tag = wineBaseTag(release)
  const base = await getIfThere(context, `/images/${tag}/json`)
  if (base === undefined) {
    throw new Refusal(
      `the Docker engine has no ${tag}, which stands in for this image's base: run oriel up to build it`,
      500
    )
  }
  const image = stringOf(base.Id)
  return { image, mark: image, folders: [] }
}

/** A new Wine base makes new images of the same layers: their files may be others' links on it. */
function markOf(below: LaidLayers, { diffId }: LayerToLay): string {
  return createHash('sha256').update(`${below.mark} ${diffId}`).digest('hex')
}

/** The laid layers with this mark, if the engine has them. */
export async function findLaid({ engine }: WineContext, mark: string): Promise<LaidLayers | undefined> {
  const filters = JSON.stringify({ label: [`${LAYER_LABEL}=${mark}`] })
  const query = new URLSearchParams({ all: '1', filters })
  const rows = objectsOf(await engine.json('GET', joinTarget('', '/images/json', query)))
  for (const row of rows) {
    const labels = stringsOf(row.Labels)
    const folders = foldersOf(labels[FOLDERS_LABEL])
    // Images are made on these, and have their labels too.
    if ((labels[IMAGE_LABEL] ?? '') === '' && folders !== undefined) return { image: stringOf(row.Id), mark, folders }
  }
  return undefined
}

function foldersOf(json: string | undefined): string[] | undefined {
  try {
    const value: unknown = JSON.parse(json ?? '')
    return Array.isArray(value) && value.every(name => typeof name === 'string') ? value : undefined
  } catch {
    return undefined
  }
}

/** Of many that want the same layer one lays it, and the others wait. */
async function once(
  context: WineContext,
  mark: string,
  signal: AbortSignal,
  work: () => Promise<LaidLayers>
): Promise<LaidLayers> {
  const { laying } = context.images
  for (let other = laying.get(mark); other !== undefined; other = laying.get(mark)) {
    await other.catch(() => undefined)
    checkAborted(signal)
    const laid = await findLaid(context, mark)
    if (laid !== undefined) return laid
  }
  const mine = work()
  laying.set(mark, mine)
  try {
    return await mine
  } finally {
    laying.delete(mark)
  }
}

async function lay(
  context: WineContext,
  below: LaidLayers,
  layer: LayerToLay,
  onBytes: (current: number) => void,
  signal: AbortSignal
): Promise<LaidLayers> {
  const folders = new FolderNames(below.folders)
  return await inContainer(context, below.image, async container => {
    const attached = await attach(context.engine.endpoint, container)
    try {
      await context.engine.json('POST', `/containers/${container}/start`)
      const tar = decompress(counted(layer.open(), onBytes), layer.descriptor.mediaType)
      const { output, done } = toLinuxLayer(checked(tar, layer.diffId), {
        onName: (parts, what) => (what === 'folder' ? folders.add(parts) : folders.remove(parts))
      })
      await attached.feed(output, signal)
      const ended = objectOf(await context.engine.json('POST', `/containers/${container}/wait`, undefined, { signal }))
      const code = numberOf(ended.StatusCode)
      if (code !== 0)
        throw new Refusal(`layer ${layer.diffId} cannot be laid: ${lastLine(await attached.said, code)}`, 500)
      const { dropped } = await done
      if ((dropped['utility-vm'] ?? 0) > 0) {
        throw new Refusal(`layer ${layer.diffId} is a Windows of its own, which Wine cannot take the place of`, 500)
      }
    } finally {
      attached.close()
    }
    const mark = markOf(below, layer)
    const labels = { [LAYER_LABEL]: mark, [FOLDERS_LABEL]: JSON.stringify(folders.made) }
    return { image: await commit(context, container, labels), mark, folders: folders.made }
  })
}

function lastLine(said: string, code: number): string {
  return (
    said
      .trim()
      .split('\n')
      .at(-1)
      ?.replace(/\/c\/drive_c/g, 'C:') || `exit code ${code}`
  )
}

function counted(stream: Readable, onBytes: (bytes: number) => void): Readable {
  let bytes = 0
  return passing(stream, chunk => {
    bytes += chunk.length
    onBytes(bytes)
  })
}

/** Ends with an error when the bytes are not those of the digest: the config vouches for the tars of an image, not for their gzip. */
function checked(stream: Readable, diffId: string): Readable {
  const { algorithm, hex } = parseDigest(diffId)
  const hash = createHash(algorithm)
  const end = (): void => {
    if (hash.digest('hex') !== hex)
      throw new Refusal(`layers from manifest don't match image configuration: ${diffId}`, 400)
  }
  return passing(stream, chunk => hash.update(chunk), end)
}

function passing(stream: Readable, each: (chunk: Buffer) => void, end: () => void = () => undefined): Readable {
  const through = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      each(chunk)
      done(null, chunk)
    },
    flush(done) {
      try {
        end()
        done()
      } catch (error) {
        done(error as Error)
      }
    }
  })
  stream.once('error', error => through.destroy(error))
  through.once('close', () => stream.destroy())
  return stream.pipe(through)
}

/** Does something in a container of an image that nobody sees and that is gone afterwards. */
export async function inContainer<T>(
  context: WineContext,
  image: string,
  work: (container: string) => Promise<T>
): Promise<T> {
  const { engine, machine, images } = context
  const body = {
    Image: image,
    Entrypoint: [INIT],
    Cmd: LAYING,
    OpenStdin: true,
    StdinOnce: true,
    AttachStdin: true,
    AttachStdout: true,
    AttachStderr: true,
    HostConfig: { NetworkMode: 'none' },
    Labels: { [WORK_LABEL]: machine }
  }
  const container = stringOf(objectOf(await engine.json('POST', '/containers/create', body)).Id)
  images.working.add(container)
  try {
    return await work(container)
  } finally {
    await removeContainer(context, container).catch(error => {
      context.log.warn('a container of a layer is left behind', { container, error: String(error) })
    })
    images.working.delete(container)
  }
}

async function removeContainer({ engine }: WineContext, id: string): Promise<void> {
  await engine.json('DELETE', `/containers/${id}?force=1&v=1`)
}

/** Removes what an agent that was killed left of its work. */
export async function removeLeftovers(context: WineContext): Promise<void> {
  const filters = JSON.stringify({ label: [`${WORK_LABEL}=${context.machine}`] })
  const query = new URLSearchParams({ all: '1', filters })
  for (const row of objectsOf(await context.engine.json('GET', joinTarget('', '/containers/json', query)))) {
    const id = stringOf(row.Id)
    if (!context.images.working.has(id)) await removeContainer(context, id).catch(() => undefined)
  }
}

/** Makes an image of a container as it is, with these labels and nothing that it would start by itself. Gives its id. */
export async function commit(
  { engine }: WineContext,
  container: string,
  labels: Record<string, string>,
  { exposedPorts = {}, comment = '' }: { exposedPorts?: Record<string, object>; comment?: string } = {}
): Promise<string> {
  const query = new URLSearchParams({ container, pause: '0', ...(comment === '' ? {} : { comment }) })
  const body = {
    Entrypoint: [INIT],
    Cmd: [],
    Env: [],
    ExposedPorts: exposedPorts,
    Labels: { ...labels, [WORK_LABEL]: '' }
  }
  return stringOf(objectOf(await engine.json('POST', joinTarget('', '/commit', query), body)).Id)
}
