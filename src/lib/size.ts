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
