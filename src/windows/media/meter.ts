import type { Report } from '#lib/progress.ts'
import { formatBytes } from '#lib/size.ts'

/** The rate is that of the last while, so that it follows the line and not the average of an hour. */
const WINDOW_MS = 5000
const TELL_MS = 500

/** Tells of bytes that come: how many of how many, how fast, and how long it will take. */
export interface Meter {
  /** Bytes that are there now. */
  at(bytes: number): void
}

/**
 * A meter whose `step` events come at most twice a second. `verb` begins the text where it is given; `now` is in
 * milliseconds.
 */
export function makeMeter(
  report: Report,
  stage: string,
  total: number | undefined,
  verb = '',
  now: () => number = Date.now
): Meter {
  const samples: { time: number; bytes: number }[] = []
  let told = Number.NEGATIVE_INFINITY
  let last = ''
  return {
    at(bytes) {
      const time = now()
      const end = bytes === total
      if (time - told < TELL_MS && !(end && samples.length > 0)) return
      told = time
      samples.push({ time, bytes })
      while (samples.length > 2 && (samples[0]?.time ?? time) < time - WINDOW_MS) samples.shift()
      const first = samples[0] ?? { time, bytes }
      const rate = time > first.time ? ((bytes - first.bytes) * 1000) / (time - first.time) : undefined
      const text = `${verb === '' ? '' : `${verb} `}${transferText(bytes, total, rate)}`
      if (text === last) return
      last = text
      const fraction = total === undefined || total === 0 ? {} : { fraction: Math.min(bytes / total, 1) }
      report({ type: 'step', stage, text, ...fraction })
    }
  }
}

/** `3.1 of 8.2 GB, 54 MB/s, 1 min 34 s left`. Rate in bytes a second. */
export function transferText(bytes: number, total: number | undefined, rate: number | undefined): string {
  const parts = [total === undefined ? formatBytes(bytes) : amountOf(bytes, total)]
  if (rate !== undefined && rate > 0 && bytes !== total) {
    parts.push(`${formatBytes(rate)}/s`)
    if (total !== undefined) parts.push(`${timeLeft(Math.ceil((total - bytes) / rate))} left`)
  }
  return parts.join(', ')
}

/** Both in the unit of the whole. */
function amountOf(bytes: number, total: number): string {
  const whole = formatBytes(total)
  const unit = whole.split(' ')[1] ?? 'B'
  const value = bytes / 1000 ** ['B', 'kB', 'MB', 'GB', 'TB'].indexOf(unit)
  return `${unit === 'B' || value >= 10 ? Math.floor(value) : value.toFixed(1)} of ${whole}`
}

function timeLeft(seconds: number): string {
  if (seconds < 60) return `${seconds} s`
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${seconds % 60} s`
  return `${Math.floor(seconds / 3600)} h ${Math.floor((seconds % 3600) / 60)} min`
}
