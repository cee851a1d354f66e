import { afterEach, describe, expect, test } from 'vitest'
import { baseImage, type KnownBase, knownBase } from '#image/bases.ts'
import { IMAGE_LABEL } from '#image/windows-config.ts'
import { type FakeAnswer, refusalOf, type Stage, send, stage } from '../../../support/fake-engine.ts'

let open: Stage | undefined
afterEach(async () => {
  await open?.close()
  open = undefined
})

/** An engine with the Wine base, that builds as the classic builder does: the label on a new image of the asked name. */
function builder(before: Record<string, FakeAnswer> = {}): Record<string, FakeAnswer> {
  const built = new Map<string, object>()
  const wine = { Os: 'linux', Architecture: 'amd64', Config: { Labels: {} } }
  return {
    'GET /images/oriel/wine:ltsc2022/json': wine,
    'GET /images/oriel/wine:ltsc2019/json': wine,
    'POST /build': ({ query }, response) => {
      const labels = JSON.parse(query.get('labels') ?? '{}') as Record<string, string>
      built.set(query.get('t') ?? '', { Id: 'sha256:new', Config: { Labels: labels } })
      response.end('{"stream":"Step 1/2"}\r\n{"stream":"Successfully built"}\r\n')
    },
    '*': ({ path }, response) => {
      const found = built.get(/^\/images\/(.*)\/json$/.exec(path)?.[1] ?? '')
      if (found !== undefined) return found
      send(response, 404, { message: 'No such image' })
      return undefined
    },
    ...before
  }
}

async function pull(on: Stage, query: Record<string, string>): Promise<{ status?: string; id?: string }[]> {
  const answer = await on.client.request('POST', `/v1.41/images/create?${new URLSearchParams(query)}`)
  const text = Buffer.concat(await answer.body.toArray()).toString()
  expect([answer.status, text]).toEqual([200, expect.anything()])
  return text
    .trim()
    .split('\r\n')
    .map(line => JSON.parse(line))
}

test('gives the Wine base the name that was asked for, and says that nothing is downloaded', async () => {
  open = await stage(builder())
  const lines = await pull(open, { fromImage: 'mcr.microsoft.com/windows/servercore', tag: 'ltsc2022' })
  expect(lines[0]).toEqual({ status: 'Pulling from windows/servercore', id: 'ltsc2022' })
  expect(lines[1]?.status).toMatch(/^Nothing is downloaded from Microsoft: Wine/)
  expect(lines.at(-1)?.status).toBe('Status: Downloaded newer image for mcr.microsoft.com/windows/servercore:ltsc2022')
  const build = open.seen.find(({ path }) => path === '/build')
  expect(build?.query.get('t')).toBe('mcr.microsoft.com/windows/servercore:ltsc2022')
  expect(build?.query.get('platform')).toBe('linux/amd64')
  expect(build?.body).toContain('FROM oriel/wine:ltsc2022\n')
})

test('hands the Windows side over unchanged, backslashes and all', async () => {
  open = await stage(builder())
  await pull(open, { fromImage: 'nanoserver', tag: '1809' })
  const labels = JSON.parse(open.seen.find(({ path }) => path === '/build')?.query.get('labels') ?? '')
  expect(JSON.parse(labels[IMAGE_LABEL])).toEqual(baseImage(knownBase('nanoserver:1809') as KnownBase))
})

test('a second pull is up to date', async () => {
  open = await stage(builder())
  await pull(open, { fromImage: 'windowsservercore' })
  const lines = await pull(open, { fromImage: 'windowsservercore', tag: 'latest' })
  expect(lines.at(-1)?.status).toBe('Status: Image is up to date for windowsservercore:latest')
})

test('a digest becomes the base that stands for it', async () => {
  open = await stage(builder())
  const digest = `sha256:${'0'.repeat(64)}`
  const lines = await pull(open, { fromImage: 'mcr.microsoft.com/windows/nanoserver', tag: digest })
  expect(lines.map(({ status }) => status).join()).toContain('mcr.microsoft.com/windows/nanoserver:ltsc2022')
})

describe('refuses', () => {
  test.each<[string, Record<string, string>, number, RegExp]>([
    ['no name', {}, 400, /invalid reference format/],
    [
      'a tag that Microsoft never made',
      { fromImage: 'nanoserver', tag: 'ltsc2011' },
      404,
      /manifest for nanoserver:ltsc2011 not found/
    ],
    ['Linux', { fromImage: 'nanoserver', platform: 'linux/arm64' }, 404, /no matching manifest for linux\/arm64/],
    ['Windows for ARM', { fromImage: 'nanoserver', platform: 'windows/arm64' }, 404, /no matching manifest/],
    ['IIS', { fromImage: 'mcr.microsoft.com/windows/servercore/iis' }, 400, /IIS.*--driver qemu/],
    ['.NET Framework', { fromImage: 'mcr.microsoft.com/dotnet/framework/aspnet', tag: '4.8' }, 400, /Framework.*qemu/],
    ['SQL Server', { fromImage: 'mcr.microsoft.com/mssql/server' }, 400, /SQL Server.*qemu/],
    ['PowerShell', { fromImage: 'mcr.microsoft.com/powershell' }, 400, /PowerShell.*qemu/],
    [
      'PowerShell by its other name',
      { fromImage: 'mcr.microsoft.com/windows/nanoserver/powershell' },
      400,
      /PowerShell/
    ],
    ['the full Windows', { fromImage: 'mcr.microsoft.com/windows', tag: 'ltsc2019' }, 400, /full Windows/],
    ['a registry that is not there', { fromImage: '127.0.0.1:1/app', tag: '1' }, 500, /127\.0\.0\.1:1\/v2\/app/],
    ['the same with the tag in the name', { fromImage: '127.0.0.1:1/app:1' }, 500, /v2\/app\/manifests\/1/],
    ['all tags of it', { fromImage: '127.0.0.1:1/app' }, 500, /v2\/app\/tags\/list/],
    ['the same, as old clients say it', { fromImage: '127.0.0.1:1/app:' }, 500, /v2\/app\/tags\/list/],
    ['a name that is none', { fromImage: '127.0.0.1:1/App', tag: '1' }, 400, /must be lowercase/],
    ['an empty tar', { fromSrc: '-' }, 400, /the tar cannot be imported: it is empty/]
  ])('%s', async (_name, query, status, message) => {
    open = await stage(builder())
    const refusal = await refusalOf(open.client.json('POST', `/images/create?${new URLSearchParams(query)}`))
    expect(refusal).toEqual({ status, message: expect.stringMatching(message) })
    expect(open.seen.some(({ path }) => path === '/build')).toBe(false)
  })

  test('to take the name of a Linux image', async () => {
    open = await stage(builder({ 'GET /images/nanoserver:latest/json': { Config: { Labels: null } } }))
    expect(await refusalOf(open.client.json('POST', '/images/create?fromImage=nanoserver'))).toMatchObject({
      status: 409
    })
  })

  test('to import under the name of a Linux image', async () => {
    open = await stage(builder({ 'GET /images/taken:latest/json': { Config: { Labels: null } } }))
    expect(await refusalOf(open.client.json('POST', '/images/create?fromSrc=-&repo=taken'))).toMatchObject({
      status: 409,
      message: expect.stringContaining('a Linux image named taken:latest')
    })
  })

  test('without the Wine base, and says what to type', async () => {
    open = await stage(
      builder({
        'GET /images/oriel/wine:ltsc2022/json': (_request, response) => send(response, 404, { message: 'no' })
      })
    )
    const refusal = await refusalOf(open.client.json('POST', '/images/create?fromImage=nanoserver'))
    expect(refusal.message).toContain('oriel up')
  })

  test.each<[string, FakeAnswer, RegExp]>([
    [
      'an error status',
      (_request, response) => send(response, 500, { message: 'no space left on device' }),
      /no space left/
    ],
    [
      'an error in the stream',
      (_request, response) => response.end('{"error":"no space left on device"}\n'),
      /no space left/
    ],
    ['nonsense', (_request, response) => response.end('what?\n'), /has not kept/]
  ])('when the build ends with %s', async (_name, answer, message) => {
    open = await stage(builder({ 'POST /build': answer }))
    const refusal = await refusalOf(open.client.json('POST', '/images/create?fromImage=nanoserver'))
    expect(refusal).toEqual({ status: 500, message: expect.stringMatching(message) })
  })
})

test('windows platforms are welcome', async () => {
  open = await stage(builder())
  for (const platform of ['windows', 'windows/amd64', 'windows(10.0.20348)/amd64']) {
    await pull(open, { fromImage: 'nanoserver', platform })
  }
})
