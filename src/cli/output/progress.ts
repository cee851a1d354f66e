import type { Io } from '#cli/io.ts'
import type { ProgressEvent, Report } from '#lib/progress.ts'
import { formatDuration } from '#lib/size.ts'

const CLEAR = '\r\u001b[K'
/** Shorter stages need no time. */
const TELL_MS = 3000

/**
 * Turns progress into text on stderr: on a terminal one line that changes until its stage is done, elsewhere plain lines,
 * with `quiet` nothing.
 */
export function progress(io: Pick<Io, 'err' | 'terminal'>, quiet = false, now: () => number = Date.now): Report {
  if (quiet) return () => undefined
  return io.terminal.err ? lively(io, now) : plain(io, now)
}

function lively(io: Pick<Io, 'err' | 'terminal'>, now: () => number): Report {
  let since = 0
  const show = (text: string) => io.err(`${CLEAR}${text.slice(0, io.terminal.columns - 1)}`)
  return event => {
    if (event.type === 'notice') io.err(`${CLEAR}${event.text}\n`)
    else if (event.type === 'step') show(`… ${event.stage}: ${stepText(event)}`)
    else if (event.state === 'started') {
      since = now()
      show(`… ${event.stage}`)
    } else io.err(`${CLEAR}${event.state === 'done' ? '✓' : '✗'} ${event.stage}${detailText(event, now() - since)}\n`)
  }
}

function plain(io: Pick<Io, 'err'>, now: () => number): Report {
  let since = 0
  let last = ''
  let lastTenth: number | undefined
  return event => {
    if (event.type === 'notice') io.err(`${event.text}\n`)
    else if (event.type === 'step') {
      const line = `${event.stage}: ${stepText(event)}\n`
      // Of a transfer that tells how far it is, a log wants every tenth and not every second.
      const tenth = event.fraction === undefined ? undefined : Math.floor(event.fraction * 10)
      if (line !== last && (tenth === undefined || tenth !== lastTenth)) io.err(line)
      last = line
      lastTenth = tenth
    } else if (event.state === 'started') since = now()
    else io.err(`${event.stage}${event.state === 'done' ? '' : ': failed'}${detailText(event, now() - since)}\n`)
  }
}

function stepText(event: Extract<ProgressEvent, { type: 'step' }>): string {
  return event.fraction === undefined ? event.text : `${Math.floor(event.fraction * 100)} % ${event.text}`
}

function detailText(event: Extract<ProgressEvent, { type: 'stage' }>, ms: number): string {
  const took = ms < TELL_MS ? '' : ` (${formatDuration(ms)})`
  return `${event.detail === undefined ? '' : `: ${event.detail}`}${took}`
}
