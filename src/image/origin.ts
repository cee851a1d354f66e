import { RELEASES, releaseOfTag, type WindowsRelease } from '#windows/releases.ts'
import type { ImageConfig } from './registry/manifest.ts'
import { type ImageOrigin, LABEL_PREFIX, type WindowsConfig, type WindowsImage } from './windows-config.ts'

/** The release of the Wine base that stands in for a version of Windows: its own, else the next one that runs its programs. */
export function releaseFor(osVersion: string): WindowsRelease {
  const build = Number(osVersion.split('.')[2] ?? Number.NaN)
  const release = Number.isNaN(build) ? releaseOfTag(undefined) : RELEASES.find(each => each.build >= build)
  const fallback = release ?? RELEASES.at(-1)
  if (fallback === undefined) throw new Error('there is no Windows release')
  return fallback
}

/** The build of a release: 20348 for `ltsc2022`. */
export function releaseBuild(release: string): number | undefined {
  return releaseOfTag(release)?.build
}

/** Which images of an index there is a Wine base for: none that is newer than all, and those of the default before others. */
export function playableBuilds(): { maxBuild: number; preferBuild: number } {
  const maxBuild = Math.max(...RELEASES.map(({ build }) => build))
  return { maxBuild, preferBuild: releaseOfTag(undefined)?.build ?? maxBuild }
}

/** The Windows side of an image of a registry. `folders` is what its layers have made. */
export function originalImage(config: ImageConfig, origin: ImageOrigin, folders: readonly string[]): WindowsImage {
  const inner = windowsConfigOf(config.json.config)
  const release = releaseFor(config.osVersion)
  return {
    config: inner,
    osVersion: config.osVersion === '' ? release.osVersion : config.osVersion,
    family: inner.User?.toLowerCase() === 'containeruser' ? 'nanoserver' : 'servercore',
    release: release.tag,
    folders: [...folders],
    history: [],
    origin
  }
}

/** The configuration of an original; an empty object where the label is not what it should be. */
export function originConfig({ config }: ImageOrigin): Record<string, unknown> {
  try {
    return objectOf(JSON.parse(config))
  } catch {
    return {}
  }
}

/** The `config` of an image's configuration (OCI image-spec, config.md, and docker's fields), without what is of a wrong type. */
export function windowsConfigOf(value: unknown): WindowsConfig {
  const json = objectOf(value)
  const config: WindowsConfig = {
    Cmd: wordsOf(json.Cmd) ?? null,
    Entrypoint: wordsOf(json.Entrypoint) ?? null,
    Env: wordsOf(json.Env) ?? [],
    User: textOf(json.User) ?? '',
    WorkingDir: textOf(json.WorkingDir) ?? '',
    Volumes: setOf(json.Volumes) ?? null,
    Labels: labelsOf(json.Labels),
    OnBuild: wordsOf(json.OnBuild) ?? null
  }
  const shell = wordsOf(json.Shell)
  if (shell !== undefined) config.Shell = shell
  const ports = setOf(json.ExposedPorts)
  if (ports !== undefined) config.ExposedPorts = ports
  const signal = textOf(json.StopSignal)
  if (signal !== undefined) config.StopSignal = signal
  if (json.ArgsEscaped === true) config.ArgsEscaped = true
  const check = healthOf(json.Healthcheck)
  if (check !== undefined) config.Healthcheck = check
  return config
}

function objectOf(value: unknown): Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Record<string, unknown>) : {}
}

function wordsOf(value: unknown): string[] | undefined {
  return Array.isArray(value) && value.every(word => typeof word === 'string') ? value : undefined
}

function textOf(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' ? value : undefined
}

/** A set as Go writes it: `{"80/tcp":{}}`. */
function setOf(value: unknown): Record<string, object> | undefined {
  const names = Object.keys(objectOf(value))
  return names.length === 0 ? undefined : Object.fromEntries(names.map(name => [name, {}]))
}

/** Nobody else's image may say what is Oriel's to say. */
function labelsOf(value: unknown): Record<string, string> | null {
  const labels = Object.entries(objectOf(value)).filter(
    (entry): entry is [string, string] => typeof entry[1] === 'string' && !entry[0].startsWith(LABEL_PREFIX)
  )
  return labels.length === 0 ? null : Object.fromEntries(labels)
}

function healthOf(value: unknown): object | undefined {
  const { Test, ...rest } = objectOf(value)
  const test = wordsOf(Test)
  if (test === undefined || test.length === 0) return undefined
  const numbers = Object.entries(rest).filter(([, number]) => typeof number === 'number')
  return { Test: test, ...Object.fromEntries(numbers) }
}
