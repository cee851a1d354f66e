import { mkdtempSync, rmSync } from 'node:fs'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Engine } from '#docker/engine.ts'

export interface Call {
  method: string
  path: string
  query: URLSearchParams
  body: Buffer
}

/** A Docker engine that knows images by name, builds whatever it is told to, and remembers what it was asked. */
export class FakeEngine {
  readonly calls: Call[] = []
  readonly images = new Map<string, { Id: string; Architecture: string; Config: { Labels: Record<string, string> } }>()
  readonly folder = mkdtempSync(join(tmpdir(), 'oriel-fake-'))
  readonly url = `unix://${join(this.folder, 'engine.sock')}`
  version: object = { Version: '28.0.0', ApiVersion: '1.48', Os: 'linux', Arch: 'amd64' }
  info: object = { OSType: 'linux', Architecture: 'x86_64', OperatingSystem: 'Debian', DockerRootDir: '/data' }
  /** Lines of the answer to a build; a function may look at the request. */
  build: (call: Call) => object[] = () => [{ stream: 'Step 1/2 : FROM debian\n' }, { stream: 'Step 2/2 : RUN true\n' }]
  /** Lines of the answer to a pull; undefined never answers. */
  pull: object[] | undefined = [{ status: 'Pull complete' }]
  /** Answers anything else; true when it did. */
  other: (call: Call, response: ServerResponse) => boolean = () => false
  readonly #server = createServer((request, response) => void this.#answer(request, response))

  get engine(): Engine {
    return new Engine({ kind: 'unix', path: this.url.slice('unix://'.length) })
  }

  async start(): Promise<this> {
    await new Promise<void>(resolve => this.#server.listen(this.url.slice('unix://'.length), resolve))
    return this
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections()
    await new Promise(resolve => this.#server.close(resolve))
    rmSync(this.folder, { recursive: true, force: true })
  }

  has(name: string, labels: Record<string, string> = {}, architecture = 'amd64'): void {
    this.images.set(name, { Id: `sha256:${name}`, Architecture: architecture, Config: { Labels: labels } })
  }

  named(method: string, path: string): Call[] {
    return this.calls.filter(call => call.method === method && call.path === path)
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { pathname: path, searchParams: query } = new URL(request.url ?? '', 'http://engine')
    const chunks: Buffer[] = []
    try {
      for await (const chunk of request) chunks.push(chunk)
    } catch {
      return
    }
    const call = { method: request.method ?? '', path, query, body: Buffer.concat(chunks) }
    this.calls.push(call)
    if (this.other(call, response)) return
    if (path === '/version') response.end(JSON.stringify(this.version))
    else if (path === '/info') response.end(JSON.stringify(this.info))
    else if (path === '/build') this.#build(call, response)
    else if (path === '/images/create') this.#create(call, response)
    else this.#inspect(call, response)
  }

  #build(call: Call, response: ServerResponse): void {
    const lines = this.build(call)
    if (!lines.some(line => 'error' in line)) {
      this.has(call.query.get('t') ?? '', JSON.parse(call.query.get('labels') ?? '{}'))
    }
    response.end(lines.map(line => JSON.stringify(line)).join('\n'))
  }

  #create(call: Call, response: ServerResponse): void {
    const imports = call.query.has('fromSrc')
    const lines = imports ? [{ status: 'sha256:imported' }] : this.pull
    if (lines === undefined) return
    if (!lines.some(line => 'error' in line)) {
      this.has(`${call.query.get('repo') ?? call.query.get('fromImage')}:${call.query.get('tag')}`)
    }
    response.end(lines.map(line => JSON.stringify(line)).join('\n'))
  }

  #inspect({ method, path }: Call, response: ServerResponse): void {
    const name = /^\/images\/(.*?)(\/json)?$/.exec(path)?.[1] ?? ''
    const image = this.images.get(name)
    if (image === undefined) {
      response.statusCode = 404
      response.end(JSON.stringify({ message: `No such image: ${name}` }))
    } else if (method === 'DELETE') {
      this.images.delete(name)
      response.end('[]')
    } else response.end(JSON.stringify(image))
  }
}
