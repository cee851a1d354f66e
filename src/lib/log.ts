import { closeSync, copyFileSync, fstatSync, ftruncateSync, openSync, writeSync } from 'node:fs'

export type LogLevel = 'debug' | 'info' | 'warn' | 'error'
export type LogFields = object

/** Where a background process says what it does: JSON lines `{time, level, message, …fields}`. */
export interface Log {
  debug(message: string, fields?: LogFields): void
  info(message: string, fields?: LogFields): void
  warn(message: string, fields?: LogFields): void
  error(message: string, fields?: LogFields): void
}

const ORDER: readonly LogLevel[] = ['debug', 'info', 'warn', 'error']
const SECRET = /auth|password|passwd|secret|token|credential|private|^key$|pem$/i

/** One log line. Values under names that speak of secrets are left out, at any depth. */
export function logLine(level: LogLevel, message: string, fields: LogFields = {}, now = new Date()): string {
  const entry = { time: now.toISOString(), level, message, ...fields }
  return `${JSON.stringify(entry, (name, value: unknown) => {
    if (name !== '' && SECRET.test(name)) return '[hidden]'
    return value instanceof Error ? value.message : value
  })}\n`
}

export interface LogFileOptions {
  /** Lines below this level are not written. */
  level?: LogLevel
  /** The file is moved to `PATH.1` when it grows over this. */
  maxBytes?: number
}

/** A Log that appends to a file (0600), keeping one older file beside it. A full disk never fails the caller. */
export function openLog(path: string, options: LogFileOptions = {}): Log & { close(): void } {
  const least = ORDER.indexOf(options.level ?? 'info')
  const maxBytes = options.maxBytes ?? 4 * 1024 * 1024
  const file = openSync(path, 'a+', 0o600)
  let bytes = fstatSync(file).size
  let open = true
  const write = (level: LogLevel) => (message: string, fields?: LogFields) => {
    if (!open || ORDER.indexOf(level) < least) return
    try {
      if (bytes > maxBytes) {
        rotate(path, file)
        bytes = 0
      }
      bytes += writeSync(file, logLine(level, message, fields))
    } catch {
      // A log that cannot be written must not stop the work it tells of.
    }
  }
  return {
    debug: write('debug'),
    info: write('info'),
    warn: write('warn'),
    error: write('error'),
    close() {
      if (open) closeSync(file)
      open = false
    }
  }
}

/** Starts the log at `path` afresh, as a new process does; the former one stays as `PATH.1`. */
export function rotateLog(path: string): void {
  const file = openSync(path, 'a+', 0o600)
  try {
    if (fstatSync(file).size > 0) rotate(path, file)
  } finally {
    closeSync(file)
  }
}

// Copied and cut rather than renamed: the process's own stdout and stderr append to the same open file.
function rotate(path: string, file: number): void {
  copyFileSync(path, `${path}.1`)
  ftruncateSync(file, 0)
}
