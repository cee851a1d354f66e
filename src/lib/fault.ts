/** Exit codes of the command line: 1 failed, 2 wrong usage, 3 wrong machine state, 4 something on this host is missing. */
export type ExitCode = 1 | 2 | 3 | 4 | 130

/**
 * An expected failure: the message says what happened and why, the hint what to type next.
 * Any other Error that reaches the edge is a bug in Oriel.
 */
export class Fault extends Error {
  override readonly name = 'Fault'
  readonly exitCode: ExitCode
  readonly hint: string | undefined

  constructor(message: string, options: { hint?: string; exitCode?: ExitCode; cause?: unknown } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    this.hint = options.hint
    this.exitCode = options.exitCode ?? 1
  }
}

/** The message of anything thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
