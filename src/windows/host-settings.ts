import { Fault } from '#lib/fault.ts'
import { nearest } from '#lib/nearest.ts'
import { findLocale, LOCALES } from './locales.ts'

/** How a guest writes dates and numbers, reads the keyboard of its console, and tells the time. */
export interface HostSettings {
  /** A Windows locale: `de-DE`. */
  locale: string
  /** A Windows input locale: `0407:00000407`. */
  keyboard: string
  /** A Windows time zone: `W. Europe Standard Time`. */
  timeZone: string
}

/** What this host says of itself apart from its environment. */
interface HostFacts {
  platform: NodeJS.Platform
  /** BCP 47. */
  locale: string
  /** IANA. */
  timeZone: string
}

const DEFAULT_LOCALE = 'en-US'

/** What a guest should have when nobody says otherwise: what the host has, or the nearest that Windows knows. Never fails. */
export async function hostSettings(env: NodeJS.ProcessEnv, host: HostFacts = thisHost()): Promise<HostSettings> {
  const locale = findLocale(hostLocale(env, host))?.locale ?? DEFAULT_LOCALE
  // TZ may be a path to a copy of a zone, or a rule without a name.
  const timeZone = (await windowsZone(env.TZ ?? '')) ?? (await windowsZone(host.timeZone)) ?? 'UTC'
  return { locale, keyboard: keyboardOf(locale), timeZone }
}

/** Reads a locale as a person writes it: `de-DE`, `de_DE.UTF-8`, `de`. Usage Fault for one that Windows does not have. */
export function parseLocale(text: string): string {
  const found = findLocale(text)
  if (found?.exact === true) return found.locale
  throw unknown('locale', text, found?.locale ?? nearest(text, LOCALES.keys()), 'Use a name such as en-US or de-DE.')
}

/** Reads a keyboard: the input locale `0407:00000407`, or the locale in which it is usual. Usage Fault for others. */
export function parseKeyboard(text: string): string {
  const plain = text.trim().toLowerCase()
  if (/^[0-9a-f]{4}:[0-9a-f]{8}$/.test(plain)) return plain
  const found = findLocale(text)
  if (found?.exact === true) return keyboardOf(found.locale)
  const hint = 'Use a locale such as de-DE, or language and layout such as 0407:00000407.'
  throw unknown('keyboard', text, found?.locale ?? nearest(text, LOCALES.keys()), hint)
}

/** Reads a time zone by its IANA or Windows name, in any case, and gives the Windows name. Usage Fault for others. */
export async function parseTimeZone(text: string): Promise<string> {
  const wanted = text.trim().toLowerCase()
  const names = await windowsZoneNames()
  const found = names.find(name => name.toLowerCase() === wanted) ?? (await windowsZone(text.trim()))
  if (found !== undefined) return found
  const zones = Intl.supportedValuesOf('timeZone')
  // "Berlin", "new york".
  const city = zones.find(zone => zone.toLowerCase().endsWith(`/${wanted.replaceAll(' ', '_')}`))
  const hint = 'Use a name such as Europe/Berlin or W. Europe Standard Time.'
  throw unknown('time zone', text, city ?? nearest(text, [...names, ...zones]), hint)
}

function unknown(what: string, text: string, suggestion: string | undefined, hint: string): Fault {
  return new Fault(`"${text}" is not a ${what} that Windows has.`, {
    exitCode: 2,
    hint: suggestion === undefined ? hint : `Did you mean ${suggestion}?`
  })
}

function thisHost(): HostFacts {
  const { locale, timeZone } = Intl.DateTimeFormat().resolvedOptions()
  return { platform: process.platform, locale, timeZone }
}

/** The first variable that is set counts, even for the C locale: https://pubs.opengroup.org/onlinepubs/9699919799 (8.2). */
function hostLocale(env: NodeJS.ProcessEnv, host: HostFacts): string {
  const set = [env.LC_ALL, env.LC_MESSAGES, env.LANG].find(value => value !== undefined && value !== '')
  // A program that the Finder started has none of them.
  if (set === undefined) return host.platform === 'darwin' ? host.locale : DEFAULT_LOCALE
  return set
}

function keyboardOf(locale: string): string {
  return LOCALES.get(locale) ?? '0409:00000409'
}

// Zones that are younger than the library's table.
const YOUNG_ZONES: Readonly<Record<string, string>> = {
  'Europe/Kyiv': 'FLE Standard Time',
  'America/Ciudad_Juarez': 'Mountain Standard Time',
  'America/Coyhaique': 'Magallanes Standard Time'
}

/** The Windows name of a zone, given as TZ may have it: `Europe/Berlin`, `:Europe/Berlin` or a path below zoneinfo. */
async function windowsZone(zone: string): Promise<string | undefined> {
  const name = zone.replace(/^:/, '').replace(/^.*\/zoneinfo\//, '')
  if (name === '') return undefined
  let canonical: string
  try {
    canonical = Intl.DateTimeFormat('en', { timeZone: name }).resolvedOptions().timeZone
  } catch {
    // POSIX rules such as CET-1CEST have no name.
    return undefined
  }
  const { findWindows } = await loadZones()
  return findWindows(canonical)[0] ?? findWindows(name)[0] ?? YOUNG_ZONES[canonical] ?? YOUNG_ZONES[name]
}

async function windowsZoneNames(): Promise<string[]> {
  const { WINDOWS_TO_IANA_MAP } = await loadZones()
  return [...new Set<string>(WINDOWS_TO_IANA_MAP.map(({ windowsName }) => windowsName))]
}

/** Ninety kilobytes of names, which most commands do not need. In a bundle the library is there as `default` only. */
async function loadZones(): Promise<Pick<typeof import('windows-iana'), 'findWindows' | 'WINDOWS_TO_IANA_MAP'>> {
  const library: typeof import('windows-iana') & { default?: typeof import('windows-iana') } = await import(
    'windows-iana'
  )
  return library.default ?? library
}
