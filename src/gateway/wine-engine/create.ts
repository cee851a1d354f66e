import { EngineError } from '#docker/engine.ts'
import { readJson, sendJson } from '#gateway/proxy/respond.ts'
import { joinTarget, type Route } from '#gateway/routes.ts'
import { type KnownBase, knownBase } from '#image/bases.ts'
import { CONTAINER_LABEL, MACHINE_LABEL, userLabels } from '#image/windows-config.ts'
import type { WineContext } from './context.ts'
import { engineConfig, mergeConfig, SERVICES_LABEL } from './create-config.ts'
import { translateEndpoints, translateHostConfig } from './create-host.ts'
import { type Json, numberOf, objectOf, stringOf, stringsOf } from './json.ts'
import { translateMounts } from './mounts.ts'
import type { ContainerRecord } from './record.ts'
import { cannot, Refusal } from './refusal.ts'
import { lookUpImage, shownId } from './windows-images.ts'

export function createRoutes(context: WineContext): Route[] {
  return [
    {
      method: 'POST',
      template: '/containers/create',
      action: ({ query, version }) => ({
        kind: 'handle',
        handler: async (request, response) => {
          checkPlatform(query.get('platform') ?? '')
          const asked = objectOf(await readJson(request))
          const { body, warnings } = await translateCreate(context, asked)
          query.delete('platform')
          const answer = objectOf(
            await context.engine.json('POST', joinTarget(version, '/containers/create', query), body)
          )
          const engineWarnings = Array.isArray(answer.Warnings) ? answer.Warnings.map(String) : []
          // What the engine says of its kernel is not true of Windows.
          const kept = engineWarnings.filter(warning => !/kernel|cgroup|swap/i.test(warning))
          sendJson(response, 201, { ...answer, Warnings: [...warnings, ...kept] })
        }
      })
    }
  ]
}

/** Refuses a platform that is not Windows on amd64, as a Windows daemon does. */
export function checkPlatform(platform: string): void {
  if (platform === '') return
  const [os = '', architecture = 'amd64'] = platform.toLowerCase().split('/')
  if (os !== 'windows') {
    throw new Refusal(
      `image operating system "${os}" cannot be used on this platform: this machine runs Windows containers`
    )
  }
  if (architecture !== 'amd64' && architecture !== 'x86_64') throw cannot(`run programs for ${architecture}`)
}

/** The create request for the Linux engine that makes this Windows container, and what its client should be warned of. */
export async function translateCreate(context: WineContext, asked: Json): Promise<{ body: Json; warnings: string[] }> {
  const name = stringOf(asked.Image)
  const image = await findImage(context, name)
  const config = mergeConfig(image.windows.config, asked)
  const hostConfig = objectOf(asked.HostConfig)
  const processors = numberOf(hostConfig.CpuPercent) > 0 ? await processorsOf(context) : 1
  const host = translateHostConfig(hostConfig, processors)
  const { folders } = image.windows
  const volumes = Object.keys(config.Volumes ?? {})
  const mounts = translateMounts(hostConfig, volumes, context.machine, folders)
  await refuseForeignVolumes(
    context,
    mounts.recorded.filter(mount => mount.type === 'volume').map(mount => mount.source)
  )
  const record: ContainerRecord = {
    machine: context.machine,
    image: name,
    imageId: image.id,
    hostConfig,
    config,
    autoRemove: hostConfig.AutoRemove === true,
    mounts: mounts.recorded,
    folders
  }
  const services = stringsOf(asked.Labels)[SERVICES_LABEL] ?? image.labels[SERVICES_LABEL]
  const labels = {
    ...userLabels(config.Labels),
    ...(services === undefined ? {} : { [SERVICES_LABEL]: services }),
    [MACHINE_LABEL]: context.machine,
    [CONTAINER_LABEL]: JSON.stringify(record)
  }
  return {
    body: {
      ...engineConfig(asked, config, labels),
      Image: image.engineId,
      HostConfig: { ...host.hostConfig, Binds: mounts.binds, Mounts: mounts.mounts },
      NetworkingConfig: translateEndpoints(objectOf(asked.NetworkingConfig))
    },
    warnings: host.warnings
  }
}

async function findImage(context: WineContext, name: string) {
  const base: KnownBase | 'unknownTag' | undefined = knownBase(name)
  if (base === undefined && /(^|\/)(servercore\/iis|framework\/aspnet|iis)(:|@|$)/i.test(name)) throw cannot('run IIS')
  const found = await lookUpImage(context, name)
  if (found === undefined) throw new Refusal(`No such image: ${tagged(name)}`, 404)
  if (found === 'linux') {
    // A base that was never pulled, while the engine has a Linux image of that name, must still be pulled.
    if (base !== undefined) throw new Refusal(`No such image: ${tagged(name)}`, 404)
    throw new Refusal(
      'image operating system "linux" cannot be used on this platform: this machine runs Windows containers'
    )
  }
  const { inspect, windows } = found
  const labels = stringsOf(objectOf(inspect.Config).Labels)
  return { engineId: stringOf(inspect.Id), id: shownId(inspect, windows), windows, labels }
}

/** Docker's message names the tag, and its client looks for that. */
function tagged(name: string): string {
  return /[:@][^/]*$/.test(name) ? name : `${name}:latest`
}

async function processorsOf(context: WineContext): Promise<number> {
  return Math.max(1, numberOf(objectOf(await context.engine.json('GET', '/info')).NCPU))
}

/** A volume of the engine that this machine does not own is not to be had by naming it. */
async function refuseForeignVolumes(context: WineContext, names: readonly string[]): Promise<void> {
  for (const name of names) {
    if (name === '') continue
    try {
      const volume = objectOf(await context.engine.json('GET', `/volumes/${encodeURIComponent(name)}`))
      if (stringsOf(volume.Labels)[MACHINE_LABEL] === context.machine) continue
      throw new Refusal(
        `the volume name "${name}" is taken on this engine by something that is not of this machine`,
        409
      )
    } catch (error) {
      if (!(error instanceof EngineError && error.status === 404)) throw error
    }
  }
}
