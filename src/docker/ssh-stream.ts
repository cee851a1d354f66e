import { type ChildProcessByStdio, spawn } from 'node:child_process'
import { Duplex, type Readable, type Writable } from 'node:stream'
import { Fault, messageOf } from '#lib/fault.ts'

type SshProcess = ChildProcessByStdio<Writable, Readable, Readable>

/**
 * The engine of another host over `ssh … docker system dial-stdio`. Has the few methods of a socket that Node's HTTP
 * client calls on a connection, so that it can stand in for one.
 */
class SshStream extends Duplex {
  readonly #process: SshProcess
  #complaints = ''
  #answered = false

  constructor(process: SshProcess, name: string) {
    super({ allowHalfOpen: true })
    this.#process = process
    process.stderr.setEncoding('utf8').on('data', (text: string) => {
      // Enough for the last words of ssh; a chatty far side must not fill the memory.
      this.#complaints = (this.#complaints + text).slice(-4096)
    })
    process.stdout.on('data', (chunk: Buffer) => {
      this.#answered = true
      if (!this.push(chunk)) process.stdout.pause()
    })
    // A far side that closed its input is told by the end of its output, and by ssh's exit status.
    process.stdin.on('error', () => {})
    process.on('error', error => this.destroy(error))
    process.on('close', code => {
      if (code !== 0 && !this.#answered) {
        const words = this.#complaints.trim().split('\n').at(-1) ?? ''
        this.destroy(
          new Fault(`Cannot reach the Docker engine at ${name}: ${words === '' ? `ssh ended with ${code}` : words}`, {
            hint: 'Try the same host with ssh first; it must need no password, and have docker installed.'
          })
        )
        return
      }
      this.push(null)
    })
  }

  override _read(): void {
    this.#process.stdout.resume()
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    this.#process.stdin.write(chunk, error => done(error))
  }

  override _final(done: (error?: Error | null) => void): void {
    this.#process.stdin.end(() => done())
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    this.#process.stdin.destroy()
    this.#process.stdout.destroy()
    this.#process.stderr.destroy()
    this.#process.kill()
    done(error)
  }

  setKeepAlive(): this {
    return this
  }

  setNoDelay(): this {
    return this
  }

  setTimeout(): this {
    return this
  }

  ref(): this {
    this.#process.ref()
    for (const stream of this.#pipes()) stream.ref?.()
    return this
  }

  unref(): this {
    this.#process.unref()
    for (const stream of this.#pipes()) stream.unref?.()
    return this
  }

  /** The pipes of a child are sockets, which its type does not tell. */
  #pipes(): { ref?(): void; unref?(): void }[] {
    return [this.#process.stdin, this.#process.stdout, this.#process.stderr] as { ref?(): void; unref?(): void }[]
  }
}

/** Starts ssh and gives the stream as soon as it runs. `name` is for messages; `timeoutMs` goes to ssh's own wait. */
export function dialSsh(destination: readonly string[], name: string, timeoutMs: number): Promise<Duplex> {
  return new Promise((resolve, reject) => {
    const seconds = Math.max(1, Math.ceil(timeoutMs / 1000))
    // A background process has no terminal for a password: better a plain refusal than a question nobody sees.
    const options = ['-T', '-o', 'BatchMode=yes', '-o', `ConnectTimeout=${seconds}`]
    const process = spawn('ssh', [...options, ...destination, 'docker', 'system', 'dial-stdio'], {
      stdio: ['pipe', 'pipe', 'pipe']
    })
    const fail = (error: Error): void => {
      reject(new Fault(`Cannot run ssh for ${name}: ${messageOf(error)}`, { exitCode: 4, cause: error }))
    }
    process.once('error', fail)
    process.once('spawn', () => {
      process.off('error', fail)
      resolve(new SshStream(process, name))
    })
  })
}
