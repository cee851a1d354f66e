import { createHash, randomBytes } from 'node:crypto'
import { createReadStream, mkdirSync, readFileSync, truncateSync, writeFileSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import type { Io } from '#cli/io.ts'
import { main } from '#cli/main.ts'
import {
  EFISYS,
  installationFiles,
  makeDisc,
  makeWim,
  serverImages,
  temporaryFolder
} from '../../support/installation-disc.ts'

const { path: root, remove } = temporaryFolder()
let iso: string
let server: Server
let url: string
let home: string
let count = 0

beforeAll(async () => {
  iso = await makeDisc(root, 'win', {
    files: installationFiles(await makeWim(root, serverImages('2022', '20348.587'))),
    efiBoot: EFISYS
  })
  server = createServer((_request, response) => createReadStream(iso).pipe(response))
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}, 60_000)
afterAll(() => {
  server.closeAllConnections()
  server.close()
  remove()
})
beforeEach(() => {
  count += 1
  home = join(root, `home${count}`)
})

async function oriel(...args: string[]): Promise<{ code: number; out: string; err: string }> {
  let out = ''
  let err = ''
  const io: Io = {
    out: text => {
      out += text
    },
    err: text => {
      err += text
    },
    env: { ORIEL_HOME: home },
    signal: new AbortController().signal,
    terminal: { in: false, out: false, err: false, columns: 100 },
    ask: async () => '',
    exitCode: 0
  }
  return { code: await main(args, io), out, err }
}

test('releases are a table, and JSON', async () => {
  const { code, out } = await oriel('releases')
  expect(code).toBe(0)
  expect(out).toMatch(/^RELEASE +WINDOWS +BUILD +PROCESSOR +CONTAINERS +ENGINE +SIZE +CACHED\n/)
  expect(out).toMatch(/^2025 +Windows Server 2025 +26100\.32230 +x86_64 +ltsc2022, ltsc2025 +29\.7\.2 +8\.2 GB +no$/m)
  expect(out).toMatch(/^11-arm64 +Windows 11 \(experimental\) .* aarch64 .* none /m)
  const listed = JSON.parse((await oriel('releases', '--json')).out)
  expect(listed).toHaveLength(5)
  expect(listed[3]).toMatchObject({ name: '2016', engine: '20.10.23', media: [{ cached: false }] })
})

test('a disc in the cache is shown by its release', async () => {
  mkdirSync(join(home, 'media'), { recursive: true })
  const file = join(home, 'media', 'SERVER_EVAL_x64FRE_en-us.iso')
  writeFileSync(file, readFileSync(iso))
  expect((await oriel('releases')).out).toMatch(/^2022 .* no$/m)
  truncateSync(file, 5_044_094_976)
  expect((await oriel('releases')).out).toMatch(/^2022 .* yes$/m)
  expect((await oriel('media', 'inspect', '2022', '--json')).out).toContain('"build": "20348.587"')
  expect((await oriel('media', 'ls')).out).toMatch(/^SERVER_EVAL_x64FRE_en-us\.iso +5\.0 GB +not checked$/m)
})

test('a disc is fetched, listed, inspected and removed', async () => {
  expect(await oriel('media', 'ls')).toMatchObject({ code: 0, out: '', err: expect.stringContaining('oriel releases') })
  expect(JSON.parse((await oriel('media', 'ls', '--json')).out)).toEqual([])
  const sha256 = createHash('sha256').update(readFileSync(iso)).digest('hex')
  const path = join(home, 'media', 'win server.iso')
  const fetched = await oriel('media', 'fetch', `${url}/win%20server.iso?key=secret`)
  expect(fetched).toMatchObject({ code: 0, out: `${path}\n` })
  expect(fetched.err).toContain(`Its SHA-256 is ${sha256}.\n`)
  expect(fetched.err).not.toContain('secret')
  const again = await oriel('media', 'fetch', `${url}/win%20server.iso?key=secret`, '--sha256', sha256)
  expect(again).toMatchObject({ code: 0, out: `${path}\n`, err: expect.stringContaining('is here already') })
  expect((await oriel('media', 'ls')).out).toMatch(/^FILE +SIZE +STATE\nwin server\.iso +\S+ \S+ +checked\n$/)
  expect(JSON.parse((await oriel('media', 'ls', '--json')).out)).toMatchObject([
    { file: 'win server.iso', sha256, path }
  ])
  const inspected = await oriel('media', 'inspect', 'win server.iso')
  expect(inspected).toMatchObject({ code: 0, err: '' })
  expect(inspected.out).toMatch(
    /^ {2}windows +Windows Server 2022, evaluation\n {2}release +2022\n {2}build +20348\.587$/m
  )
  expect(inspected.out).toMatch(
    /^ {2}3 +Windows Server 2022 Datacenter Evaluation +core +Windows Server 2022 SERVERDATACENTERCORE$/m
  )
  const facts = JSON.parse((await oriel('media', 'inspect', iso, '--json')).out)
  expect(facts).toMatchObject({ path: iso, release: '2022', evaluation: true })
  expect(await oriel('media', 'rm', 'win server.iso')).toMatchObject({
    code: 0,
    out: '',
    err: expect.stringMatching(/^Removed win server\.iso \(/)
  })
  expect((await oriel('media', 'ls', '--json')).out).toBe('[]\n')
})

test('a fetch that fails says why, and leaves stdout empty', async () => {
  const wrong = await oriel('media', 'fetch', `${url}/a.iso`, '-q', '--sha256', randomBytes(32).toString('hex'))
  expect(wrong).toMatchObject({
    code: 1,
    out: '',
    err: expect.stringMatching(/^oriel: a\.iso could not be fetched: .*SHA-256/)
  })
})

test.each([
  [['media'], 'Usage: oriel media COMMAND [options]'],
  [['media', 'list'], "oriel: unknown command 'list'."],
  [['media', 'fetch'], "oriel: missing required argument 'what'.\nSee: oriel media fetch --help\n"],
  [['media', 'fetch', '2012'], 'oriel: there is no Windows release called "2012".\nChoose: 2025, 2022'],
  [['media', 'fetch', 'http://x/'], "oriel: http://x/ has no file's name at its end."],
  [['media', 'fetch', 'http://'], 'oriel: this is not a URL.'],
  [['media', 'fetch', 'http://x/%E0%A4%A.iso'], "oriel: http://x/%E0%A4%A.iso has no file's name"],
  [['media', 'fetch', 'http://x/a.iso', '--sha256', 'abc'], 'oriel: "abc" is not a SHA-256.'],
  [['media', 'fetch', '2025', '--sha256', 'abc'], 'oriel: the SHA-256 of Windows Server 2025 is known'],
  [['media', 'fetch', 'http://x/.hidden'], 'oriel: ".hidden" is not a name for a file in the cache.'],
  [['media', 'inspect', 'none.iso'], 'oriel: there is no file none.iso, here or in the cache.'],
  [['media', 'inspect', '/no/such'], 'oriel: there is no file /no/such.'],
  [['media', 'rm', 'a.iso'], 'oriel: there is no a.iso in'],
  [['releases', 'x'], 'oriel: too many arguments']
])('%j is wrong usage', async (args, words) => {
  const { code, out, err } = await oriel(...args)
  expect(err).toContain(words)
  expect({ code, out }).toEqual({ code: 2, out: '' })
})

test('a release that is not in the cache has nothing to inspect', async () => {
  expect(await oriel('media', 'inspect', '2025')).toMatchObject({
    code: 4,
    err: 'oriel: no disc of Windows Server 2025 is in the cache.\nFetch it: oriel media fetch 2025\n'
  })
})

test.each(['ls', 'fetch', 'inspect', 'rm'])('media %s --help shows examples', async name => {
  const { code, out } = await oriel('media', name, '--help')
  expect(code).toBe(0)
  expect(out).toMatch(new RegExp(`Usage: oriel media ${name} [\\s\\S]*Examples:\\n {2}oriel media ${name}`))
  expect((await oriel('help', 'media', name)).out).toBe(out)
})
