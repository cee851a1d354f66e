import { chmod, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import type { Duplex } from 'node:stream'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { dial } from '#docker/endpoint.ts'
import { Engine } from '#docker/engine.ts'
import { Fault } from '#lib/fault.ts'

const path = process.env.PATH
let folder = ''
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'oriel-ssh-'))
  process.env.PATH = `${folder}${delimiter}${path}`
})
afterEach(async () => {
  process.env.PATH = path
  await rm(folder, { recursive: true, force: true })
})

async function fakeSsh(script: string): Promise<void> {
  await writeFile(join(folder, 'ssh'), script)
  await chmod(join(folder, 'ssh'), 0o755)
}

async function text(stream: Duplex): Promise<string> {
  let all = ''
  for await (const chunk of stream) all += chunk
  return all
}

test("ssh is asked for docker's own stream, without questions, and the stream may be half closed", async () => {
  await fakeSsh(`#!/bin/sh\necho "$@" >'${folder}/args'\ncat\necho end\n`)
  const stream = await dial({ kind: 'ssh', destination: ['-p', '22', 'me@host'] }, 5000)
  stream.write('hello ')
  stream.end('there\n')
  expect(await text(stream)).toBe('hello there\nend\n')
  expect(await readFile(join(folder, 'args'), 'utf8')).toBe(
    '-T -o BatchMode=yes -o ConnectTimeout=5 -p 22 me@host docker system dial-stdio\n'
  )
})

test('a refusal ends the stream with the words of ssh', async () => {
  await fakeSsh('#!/bin/sh\necho "Warning: added." >&2\necho "me@host: Permission denied (publickey)." >&2\nexit 255\n')
  const stream = await dial({ kind: 'ssh', destination: ['me@host'] })
  await expect(text(stream)).rejects.toThrow('ssh://me@host: me@host: Permission denied (publickey).')
  await expect(new Engine({ kind: 'ssh', destination: ['me@host'] }).json('GET', '/')).rejects.toBeInstanceOf(Fault)
})

test('without ssh on this host the dial says so', async () => {
  process.env.PATH = folder
  await expect(dial({ kind: 'ssh', destination: ['host'] })).rejects.toMatchObject({ exitCode: 4 })
})

test('an engine is reached through ssh, over one kept connection, with large bodies', async () => {
  let connections = 0
  const server = createServer((request, response) => {
    if (request.method === 'GET') response.end('"pong"')
    else {
      response.flushHeaders()
      request.pipe(response)
    }
  }).on('connection', () => connections++)
  const socket = join(folder, 's')
  await new Promise<void>(resolve => server.listen(socket, resolve))
  await fakeSsh(`#!${process.execPath}
const s = require('node:net').connect({ path: ${JSON.stringify(socket)}, allowHalfOpen: true })
process.stdin.pipe(s)
s.pipe(process.stdout)
`)
  const engine = new Engine({ kind: 'ssh', destination: ['host'] })
  expect(await engine.json('GET', '/')).toBe('pong')
  expect(await engine.json('GET', '/')).toBe('pong')
  expect(connections).toBe(1)
  const answer = await engine.request('POST', '/', { body: Buffer.alloc(20 << 20) })
  let length = 0
  for await (const chunk of answer.body) length += chunk.length
  expect(length).toBe(20 << 20)
  server.closeAllConnections()
  await new Promise(resolve => server.close(resolve))
})
