import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'

/**
 * The base address of the Debian mirror that this host installs from, read from its apt sources (one-line and deb822 form);
 * undefined when there is none. An address may hold a password: it does not go into logs.
 */
export async function debianMirror(folder = '/etc/apt'): Promise<string | undefined> {
  const parts = join(folder, 'sources.list.d')
  const names = (await readdir(parts).catch(() => [])).sort()
  const texts = await Promise.all([
    readText(join(folder, 'sources.list')).then(oneLineUris),
    ...names.map(name => {
      if (name.endsWith('.list')) return readText(join(parts, name)).then(oneLineUris)
      if (name.endsWith('.sources')) return readText(join(parts, name)).then(deb822Uris)
      return []
    })
  ])
  // The main archive ends in /debian by Debian's own convention; its security archive and those of others do not.
  return texts.flat().find(uri => /\/debian\/?$/.test(uri))
}

/** Addresses of `deb [options] URI suite component…` lines. */
export function oneLineUris(text: string): string[] {
  return text
    .split('\n')
    .map(line => /^\s*deb\s+(?:\[[^\]]*\]\s+)?(\S+)\s+\S+/.exec(line)?.[1])
    .filter(uri => uri !== undefined)
}

/** Addresses of the enabled stanzas of type deb in a deb822 file. */
export function deb822Uris(text: string): string[] {
  const uncommented = text.replace(/^#.*\n?/gm, '')
  return uncommented.split(/\n\s*\n/).flatMap(stanza => {
    const field = (name: string) =>
      new RegExp(`^${name}:((?:.*)(?:\\n[ \\t].*)*)`, 'im').exec(stanza)?.[1]?.trim() ?? ''
    if (/^no$/i.test(field('Enabled')) || !/\bdeb\b(?!-)/.test(field('Types'))) return []
    return field('URIs').split(/\s+/).filter(Boolean)
  })
}

function readText(path: string): Promise<string> {
  return readFile(path, 'utf8').catch(() => '')
}
