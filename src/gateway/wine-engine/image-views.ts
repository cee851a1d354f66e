import { originConfig } from '#image/origin.ts'
import {
  type ImageOrigin,
  userLabels,
  type WindowsConfig,
  type WindowsImage,
  windowsImageOf
} from '#image/windows-config.ts'
import { digestOfTag } from './digest-tag.ts'
import { DOCKER_ROOT } from './identity.ts'
import { type Json, objectOf, objectsOf, stringOf, stringsOf, without } from './json.ts'
import { compareVersions } from './version.ts'
import { type FoundImage, isHidden, shownId } from './windows-images.ts'

/** A row of the image list without what is Oriel's own. */
export function windowsSummary(row: Json): Json {
  const windows = windowsImageOf(stringsOf(row.Labels))
  return {
    ...row,
    ...(row.Id === undefined ? {} : { Id: shownId(row, windows) }),
    ...(row.ParentId === undefined || windows?.history.length !== 0 ? {} : { ParentId: '' }),
    ...shownNames(row, windows),
    ...(windows?.origin === undefined ? {} : { Created: createdAt(windows.origin) ?? row.Created }),
    Labels: labelsOrNull(stringsOf(row.Labels)),
    ...(row.Descriptor === undefined ? {} : { Descriptor: windowsDescriptor(objectOf(row.Descriptor)) }),
    ...(row.Manifests === undefined ? {} : { Manifests: objectsOf(row.Manifests).map(windowsManifest) })
  }
}

/** Names and digests. Null stays null, which is how some engines write that there are none. */
function shownNames({ RepoTags: tags, RepoDigests: digests }: Json, windows: WindowsImage | undefined): Json {
  if (!Array.isArray(tags)) return digests === undefined ? { RepoTags: tags } : { RepoTags: tags, RepoDigests: digests }
  const names = tags.map(stringOf)
  const own = names.flatMap(name => digestOfTag(name) ?? [])
  const known = Array.isArray(digests) ? digests.filter(digest => digest !== '<none>@<none>') : []
  const RepoTags = names.filter(name => !isHidden(name))
  // Those of an engine with containerd's image store are of what it has made of the original.
  if (windows?.origin !== undefined) return { RepoTags, RepoDigests: own }
  return {
    RepoTags,
    ...(own.length > 0 ? { RepoDigests: [...own, ...known] } : digests === undefined ? {} : { RepoDigests: digests })
  }
}

/** Seconds since 1970. */
function createdAt(origin: ImageOrigin): number | undefined {
  const time = Date.parse(stringOf(originConfig(origin).created))
  return Number.isNaN(time) ? undefined : Math.floor(time / 1000)
}

function labelsOrNull(labels: Record<string, string>): Record<string, string> | null {
  const shown = userLabels(labels)
  return Object.keys(shown).length === 0 ? null : shown
}

// What a container's config adds to an image's; API 1.45 took it out of the answer, and docker-compose 1 still reads it.
const containerConfigUntil = '1.45'

/** `inspect` of an image as a Windows daemon would give it to a client of this API version. */
export function windowsInspect({ inspect, windows }: FoundImage, version: string): Json {
  const labels = stringsOf(objectOf(inspect.Config).Labels)
  const config = windowsConfig(objectOf(inspect.Config), windows.config, labels)
  const old = version !== '' && compareVersions(version, containerConfigUntil) < 0
  return {
    ...without(inspect, ['Variant']),
    Id: shownId(inspect, windows),
    ...shownNames(inspect, windows),
    // A base's parent is the Wine base, which clients cannot look up.
    ...(windows.history.length === 0 && inspect.Parent !== undefined ? { Parent: '' } : {}),
    Os: 'windows',
    OsVersion: windows.osVersion,
    Architecture: 'amd64',
    Config: config,
    ...(windows.origin === undefined ? {} : originalFacts(originConfig(windows.origin))),
    ...(inspect.ContainerConfig !== undefined || old ? { ContainerConfig: config } : {}),
    GraphDriver: {
      Name: 'windowsfilter',
      Data: { dir: `${DOCKER_ROOT}\\windowsfilter\\${stringOf(inspect.Id).replace('sha256:', '')}` }
    },
    ...(inspect.Descriptor === undefined ? {} : { Descriptor: windowsDescriptor(objectOf(inspect.Descriptor)) }),
    ...(inspect.Manifests === undefined ? {} : { Manifests: objectsOf(inspect.Manifests).map(windowsManifest) })
  }
}

/** What an original's config says of the image beside its `config`, as docker shows it. */
function originalFacts({ created, author, docker_version, comment, architecture, rootfs }: Json): Json {
  return {
    Created: stringOf(created),
    Author: stringOf(author),
    Comment: stringOf(comment),
    DockerVersion: stringOf(docker_version),
    Architecture: stringOf(architecture) || 'amd64',
    Container: '',
    RootFS: { Type: 'layers', Layers: objectOf(rootfs).diff_ids ?? [] }
  }
}

// All of them are in WindowsImage.config when the image has them; the engine's own values are for Linux.
const windowsFields: readonly (keyof WindowsConfig)[] = [
  'Cmd',
  'Entrypoint',
  'Env',
  'ExposedPorts',
  'Healthcheck',
  'Labels',
  'OnBuild',
  'Shell',
  'StopSignal',
  'User',
  'Volumes',
  'WorkingDir'
]

function windowsConfig(engine: Json, windows: WindowsConfig, labels: Record<string, string>): Json {
  return {
    ...without(engine, windowsFields),
    ...windows,
    // The parent's id, which for a base is the Wine base's.
    ...(engine.Image === undefined ? {} : { Image: '' }),
    Env: windows.Env ?? [],
    Labels: labelsOrNull({ ...windows.Labels, ...labels })
  }
}

function windowsDescriptor(descriptor: Json): Json {
  return descriptor.platform === undefined ? descriptor : { ...descriptor, platform: windowsPlatform }
}

const windowsPlatform = { architecture: 'amd64', os: 'windows' }

function windowsManifest(manifest: Json): Json {
  const data = objectOf(manifest.ImageData)
  return {
    ...manifest,
    Descriptor: windowsDescriptor(objectOf(manifest.Descriptor)),
    ...(data.Platform === undefined ? {} : { ImageData: { ...data, Platform: windowsPlatform } })
  }
}
