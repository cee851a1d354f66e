import type { Readable } from 'node:stream'
import { DRIVE, partsOf } from './drive-name.ts'
import { translateTar } from './tar-translator.ts'
import { OPAQUE, WHITEOUT } from './windows-records.ts'

/** A folder by its names in lower case; what is no folder has nothing in it. */
interface Node {
  name: string
  content: Map<string, Node> | undefined
}

/** The names on the drive as a stack of our Linux layers has them, so that a layer on top can say which of them are gone. */
export class DriveTree {
  readonly #root: Node = { name: '', content: new Map() }

  /** Lays one more layer (a tar, as `docker save` has it) on top. Rejects with a Fault for what is no tar. */
  async lay(layer: Readable): Promise<void> {
    const opaque: string[][] = []
    const removed: string[][] = []
    const added: { parts: string[]; folder: boolean }[] = []
    const output = translateTar(layer, {
      entry: ({ name, type }) => {
        const [prefix, drive, ...parts] = partsOf(name)
        const last = parts.at(-1)
        if (`${prefix}/${drive}` === DRIVE && last !== undefined) {
          const folder = parts.slice(0, -1)
          if (last === OPAQUE) opaque.push(folder)
          else if (last.startsWith(WHITEOUT)) removed.push([...folder, last.slice(WHITEOUT.length)])
          else added.push({ parts, folder: type === '5' })
        }
        return { kind: 'drop' }
      }
    })
    for await (const _ of output);
    // Marks are about the layers below, wherever they stand among this layer's own files.
    for (const parts of opaque) this.#find(parts)?.content?.clear()
    for (const parts of removed) this.#find(parts.slice(0, -1))?.content?.delete(keyOf(parts.at(-1)))
    for (const { parts, folder } of added) this.#add(parts, folder)
  }

  /** What is in a folder: a path below the drive with slashes, empty for the drive itself. */
  list(folder: string): { name: string; folder: boolean }[] {
    const content = this.#find(folder.split('/').filter(Boolean))?.content
    return [...(content?.values() ?? [])].map(({ name, content }) => ({ name, folder: content !== undefined }))
  }

  #find(parts: readonly string[]): Node | undefined {
    return parts.reduce<Node | undefined>((node, part) => node?.content?.get(keyOf(part)), this.#root)
  }

  #add(parts: readonly string[], folder: boolean): void {
    let node = this.#root
    for (const [at, name] of parts.entries()) {
      const isFolder = at < parts.length - 1 || folder
      node.content ??= new Map()
      const known = node.content.get(keyOf(name))
      // A folder that comes again is merged with the one below, all else takes its place.
      const next =
        isFolder && known?.content !== undefined ? known : { name, content: isFolder ? new Map() : undefined }
      node.content.set(keyOf(name), next)
      node = next
    }
  }
}

function keyOf(name: string | undefined): string {
  return (name ?? '').toLowerCase()
}
