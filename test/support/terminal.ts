import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process'
import xterm from '@xterm/headless'
import { cleanEnv, PROJECT, type RunOptions } from './command.ts'
import { waitFor } from './wait.ts'

const ROWS = 40
const COLUMNS = 120

/**
 * A program under a pseudo-terminal, with the screen that a person would see. The pseudo-terminal is made by script(1),
 * which every Debian and every Mac has.
 */
export class TerminalSession {
  readonly #screen = new xterm.Terminal({ rows: ROWS, cols: COLUMNS, scrollback: 5000, allowProposedApi: true })
  readonly #child: ChildProcessWithoutNullStreams
  readonly #ended: Promise<number>
  #code: number | undefined

  constructor(command: readonly string[], env: RunOptions['env'] = {}) {
    // script(1) gives a terminal without a size when it has none itself, and programs then draw nothing sensible.
    const line = `stty rows ${ROWS} cols ${COLUMNS}; exec ${command.map(quote).join(' ')}`
    const args = process.platform === 'linux' ? ['-qefc', line, '/dev/null'] : ['-q', '/dev/null', 'sh', '-c', line]
    this.#child = spawn('script', args, { env: cleanEnv({ TERM: 'xterm', SHELL: '/bin/sh', ...env }), cwd: PROJECT })
    this.#child.stdout.on('data', chunk => this.#screen.write(chunk))
    this.#child.stderr.on('data', chunk => this.#screen.write(chunk))
    this.#child.stdin.on('error', () => {})
    // A program may ask the terminal where its cursor is.
    this.#screen.onData(answer => this.#child.stdin.write(answer))
    this.#ended = new Promise((resolve, reject) => {
      this.#child.on('error', reject)
      this.#child.on('close', code => {
        this.#code = code ?? 137
        resolve(this.#code)
      })
    })
  }

  /** Types text; a person's Enter is `\r`. */
  type(text: string): void {
    this.#child.stdin.write(text)
  }

  /** Every line so far, those scrolled away too, without blanks at the ends. */
  lines(): string[] {
    const buffer = this.#screen.buffer.active
    return Array.from({ length: buffer.length }, (_, row) => buffer.getLine(row)?.translateToString(true) ?? '')
  }

  text(): string {
    return this.lines().join('\n').trimEnd()
  }

  /** Waits until a line of the screen matches. */
  async see(pattern: RegExp, timeoutMs = 60_000): Promise<string> {
    try {
      return await waitFor(() => this.lines().find(line => pattern.test(line)), timeoutMs, `${pattern} on the screen`)
    } catch (error) {
      throw new Error(`${String(error)}. The screen:\n${this.text()}`)
    }
  }

  /** Waits until the last line that is not empty matches: a prompt, for one. */
  async seeLast(pattern: RegExp, timeoutMs = 60_000): Promise<string> {
    const last = () => this.text().split('\n').at(-1) ?? ''
    try {
      await waitFor(() => pattern.test(last()), timeoutMs, `${pattern} at the end of the screen`)
      return last()
    } catch (error) {
      throw new Error(`${String(error)}. The screen:\n${this.text()}`)
    }
  }

  /** Waits for the end and gives the exit code. */
  async exitCode(timeoutMs = 60_000): Promise<number> {
    await waitFor(() => this.#code !== undefined, timeoutMs, 'the program under the terminal ends').catch(error => {
      throw new Error(`${String(error)}. The screen:\n${this.text()}`)
    })
    return this.#ended
  }

  /** Ends the program if it still runs. */
  close(): void {
    if (this.#code === undefined) this.#child.kill('SIGKILL')
    this.#screen.dispose()
  }
}

function quote(word: string): string {
  return `'${word.replaceAll("'", "'\\''")}'`
}
