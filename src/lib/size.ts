/** A number of bytes for people: `450 MB`, `1.4 GB` (powers of ten, as docker prints them). */
export function formatBytes(bytes: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB']
  let value = bytes
  let unit = 0
  while (value >= 1000 && unit < units.length - 1) {
    value /= 1000
    unit += 1
  }
  return `${value >= 10 || unit === 0 ? Math.round(value) : value.toFixed(1)} ${units[unit]}`
}

/** A time span for people: `45 seconds`, `3 minutes`, `5 hours`, `2 days`. */
export function formatDuration(ms: number): string {
  const seconds = Math.round(ms / 1000)
  const [value, unit] =
    seconds < 120
      ? [seconds, 'second']
      : seconds < 7200
        ? [Math.round(seconds / 60), 'minute']
        : seconds < 172_800
          ? [Math.round(seconds / 3600), 'hour']
          : [Math.round(seconds / 86_400), 'day']
  return `${value} ${unit}${value === 1 ? '' : 's'}`
}

const UNITS = ['', 'k', 'm', 'g', 't', 'p']

/**
 * Bytes of a size as docker writes it for memory: `4GiB`, `4g`, `4096m`, `1.5GB`, or a plain number of bytes. Every unit is a
 * power of 1024, as in docker. Undefined for what is no size.
 */
export function parseSize(text: string): number | undefined {
  const [, number, unit = ''] = /^(\d{1,15}(?:\.\d{1,6})?) ?(?:([kmgtp])i?)?b?$/i.exec(text.trim()) ?? []
  if (number === undefined) return undefined
  const bytes = Math.round(Number(number) * 1024 ** UNITS.indexOf(unit.toLowerCase()))
  return Number.isSafeInteger(bytes) ? bytes : undefined
}
