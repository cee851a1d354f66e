import { stat } from 'node:fs/promises'
import type { Socket } from 'node:net'
import { dirname } from 'node:path'
import { Transform } from 'node:stream'
import { afterEach, expect, test, vi } from 'vitest'
import type { Handling } from '#gateway/proxy/handling.ts'
import { serve } from '#gateway/proxy/serve.ts'
import { pause, type Rig, readAll, readUntil, rig, until } from './rig.ts'

// Hundreds of megabytes pass here, on machines that may be busy.
vi.setConfig({ testTimeout: 60_000 })

let open: Rig[] = []
afterEach(async () => {
  for (const one of open) await one.stop()
  open = []
})
async function start(...args: Parameters<typeof rig>): Promise<Rig> {
  const made = await rig(...args)
  open.push(made)
  return made
}

/** An engine that reads up to the end of the head, then does as told. */
function onHead(act: (socket: Socket, head: string) => unknown): (socket: Socket) => void {
  return socket => {
    readUntil(socket, '\r\n\r\n').then(
      head => act(socket, head),
      () => {}
    )
  }
}

const upgrade = 'POST /attach HTTP/1.1\r\nHost: d\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n'
const plain = 'GET /x HTTP/1.1\r\nHost: d\r\n\r\n'

test('the head goes on as it came, but for Connection', async () => {
  let seen = ''
  const { talk } = await start(
    onHead((socket, head) => {
      seen = head
      socket.end('HTTP/1.1 200 OK\r\nx-b: 1\r\nX-A: 2\r\nContent-Length: 2\r\n\r\nhi')
    })
  )
  const answer = await talk('GET /v1.41/x?y HTTP/1.1\r\nhost: d\r\nconnection: keep-alive\r\nX-b: 2\r\nx-A: 1\r\n\r\n')
  expect(seen).toBe('GET /v1.41/x?y HTTP/1.1\r\nhost: d\r\nConnection: close\r\nX-b: 2\r\nx-A: 1\r\n\r\n')
  expect(answer).toBe('HTTP/1.1 200 OK\r\nx-b: 1\r\nX-A: 2\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi')
})

test('an upgrade keeps its headers, is raw both ways, and the client may end first', async () => {
  let seen = ''
  const { open } = await start(
    onHead((socket, head) => {
      seen = head
      socket.write('HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\nready')
      readAll(socket).then(
        async input => {
          await pause(50)
          socket.end(`got ${input}, late`)
        },
        () => {}
      )
    })
  )
  const client = open()
  client.write(upgrade)
  expect(await readUntil(client, 'ready')).toBe(
    'HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\nready'
  )
  client.write('\0in')
  client.end('put')
  expect(await readAll(client)).toBe('got \0input, late')
  expect(seen).toBe(upgrade)
})

test('the body of an upgrade arrives with its head, however the client sent it', async () => {
  const first: string[] = []
  const { open } = await start(socket => {
    socket.once('data', chunk => {
      first.push(chunk.toString('latin1'))
      socket.write('HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n')
      readAll(socket).then(
        input => socket.end(`got ${input}`),
        () => {}
      )
    })
  })
  const head = upgrade.replace('Host: d', 'Host: d\r\nContent-Length: 12')
  const client = open()
  client.write(head)
  await pause(20)
  client.write('{"a":')
  await pause(20)
  client.write('"body"}')
  await readUntil(client, '\r\n\r\n')
  client.end('input')
  expect(await readAll(client)).toBe('got input')
  expect(first).toEqual([`${head}{"a":"body"}`])
})

test('a small body arrives with its head, so that an engine that reads neither further can still be heard', async () => {
  const first: string[] = []
  const { open } = await start(socket => {
    socket.once('data', chunk => {
      first.push(chunk.toString('latin1'))
      socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok')
      socket.destroySoon()
    })
  })
  const client = open()
  client.write('POST /containers/a/resize HTTP/1.1\r\nHost: d\r\nContent-Length: 15\r\n\r\n')
  await pause(20)
  client.write('{"h":10,')
  await pause(20)
  client.write('"w":10}')
  expect(await readAll(client)).toMatch(/^HTTP\/1.1 200 OK.*ok$/s)
  expect(first).toHaveLength(1)
  expect(first[0]).toMatch(/\r\n\r\n{"h":10,"w":10}$/)
})

test('a client that asks for a word before its body is heard before it', async () => {
  const { open } = await start(
    onHead(socket => {
      socket.write('HTTP/1.1 100 Continue\r\n\r\n')
      socket.once('data', chunk => socket.end(`HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n${chunk}`))
    })
  )
  const client = open()
  client.write('POST /x HTTP/1.1\r\nHost: d\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n')
  await readUntil(client, '100 Continue\r\n\r\n')
  client.write('hi')
  expect(await readAll(client)).toMatch(/\r\n\r\nhi$/)
})

test('the engine may end first and still listen', async () => {
  let input = ''
  const { open, engineSockets } = await start(
    onHead(socket => {
      socket.end('HTTP/1.1 101 UPGRADED\r\n\r\nbye')
      readAll(socket).then(
        text => {
          input = text
        },
        () => {}
      )
    })
  )
  const client = open()
  client.write(upgrade)
  expect(await readAll(client)).toContain('bye')
  client.end('last words')
  await until(() => input !== '')
  expect(input).toBe('last words')
  await until(() => engineSockets.size === 0)
})

test('the old hijack: raw behind 200 without length, body of exec start first', async () => {
  const { open } = await start(
    onHead((socket, head) => {
      expect(head).toContain('\r\n\r\n')
      socket.write('HTTP/1.1 200 OK\r\nContent-Type: application/vnd.docker.raw-stream\r\n\r\n')
      const early = head.slice(head.indexOf('\r\n\r\n') + 4)
      socket.write(`[${early}]`)
      socket.on('data', chunk => socket.write(`<${chunk}>`))
      socket.on('end', () => socket.end('done'))
    })
  )
  const client = open()
  client.write('POST /exec/1/start HTTP/1.1\r\nContent-Length: 13\r\n\r\n{"Tty":false}')
  const head = await readUntil(client, ']')
  expect(head).toBe('HTTP/1.1 200 OK\r\nContent-Type: application/vnd.docker.raw-stream\r\n\r\n[{"Tty":false}]')
  client.write('stdin')
  expect(await readUntil(client, '>')).toBe('<stdin>')
  client.end()
  expect(await readAll(client)).toBe('done')
})

test('early headers and each chunk come at once', async () => {
  let finish = () => {}
  const { open } = await start(
    onHead(socket => {
      socket.write('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n')
      finish = () => socket.end('2\r\n{}\r\n0\r\n\r\n')
    })
  )
  const client = open()
  client.write('POST /containers/x/wait HTTP/1.1\r\nHost: d\r\n\r\n')
  await readUntil(client, '\r\n\r\n')
  finish()
  expect(await readAll(client)).toBe('2\r\n{}\r\n0\r\n\r\n')
})

test('100 Continue passes before the answer', async () => {
  const { open } = await start(
    onHead(async socket => {
      socket.write('HTTP/1.1 100 Continue\r\n\r\n')
      await readUntil(socket, 'body')
      socket.end('HTTP/1.1 204 No Content\r\n\r\n')
    })
  )
  const client = open()
  client.write('POST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n')
  await readUntil(client, '100 Continue\r\n\r\n')
  client.write('body')
  expect(await readAll(client)).toBe('HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n')
})

test('rewrites: head, answer, and never the framing', async () => {
  let seen = ''
  const handling: Handling = {
    kind: 'splice',
    request: {
      method: 'PUT',
      target: '/new',
      headers: [
        ['A', 'b'],
        ['Content-Length', '999']
      ]
    },
    response: head => ({
      ...head,
      headers: [
        ['X', 'y'],
        ['Content-Length', '1'],
        ['Transfer-Encoding', 'chunked']
      ]
    })
  }
  const { talk, heads } = await start(
    onHead((socket, head) => {
      seen = head
      socket.end('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi')
    }),
    () => handling
  )
  const answer = await talk('PUT /old HTTP/1.1\r\nContent-Length: 4\r\n\r\nbody')
  expect(heads[0]?.target).toBe('/old')
  expect(seen).toBe('PUT /new HTTP/1.1\r\nA: b\r\nContent-Length: 4\r\nConnection: close\r\n\r\nbody')
  expect(answer).toBe('HTTP/1.1 200 OK\r\nX: y\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi')
})

const shout = () =>
  new Transform({
    transform(chunk, _encoding, done) {
      done(null, `${String(chunk).toUpperCase()}!`)
    }
  })

test.each([
  ['a length', 'Content-Length: 4\r\n\r\n', 'body'],
  ['chunks', 'Transfer-Encoding: chunked\r\n\r\n', '4\r\nbody\r\n0\r\n\r\n']
])('a transformed body of %s goes on in chunks, and a raw stream behind it untouched', async (_what, rest, body) => {
  const { open } = await start(
    onHead(async (socket, head) => {
      let all = head
      socket.write('HTTP/1.1 101 UPGRADED\r\n\r\n')
      socket.on('data', chunk => {
        all += chunk
      })
      socket.on('end', () => socket.end(all))
    }),
    () => ({ kind: 'splice', requestBody: shout })
  )
  const client = open()
  client.write(`POST / HTTP/1.1\r\nUpgrade: tcp\r\n${rest}${body}raw `)
  await pause(20)
  client.end('stream')
  const got = await readAll(client)
  const sent = got.slice(got.indexOf('POST'))
  expect(sent).toContain('Transfer-Encoding: chunked\r\n')
  expect(sent).not.toContain('Content-Length')
  expect(sent.slice(sent.indexOf('\r\n\r\n') + 4)).toBe('5\r\nBODY!\r\n0\r\n\r\nraw stream')
})

test.each([
  ['an archive', 'application/x-tar', 'Transfer-Encoding: chunked', '4\r\nbody\r\n0\r\n\r\n'],
  [
    'an archive without a name of its own',
    'application/octet-stream',
    'Transfer-Encoding: chunked',
    '4\r\nbody\r\n0\r\n\r\n'
  ],
  ['JSON', 'application/json', 'Content-Length: 4', 'body'],
  ['a form', 'application/x-www-form-urlencoded', 'Content-Length: 4', 'body']
])(
  '%s of a length goes on so that its end is seen, and so is the end of its client',
  async (_what, type, framing, body) => {
    let ended = false
    let seen = ''
    const { open } = await start(
      onHead(async (socket, head) => {
        seen = head
        socket.write('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n')
        for await (const chunk of socket.iterator({ destroyOnReturn: false })) seen += String(chunk)
        ended = true
      })
    )
    const client = open()
    client.write(`POST /build HTTP/1.1\r\nContent-Type: ${type}\r\nContent-Length: 4\r\n\r\nbodymore`)
    await readUntil(client, '\r\n\r\n')
    await pause(20)
    expect(ended).toBe(false)
    client.destroy()
    await until(() => ended)
    expect(seen).toContain(`\r\n${framing}\r\n`)
    expect(seen.slice(seen.indexOf('\r\n\r\n') + 4)).toMatch(new RegExp(`^${body}(more)?$`))
  }
)

test('a transform that fails, a body that is broken or cut off: the client is told', async () => {
  let fail = false
  const { talk, open, engineSockets } = await start(
    () => {},
    () => ({
      kind: 'splice',
      requestBody: () =>
        new Transform({
          transform(chunk, _encoding, done) {
            done(fail ? Object.assign(new Error('too odd'), { status: 422 }) : null, chunk)
          }
        })
    })
  )
  expect(await talk('POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n')).toMatch(/^HTTP\/1.1 400 .*chunks/s)
  fail = true
  expect(await talk('POST / HTTP/1.1\r\nContent-Length: 1\r\n\r\nx')).toMatch(/^HTTP\/1.1 422 .*too odd/s)
  fail = false
  const client = open()
  client.end('POST / HTTP/1.1\r\nContent-Length: 10\r\n\r\nx')
  expect(await readAll(client)).toMatch(/^HTTP\/1.1 400 .*cut off/s)
  await until(() => engineSockets.size === 0)
})

test('an error of the engine is answered in other words', async () => {
  const answers: Record<string, string> = {
    json: 'HTTP/1.1 404 Not Found\r\nApi-Version: 1.41\r\nContent-Length: 17\r\n\r\n{"message":"old"}',
    chunked: 'HTTP/1.1 500 E\r\nTransfer-Encoding: chunked\r\n\r\n11\r\n{"message":"old"}\r\n0\r\n\r\n',
    plain: 'HTTP/1.1 409 Conflict\r\n\r\nold\n',
    fine: 'HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nold'
  }
  const { talk } = await start(
    onHead((socket, head) => socket.end(answers[/\/(\w+)/.exec(head)?.[1] ?? ''] ?? '')),
    () => ({ kind: 'splice', onError: (status, message) => ({ status: status + 1, message: `${message}, but new` }) })
  )
  for (const [name, status] of [
    ['json', 405],
    ['chunked', 501],
    ['plain', 410]
  ] as const) {
    const answer = await talk(`GET /${name} HTTP/1.1\r\n\r\n`)
    expect(answer).toMatch(new RegExp(`^HTTP/1.1 ${status} `))
    expect(answer.endsWith('\r\n\r\n{"message":"old, but new"}\n')).toBe(true)
  }
  expect(await talk('GET /json HTTP/1.1\r\n\r\n')).toContain('Api-Version: 1.41\r\n')
  expect(await talk('GET /fine HTTP/1.1\r\n\r\n')).toMatch(/^HTTP\/1.1 200 .*old$/s)
})

test('an answer before the upload is read still arrives', async () => {
  for (const hard of [false, true]) {
    for (const requestBody of [undefined, shout]) {
      const { open, engineSockets } = await start(
        onHead(socket => {
          socket.pause()
          socket.end('HTTP/1.1 400 Bad Request\r\nContent-Length: 3\r\n\r\nbad')
          if (hard) setTimeout(() => socket.destroy(), 5)
          else setTimeout(() => socket.resume(), 20)
        }),
        () => (requestBody === undefined ? { kind: 'splice' } : { kind: 'splice', requestBody })
      )
      const client = open()
      let failure: unknown
      client.on('error', error => {
        failure = error
      })
      client.write(`POST /build HTTP/1.1\r\nContent-Length: ${64 << 20}\r\n\r\n`)
      for (let n = 0; n < 64; n++) client.write(Buffer.alloc(1 << 20))
      expect(await readAll(client)).toBe(
        'HTTP/1.1 400 Bad Request\r\nContent-Length: 3\r\nConnection: close\r\n\r\nbad'
      )
      client.end()
      await new Promise(resolve => client.once('close', resolve))
      expect(failure).toBeUndefined()
      await until(() => engineSockets.size === 0)
    }
  }
})

test('a client that goes away takes its engine connection along, half closed or not', async () => {
  const { open, engineSockets } = await start(onHead(socket => socket.write('HTTP/1.1 101 UPGRADED\r\n\r\n')))
  for (const half of [false, true]) {
    const client = open()
    client.write(upgrade)
    await readUntil(client, '\r\n\r\n')
    expect(engineSockets.size).toBe(1)
    if (half) client.end()
    await pause(20)
    expect(engineSockets.size).toBe(1)
    client.destroy()
    await until(() => engineSockets.size === 0)
  }
})

test('no engine is a 503, an engine that says nothing or nonsense a 502', async () => {
  const gone = await start(undefined)
  expect(await gone.talk(plain)).toMatch(/^HTTP\/1.1 503 Service Unavailable\r\n.*\{"message":".*ENOENT.*"\}\n$/s)
  expect(gone.errors).toHaveLength(1)
  const mute = await start(onHead(socket => socket.end()))
  expect(await mute.talk(plain)).toMatch(/^HTTP\/1.1 502 .*without an answer/s)
  const rude = await start(onHead(socket => socket.destroy()))
  expect(await rude.talk(plain)).toMatch(/^HTTP\/1.1 502 /)
  const odd = await start(onHead(socket => socket.write('SSH-2.0\r\n\r\n')))
  expect(await odd.talk(plain)).toMatch(/^HTTP\/1.1 502 .*does not speak HTTP/s)
})

test('an answer cut off by the engine ends for the client too', async () => {
  const { talk } = await start(
    onHead(socket => {
      socket.write('HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\npart', () => socket.destroy())
    })
  )
  expect(await talk(plain)).toMatch(/part$/)
})

test('a refused upgrade ends with its answer: what follows is no second request', async () => {
  let got = ''
  const { talk, engineSockets } = await start(
    onHead(socket => {
      socket.on('data', chunk => {
        got += chunk
      })
      socket.write('HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\nnope')
    })
  )
  const answer = await talk(upgrade, 'DELETE /everything HTTP/1.1\r\n\r\n', 'x'.repeat(100))
  expect(answer).toBe('HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\nConnection: close\r\n\r\nnope')
  await until(() => engineSockets.size === 0)
  expect(got.length).toBeLessThan(40)
})

test.each([
  ['both framings', 'POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n', 400],
  ['two lengths', 'POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n', 400],
  ['a bare LF', 'GET / HTTP/1.1\nHost: d\n\n', 400],
  ['a bare LF among good lines', 'GET / HTTP/1.1\r\nA: b\nB: c\r\n\r\n', 400],
  ['a NUL', 'GET / HTTP/1.1\r\nA: \0\r\n\r\n', 400],
  ['obs-fold', 'GET / HTTP/1.1\r\nA: b\r\n c\r\n\r\n', 400],
  ['TLS', '\x16\x03\x01\x02\x00', 400],
  ['an empty line first', '\r\nGET / HTTP/1.1\r\n\r\n', 400],
  ['HTTP/1.0', 'GET / HTTP/1.0\r\n\r\n', 505],
  ['a head that is too large', `GET / HTTP/1.1\r\nA: ${'x'.repeat(65_536)}\r\n\r\n`, 431],
  ['a head that does not end', `GET / HTTP/1.1\r\nA: ${'x'.repeat(70_000)}`, 431]
])('refused before anyone decides: %s', async (_what, bytes, status) => {
  const { talk, heads } = await start(() => {})
  const answer = await talk(Buffer.from(bytes, 'latin1'))
  expect(answer).toMatch(new RegExp(`^HTTP/1.1 ${status} .*\\{"message":".*"\\}\n$`, 's'))
  expect(heads).toEqual([])
})

test('a head just below 64 KiB passes, and one that comes byte by byte', async () => {
  const { talk, heads } = await start(onHead(socket => socket.end('HTTP/1.1 200 OK\r\n\r\nok')))
  const frame = 'GET / HTTP/1.1\r\nA: \r\n\r\n'
  expect(await talk(frame.replace('A: ', `A: ${'x'.repeat(65_536 - frame.length)}`))).toMatch(/ok$/)
  expect(await talk(...plain)).toMatch(/ok$/)
  expect(heads).toHaveLength(2)
})

test('a slow head is a 408, a silent connection just ends', async () => {
  const { talk, open } = await start(() => {}, undefined, { headTimeoutMs: 100 })
  expect(await talk('GET / HT')).toMatch(/^HTTP\/1.1 408 /)
  expect(await readAll(open())).toBe('')
})

test('a decision that fails is an answer: its status, or 500', async () => {
  const refused = Object.assign(new Error('not on Windows'), { status: 501 })
  let error: Error = refused
  const { talk, errors } = await start(
    () => {},
    () => Promise.reject(error)
  )
  expect(await talk(plain)).toMatch(/^HTTP\/1.1 501 Not Implemented.*\{"message":"not on Windows"\}\n$/s)
  expect(errors).toEqual([])
  error = new Error('bug')
  expect(await talk(plain)).toMatch(/^HTTP\/1.1 500 .*bug/s)
  expect(errors).toEqual([error])
})

test('300 connections at once', async () => {
  const { talk, engineSockets } = await start(
    onHead((socket, head) => {
      setTimeout(() => socket.end(`HTTP/1.1 200 OK\r\n\r\n${head.split(' ')[1]}`), 30)
    })
  )
  const answers = await Promise.all(Array.from({ length: 300 }, (_, n) => talk(`GET /${n} HTTP/1.1\r\n\r\n`)))
  expect(answers.map(answer => answer.split('/').at(-1))).toEqual(answers.map((_, n) => String(n)))
  await until(() => engineSockets.size === 0)
})

test('200 MB each way, and a receiver that stalls holds the sender back', async () => {
  const total = 200 * 1024 * 1024
  const block = Buffer.alloc(1024 * 1024, 'x')
  let received = 0
  const { open } = await start(
    onHead(socket => {
      socket.write('HTTP/1.1 101 UPGRADED\r\n\r\n')
      socket.on('data', chunk => {
        received += chunk.length
      })
      let sent = 0
      const send = () => {
        while (sent < total) {
          sent += block.length
          if (!socket.write(block)) {
            socket.once('drain', send)
            return
          }
        }
        socket.end()
      }
      send()
    })
  )
  const client = open()
  client.write(upgrade)
  await readUntil(client, '\r\n\r\n')
  client.pause()
  await pause(200)
  const before = process.memoryUsage().rss
  let peak = 0
  let back = 0
  client.on('data', chunk => {
    back += chunk.length
    peak = Math.max(peak, process.memoryUsage.rss())
  })
  client.resume()
  for (let sent = 0; sent < total; sent += block.length) {
    if (!client.write(block)) await new Promise(resolve => client.once('drain', resolve))
  }
  client.end()
  await until(() => received === total && back > total - 2 * block.length)
  expect(peak - before).toBeLessThan(150 * 1024 * 1024)
})

test('the socket is private, a stale one is replaced, a living one and a file are not', async () => {
  const one = await start(onHead(socket => socket.end('HTTP/1.1 200 OK\r\n\r\nok')))
  expect((await stat(one.path)).mode & 0o777).toBe(0o600)
  expect((await stat(dirname(one.path))).mode & 0o777).toBe(0o700)
  const again = (path: string) =>
    serve({ listen: { path }, dial: () => Promise.reject(new Error('no')), decide: () => ({ kind: 'splice' }) })
  await expect(again(one.path)).rejects.toThrow('already serves')
  await expect(again(`${dirname(one.path)}/${'x'.repeat(120)}`)).rejects.toThrow('too long')
  const { link, writeFile } = await import('node:fs/promises')
  const file = `${dirname(one.path)}/file`
  await writeFile(file, 'precious')
  await expect(again(file)).rejects.toThrow('in the way')
  const stale = `${dirname(one.path)}/stale`
  await link(one.path, stale)
  await one.stop()
  open = []
  expect((await stat(stale)).isSocket()).toBe(true)
  const next = await again(stale)
  expect((await stat(stale)).isSocket()).toBe(true)
  await next.close()
  await expect(stat(stale)).rejects.toThrow()
})
