import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { type AddressInfo, connect, createServer, type Server } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { Engine } from '#docker/engine.ts'
import { startWindowsGateway } from '#gateway/windows-engine/gateway.ts'

let folder: string
let socketPath: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'oriel-win-'))
  socketPath = join(folder, 'docker.sock')
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

/** What a client gets that sends `text`, ends its half, and reads to the end. */
async function say(text: string): Promise<string> {
  const client = connect({ path: socketPath, allowHalfOpen: true })
  let said = ''
  client.on('data', chunk => {
    said += chunk
  })
  client.end(text)
  await once(client, 'close')
  return said
}

async function gatewayTo(port: number, errors: string[] = []) {
  const engine = new Engine({ kind: 'tcp', host: '127.0.0.1', port })
  return startWindowsGateway({ machine: 'win', socketPath, engine, log: { error: message => errors.push(message) } })
}

test('an answer is the engine’s own, to the letter, and the request as the client sent it', async () => {
  let heard = ''
  const answer = 'HTTP/1.1 200 OK\r\nApi-Version: 1.52\r\nOstype: windows\r\nX-oDD: 1\r\nContent-Length: 2\r\n\r\nOK'
  const server: Server = createServer(socket =>
    socket.on('data', chunk => {
      heard += chunk
      socket.end(answer)
    })
  ).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const gateway = await gatewayTo((server.address() as AddressInfo).port)
  try {
    const said = await say('GET /v9.99/_ping?x=%20y HTTP/1.1\r\nHost: docker\r\nX-oWN: a\r\n\r\n')
    expect(said).toBe(answer.replace('\r\n\r\n', '\r\nConnection: close\r\n\r\n'))
    expect(heard).toMatch(/^GET \/v9\.99\/_ping\?x=%20y HTTP\/1\.1\r\nHost: docker\r\nX-oWN: a\r\n/)
  } finally {
    await gateway.close()
    server.close()
  }
})

test('an engine that is gone is told as docker tells an error', async () => {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  const errors: string[] = []
  const gateway = await gatewayTo(port, errors)
  try {
    const said = await say('GET /_ping HTTP/1.1\r\nHost: docker\r\n\r\n')
    expect(said).toMatch(/^HTTP\/1\.1 503 /)
    expect(JSON.parse(said.split('\r\n\r\n')[1] ?? '').message).toMatch(
      new RegExp(
        `^the engine of machine "win" does not answer: .*127\\.0\\.0\\.1:${port}.*ECONNREFUSED.*oriel status win`
      )
    )
    expect(errors).toHaveLength(1)
  } finally {
    await gateway.close()
  }
})
