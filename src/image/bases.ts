import { releaseOfTag, type WindowsRelease } from '#windows/releases.ts'
import type { WindowsConfig, WindowsImage } from './windows-config.ts'

/** One of Microsoft's base images, which the Wine base stands for. */
export interface KnownBase {
  family: WindowsImage['family']
  release: WindowsRelease
}

const NAMES: Record<string, WindowsImage['family']> = {
  windowsservercore: 'servercore',
  nanoserver: 'nanoserver',
  'microsoft/windowsservercore': 'servercore',
  'microsoft/nanoserver': 'nanoserver',
  'mcr.microsoft.com/windows/servercore': 'servercore',
  'mcr.microsoft.com/windows/nanoserver': 'nanoserver',
  'mcr.microsoft.com/windows/server': 'server',
  'mcr.microsoft.com/windowsservercore': 'servercore',
  'mcr.microsoft.com/nanoserver': 'nanoserver'
}

/** Splits `repo[:tag][@digest]`. A colon before the last slash belongs to a registry's port. */
export function splitReference(reference: string): { repository: string; tag?: string; digest?: string } {
  const [named = '', digest] = reference.split('@')
  const colon = named.lastIndexOf(':')
  const tagged = colon > named.lastIndexOf('/')
  return {
    repository: (tagged ? named.slice(0, colon) : named).replace(/^(docker\.io\/)(library\/)?/, ''),
    ...(tagged ? { tag: named.slice(colon + 1) } : {}),
    ...(digest === undefined ? {} : { digest })
  }
}

/** The base that a reference names, or undefined when it is another image. `unknownTag` when only the tag is strange. */
export function knownBase(reference: string): KnownBase | 'unknownTag' | undefined {
  const { repository, tag } = splitReference(reference)
  const family = NAMES[repository.toLowerCase()]
  if (family === undefined) return undefined
  const release = releaseOfTag(tag)
  return release === undefined ? 'unknownTag' : { family, release }
}

/**
 * What Microsoft's own image of this base says in its config. No PATH: that is in the registry, and a variable of the config
 * would hide what `RUN setx /M PATH …` writes there (moby/buildkit#5446).
 */
export function baseConfig(family: WindowsImage['family']): WindowsConfig {
  return {
    Cmd: ['c:\\windows\\system32\\cmd.exe'],
    Entrypoint: null,
    Env: [],
    User: family === 'nanoserver' ? 'ContainerUser' : '',
    WorkingDir: '',
    Volumes: null,
    Labels: null,
    OnBuild: null
  }
}

/** The whole Windows side of a base image. */
export function baseImage(base: KnownBase): WindowsImage {
  return {
    config: baseConfig(base.family),
    osVersion: base.release.osVersion,
    family: base.family,
    release: base.release.tag,
    folders: [],
    history: []
  }
}

/** The image on the engine that `up` builds for a release: the parent of every Windows image there. */
export function wineBaseTag(release: string): string {
  return `oriel/wine:${release}`
}
