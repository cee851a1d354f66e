import type { Readable } from 'node:stream'
import { text } from 'node:stream/consumers'
import { setTimeout } from 'node:timers/promises'
import { afterEach, expect, test } from 'vitest'
import { decompressed } from '#gateway/wine-engine/build-compression.ts'
import { ImageStore } from '#gateway/wine-engine/image-store.ts'
import { withRemoteFile } from '#gateway/wine-engine/remote-file.ts'
import { serve, type TestServer } from '../../../support/file-server.ts'
import { fakeContext } from './fake-context.ts'

let web: TestServer | undefined
afterEach(async () => {
  await web?.close()
  web = undefined
})

function fetched(url: string, env: NodeJS.ProcessEnv = {}, signal = new AbortController().signal) {
  const { context } = fakeContext(() => undefined)
  const images = new ImageStore('/nowhere', context.engine, env)
  return withRemoteFile({ ...context, images }, url, signal, async file => ({ ...file, text: await text(file.body) }))
}

test('gives the file with what the server says of it, and keeps the secrets of the URL', async () => {
  web = await serve((_request, response) => {
    response.writeHead(200, { 'Content-Type': 'Text/Plain; charset=x', 'Content-Length': 5 }).end('hello')
  })
  const url = `${web.url.replace('//', '//me:p%40ss@')}/a?token=1`
  expect(await fetched(url)).toMatchObject({ text: 'hello', size: 5, contentType: 'text/plain', url: `${web.url}/a` })
  expect(web.asked).toHaveLength(1)
  expect(web.asked[0]?.url).toBe('/a?token=1')
  expect(web.asked[0]?.headers.authorization).toBe(`Basic ${Buffer.from('me:p@ss').toString('base64')}`)
})

test('asks the proxy of the environment', async () => {
  web = await serve((_request, response) => response.end('by the proxy'))
  expect((await fetched('http://files.example/a', { http_proxy: web.url })).text).toBe('by the proxy')
  expect(web.asked[0]?.url).toBe('http://files.example/a')
})

test.each([
  [404, 404],
  [403, 403],
  [500, 500],
  [410, 500]
])('a status of %i is one of %i for the client, without the secrets', async (status, answered) => {
  web = await serve((_request, response) => response.writeHead(status).end('why\n'))
  const failure = await fetched(`${web.url.replace('//', '//me:secret@')}/a?secret`).catch(error => error)
  expect(failure.status).toBe(answered)
  expect(failure.message).toMatch(new RegExp(`^failed to GET ${web.url}/a with status ${status} [A-Z].*: why$`))
  expect(failure.message).not.toContain('secret')
})

test.each(['ftp://x/y', 'file:///etc/passwd', 'http://', 'x y'])('%s is no URL that is fetched', async url => {
  await expect(fetched(url)).rejects.toMatchObject({
    status: 400,
    message: expect.stringContaining('is no URL of http')
  })
})

test('ends with its client', async () => {
  web = await serve((_request, response) => void response.writeHead(200).write('a'))
  const gone = new AbortController()
  const asked = fetched(`${web.url}/a`, {}, gone.signal)
  void setTimeout(100).then(() => gone.abort())
  await expect(asked).rejects.toThrow()
})

test('a cut that comes before anybody reads is told to who reads then', async () => {
  web = await serve((_request, response) => {
    response
      .writeHead(200, { 'Content-Length': 1000 })
      .write('some', () => void setTimeout(20).then(() => response.destroy()))
  })
  const { context } = fakeContext(() => undefined)
  const images = new ImageStore('/nowhere', context.engine, {})
  const late = (read: (body: Readable) => Promise<unknown>) =>
    withRemoteFile({ ...context, images }, `${web?.url}/a`, new AbortController().signal, async ({ body }) => {
      await setTimeout(200)
      return await read(body)
    })
  await expect(late(text)).rejects.toThrow('unexpected EOF')
  await expect(late(decompressed)).rejects.toThrow('unexpected EOF')
})
