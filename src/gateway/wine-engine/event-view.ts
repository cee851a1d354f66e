import { joinTarget } from '#gateway/routes.ts'
import { readLaunch } from '#image/launch.ts'
import { IMAGE_LABEL, userLabels, windowsImageOf } from '#image/windows-config.ts'
import { toWindowsPath } from '#image/windows-path.ts'
import { BoundedMap } from './bounded-map.ts'
import type { WineContext } from './context.ts'
import { execExitCodeOf, exitCodeOf } from './exit-code.ts'
import { type Json, objectOf, objectsOf, stringOf, stringsOf } from './json.ts'
import { windowsNetworkName } from './network-names.ts'
import { getIfThere, isOwn, ownLabel } from './ownership.ts'
import { recordOf } from './record.ts'
import { isHidden, listImages, shownId } from './windows-images.ts'

interface Actor {
  id: string
  attributes: Record<string, string>
}

/** How many objects of a kind one stream of events remembers. */
const remembered = 4096

/** One client's view of the engine's events: only what is of this machine, as a Windows daemon would tell it. */
export class EventView {
  readonly #context: WineContext
  readonly #imageFilter: readonly string[]
  readonly #containers = new BoundedMap<boolean>(remembered)
  /** Ids as clients see them. */
  readonly #images = new BoundedMap<string>(remembered)
  readonly #volumes = new BoundedMap<boolean>(remembered)
  readonly #networks = new BoundedMap<boolean>(remembered)
  /** State files of the execs that are running; an empty path is one of the gateway's own. */
  readonly #execs = new BoundedMap<string>(remembered)

  constructor(context: WineContext, imageFilter: readonly string[] = []) {
    this.#context = context
    this.#imageFilter = imageFilter
  }

  /** What is deleted can no longer be asked for its labels, so what is there is learnt before. */
  async learn(): Promise<void> {
    const { engine, machine } = this.#context
    const query = new URLSearchParams({ filters: JSON.stringify({ label: [ownLabel(machine)] }) })
    const [images, volumes, networks] = await Promise.all([
      listImages(this.#context, true),
      engine.json('GET', joinTarget('', '/volumes', query)),
      engine.json('GET', joinTarget('', '/networks', query))
    ])
    for (const row of images) this.#images.set(stringOf(row.Id), shownId(row, windowsImageOf(stringsOf(row.Labels))))
    for (const row of objectsOf(objectOf(volumes).Volumes)) this.#volumes.set(stringOf(row.Name), true)
    for (const row of objectsOf(networks)) this.#networks.set(stringOf(row.Id), true)
  }

  /** The event as the client may see it; undefined when it is none of its business. */
  async show(event: Json): Promise<Json | undefined> {
    const actorJson = objectOf(event.Actor)
    const actor: Actor = { id: stringOf(actorJson.ID), attributes: stringsOf(actorJson.Attributes) }
    const shown = await this.#showKind(event, actor)
    if (shown === undefined) return undefined
    const { action, attributes, id = actor.id } = shown
    if (!this.#imageMatches(event, id, attributes)) return undefined
    return {
      ...event,
      Action: action,
      Actor: { ...actorJson, ...(event.Type === 'image' ? { ID: id } : {}), Attributes: userLabels(attributes) },
      ...(event.Type === 'image' && event.id !== undefined ? { id } : {}),
      ...(event.status === undefined ? {} : { status: action }),
      ...(event.from === undefined ? {} : { from: attributes.image ?? event.from })
    }
  }

  async #showKind(event: Json, actor: Actor): Promise<Shown | undefined> {
    const action = stringOf(event.Action)
    switch (event.Type) {
      case 'container':
        return await this.#container(action, actor)
      case 'image':
        return this.#image(action, actor)
      case 'volume':
        return await this.#volume(action, actor)
      case 'network':
        return await this.#network(action, actor)
      default:
        // The engine's own affairs: its reloads, its builder, its plugins, its swarm.
        return undefined
    }
  }

  async #container(action: string, { id, attributes }: Actor): Promise<Shown | undefined> {
    const record = recordOf(this.#context.machine, attributes)
    this.#containers.set(id, record !== undefined)
    if (record === undefined) return undefined
    // The gateway reads state files by the same call, and nothing tells a client's from its own.
    if (action === 'archive-path') return undefined
    const shown = { ...attributes, image: record.image }
    if (action.startsWith('exec_')) return await this.#exec(action, id, shown)
    if (action !== 'die' || attributes.exitCode === undefined) return { action, attributes: shown }
    const code = await exitCodeOf(this.#context, id, Number(attributes.exitCode))
    return { action, attributes: { ...shown, exitCode: String(code) } }
  }

  async #exec(action: string, container: string, attributes: Record<string, string>): Promise<Shown | undefined> {
    const exec = attributes.execID ?? ''
    const [, name = '', command = ''] = /^(exec_create|exec_start): (.*)$/s.exec(action) ?? []
    if (name !== '') {
      const launch = readLaunch(command.split(' '))
      this.#execs.set(exec, launch?.state ?? '')
      return launch === undefined ? undefined : { action: `${name}: ${launch.commandLine}`, attributes }
    }
    const state = this.#execs.get(exec)
    if (state === '') return undefined
    if (action !== 'exec_die' || state === undefined || attributes.exitCode === undefined) return { action, attributes }
    const code = await execExitCodeOf(this.#context, container, state, Number(attributes.exitCode))
    return { action, attributes: { ...attributes, exitCode: String(code) } }
  }

  #image(action: string, { id, attributes }: Actor): Shown | undefined {
    // A container in which a layer is laid hands the label on as an empty one.
    if ((attributes[IMAGE_LABEL] ?? '') !== '') this.#images.set(id, shownId({ Id: id }, windowsImageOf(attributes)))
    if (isHidden(attributes.name ?? '')) return undefined
    const shown = this.#images.get(id)
    return shown === undefined ? undefined : { action, attributes, id: shown }
  }

  async #volume(action: string, { id, attributes }: Actor): Promise<Shown | undefined> {
    const own = await this.#isOwnVolume(id)
    // The name may come back with another owner.
    if (action === 'destroy') this.#volumes.delete(id)
    if (!own) return undefined
    const { destination } = attributes
    if (destination === undefined) return { action, attributes }
    return { action, attributes: { ...attributes, destination: toWindowsPath(destination) ?? destination } }
  }

  async #network(action: string, { id, attributes }: Actor): Promise<Shown | undefined> {
    const { container, name = '', type = '' } = attributes
    const shared = name === 'bridge' || name === 'none'
    const own = shared
      ? container !== undefined && (await this.#isOwnContainer(container))
      : await this.#isOwnNetwork(id)
    if (!own) return undefined
    return {
      action,
      attributes: { ...attributes, name: shared ? windowsNetworkName(name) : name, type: windowsNetworkName(type) }
    }
  }

  #isOwnContainer(id: string): Promise<boolean> {
    return this.#isOwn(this.#containers, id, `/containers/${encodeURIComponent(id)}/json`, found =>
      objectOf(found.Config)
    )
  }

  #isOwnVolume(name: string): Promise<boolean> {
    return this.#isOwn(this.#volumes, name, `/volumes/${encodeURIComponent(name)}`, found => found)
  }

  #isOwnNetwork(id: string): Promise<boolean> {
    return this.#isOwn(this.#networks, id, `/networks/${encodeURIComponent(id)}`, found => found)
  }

  /** Asks the engine once; what is gone before it could be asked counts as foreign. */
  async #isOwn(
    known: BoundedMap<boolean>,
    id: string,
    target: string,
    labelled: (found: Json) => Json
  ): Promise<boolean> {
    const before = known.get(id)
    if (before !== undefined) return before
    const found = await getIfThere(this.#context, target)
    const own = found !== undefined && isOwn(this.#context.machine, labelled(found).Labels)
    // What is not there may yet come.
    if (found !== undefined) known.set(id, own)
    return own
  }

  #imageMatches(event: Json, id: string, attributes: Record<string, string>): boolean {
    if (this.#imageFilter.length === 0) return true
    const name = (event.Type === 'image' ? attributes.name : attributes.image) ?? ''
    const names = [id, name, withoutTag(id), withoutTag(name)]
    return this.#imageFilter.some(wanted => wanted !== '' && names.includes(wanted))
  }
}

interface Shown {
  action: string
  attributes: Record<string, string>
  /** Where it is another one than the engine's. */
  id?: string
}

function withoutTag(name: string): string {
  return name.replace(/:[^/:]*$/, '')
}
