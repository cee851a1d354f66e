/** What a command has of the world: the edge where text is printed. Tests give their own. */
export interface Io {
  /** Results. */
  out(text: string): void
  /** Progress, errors, and everything else that is not the result. */
  err(text: string): void
  env: NodeJS.ProcessEnv
  /** Fires at Ctrl-C and SIGTERM. */
  signal: AbortSignal
  /** What is a terminal, and how wide that of stderr is. */
  terminal: { readonly in: boolean; readonly out: boolean; readonly err: boolean; readonly columns: number }
  /** Asks a question on the terminal; the answer without its line end. */
  ask(question: string): Promise<string>
  /** What the process will end with. */
  exitCode: number
}

/** The real world. A second Ctrl-C ends the process at once. */
export function processIo(): Io {
  const controller = new AbortController()
  const interrupt = () => {
    if (controller.signal.aborted) process.exit(130)
    controller.abort()
  }
  process.on('SIGINT', interrupt)
  process.on('SIGTERM', interrupt)
  // `oriel logs | head` is in order.
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE') process.exit(0)
    throw error
  })
  return {
    out: text => void process.stdout.write(text),
    err: text => void process.stderr.write(text),
    env: process.env,
    signal: controller.signal,
    // Each stream is made when it is first touched, which takes Node a while.
    terminal: {
      get in() {
        return process.stdin.isTTY === true
      },
      get out() {
        return process.stdout.isTTY === true
      },
      get err() {
        return process.stderr.isTTY === true
      },
      get columns() {
        return process.stderr.columns ?? 80
      }
    },
    ask: async question => {
      const { createInterface } = await import('node:readline/promises')
      const lines = createInterface({ input: process.stdin, output: process.stderr })
      try {
        return await lines.question(question, { signal: controller.signal })
      } finally {
        lines.close()
      }
    },
    exitCode: 0
  }
}
