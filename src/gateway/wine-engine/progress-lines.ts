import type { ServerResponse } from 'node:http'
import type { TransferEvent } from '#image/registry/pull.ts'
import { Fault, messageOf } from '#lib/fault.ts'

/** An answer in docker's progress lines. Its head goes out with the first of them, so that an early error has its own status. */
export class ProgressLines {
  readonly #response: ServerResponse
  /** Fires when the client has gone. */
  readonly signal: AbortSignal

  constructor(response: ServerResponse) {
    this.#response = response
    const gone = new AbortController()
    this.signal = gone.signal
    response.once('close', () => {
      if (!response.writableFinished) gone.abort()
    })
  }

  send(line: object): void {
    if (this.#response.destroyed) return
    if (!this.#response.headersSent) {
      this.#response.writeHead(200, { 'Content-Type': 'application/json' })
      this.#response.flushHeaders()
    }
    this.#response.write(`${JSON.stringify(line)}\r\n`)
  }

  readonly event = ({ id, status, current, total }: TransferEvent): void => {
    const detail = current === undefined ? {} : { current, total }
    this.send({ status, ...(id === '' ? {} : { progressDetail: detail, id }) })
  }

  end(): void {
    if (!this.#response.headersSent) this.#response.writeHead(200, { 'Content-Type': 'application/json' })
    this.#response.end()
  }

  /** Tells of an error: as a line when there have been some, else it is thrown for the proxy to answer. */
  fail(error: unknown): void {
    if (this.signal.aborted) return
    const message = withHint(error)
    if (!this.#response.headersSent)
      throw Object.assign(new Error(message, { cause: error }), { status: statusOf(error) })
    this.send({ errorDetail: { message }, error: message })
    this.#response.end()
  }
}

function withHint(error: unknown): string {
  const hint = error instanceof Fault ? error.hint : undefined
  return hint === undefined ? messageOf(error) : `${messageOf(error).replace(/\.$/, '')}. ${hint}`
}

function statusOf(error: unknown): number {
  if (error instanceof Error && 'status' in error && typeof error.status === 'number') return error.status
  return error instanceof Fault && error.exitCode === 2 ? 400 : 500
}
