import { Readable } from 'node:stream'
import { Engine, type EngineAnswer, EngineError, type RequestOptions } from '#docker/engine.ts'
import type { WineContext } from '#gateway/wine-engine/context.ts'
import { ImageStore } from '#gateway/wine-engine/image-store.ts'
import type { ContainerRecord } from '#gateway/wine-engine/record.ts'
import { CONTAINER_LABEL, MACHINE_LABEL } from '#image/windows-config.ts'

export interface FakeAnswer {
  status?: number
  headers?: Record<string, string>
  json?: unknown
  body?: Buffer
}

export interface FakeCall {
  method: string
  path: string
  body?: unknown
}

/** An engine that answers from a function; what it was asked is kept. */
class FakeEngine extends Engine {
  readonly calls: FakeCall[] = []
  readonly #answer: (call: FakeCall) => FakeAnswer | undefined

  constructor(answer: (call: FakeCall) => FakeAnswer | undefined) {
    super({ kind: 'unix', path: '/nowhere' })
    this.#answer = answer
  }

  #ask(call: FakeCall): FakeAnswer {
    this.calls.push(call)
    return this.#answer(call) ?? { status: 404, json: { message: `nothing at ${call.path}` } }
  }

  override async request(method: string, path: string, options: RequestOptions = {}): Promise<EngineAnswer> {
    const answer = this.#ask({ method, path, body: options.body })
    const body = answer.body ?? (answer.json === undefined ? Buffer.alloc(0) : Buffer.from(JSON.stringify(answer.json)))
    return { status: answer.status ?? 200, headers: answer.headers ?? {}, body: Readable.from([body]) }
  }

  override async json<T>(method: string, path: string, body?: unknown): Promise<T> {
    const answer = this.#ask({ method, path, body })
    const status = answer.status ?? 200
    if (status >= 400) throw new EngineError(status, String((answer.json as { message?: string })?.message))
    return answer.json as T
  }
}

/** A context of the machine `test` whose engine answers so. */
export function fakeContext(answer: (call: FakeCall) => FakeAnswer | undefined) {
  const engine = new FakeEngine(answer)
  const quiet = (): void => {}
  const images = new ImageStore('/nowhere', engine, {})
  const context: WineContext = { machine: 'test', engine, images, log: { info: quiet, warn: quiet, error: quiet } }
  return { context, calls: engine.calls }
}

export function record(changes: Partial<ContainerRecord> = {}): ContainerRecord {
  return {
    machine: 'test',
    image: 'windowsservercore',
    hostConfig: {},
    config: { Cmd: ['cmd', '/c', 'ver'], Env: ['PATH=C:\\Windows'], WorkingDir: 'C:\\app' },
    autoRemove: false,
    mounts: [],
    folders: [],
    ...changes
  }
}

/** The labels that a container of this record has on the engine. */
export function labels(of: ContainerRecord): Record<string, string> {
  return { [MACHINE_LABEL]: of.machine, [CONTAINER_LABEL]: JSON.stringify(of) }
}

/** A tar of one file, as the engine sends a state file. */
export function tarOf(name: string, content: string): Buffer {
  const body = Buffer.from(content)
  const header = Buffer.alloc(512)
  header.write(name, 0)
  header.write(`${body.length.toString(8).padStart(11, '0')}\0`, 124)
  header.write('0', 156)
  header.write('ustar\x0000', 257)
  header.write(' '.repeat(8), 148)
  const sum = header.reduce((total, byte) => total + byte, 0)
  header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148)
  return Buffer.concat([header, body, Buffer.alloc(512 - (body.length % 512 || 512)), Buffer.alloc(1024)])
}
