import { createHash } from 'node:crypto'
import { readdirSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { gzipSync } from 'node:zlib'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { Engine } from '#docker/engine.ts'
import { run } from '../support/command.ts'
import { type RealRegistry, startRegistry } from '../support/docker-registry.ts'
import { sendFile, serve, type TestServer } from '../support/file-server.ts'
import { layered, makeHive } from '../support/hive.ts'
import { temporaryFolder } from '../support/installation-disc.ts'
import { useMachine } from '../support/oriel.ts'
import { makeTar, type TestEntry } from '../support/tar.ts'
import { waitFor } from '../support/wait.ts'
import { microsoftLayers, publish, windowsImage } from '../support/windows-image.ts'

const VERSION = '10.0.20348.2700'
const { path: folder, remove } = temporaryFolder()

let registry: RealRegistry
/** What the web server has, by its path. */
const files = new Map<string, Buffer>()
let web: TestServer
beforeAll(async () => {
  registry = await startRegistry(join(folder, 'registry'))
  // Before the machine is there: its agent gets its environment from the command.
  Object.assign(windows.home.env, { ORIEL_BASE_REGISTRY: registry.host })
  web = await serve((request, response) => {
    const content = files.get(request.url ?? '')
    if (content === undefined) response.writeHead(404).end('nothing here')
    else sendFile(content, request, response, request.url?.includes('cut') ? { cutAfter: 600 } : {})
  })
})
const windows = useMachine('import')
afterAll(async () => {
  await Promise.all([registry?.stop(), web?.close()])
  remove()
})

const file = (name: string, text: string): TestEntry => ({ name, data: Buffer.from(text), mtime: '1600000000' })

/** Imports bytes from standard input. */
async function imported(tar: Buffer, name: string, ...options: string[]): Promise<string> {
  const path = join(folder, `${name.replace(/\W/g, '-')}.tar`)
  writeFileSync(path, tar)
  return await windows.out(['import', ...options, path, name])
}

/** What docker says when it refuses to import these entries. */
async function refusal(entries: readonly TestEntry[]): Promise<string> {
  const path = join(folder, 'refused.tar')
  writeFileSync(path, await makeTar(entries))
  const { code, stderr } = await windows.docker(['import', path, 'refused:1'])
  expect(code).toBe(1)
  return stderr
}

const cmd = (image: string, line: string) => windows.out(['run', '--rm', image, 'cmd', '/c', line])

test('a tar of files becomes an image that runs, with the changes and the message that were given', async () => {
  const tar = await makeTar([
    { name: './', type: 'directory' },
    { name: './App', type: 'directory' },
    file('./App/one.txt', 'one'),
    { name: './App/hard.txt', type: 'link', linkname: './App/one.txt' },
    { name: './App/soft.txt', type: 'symlink', linkname: 'one.txt' },
    { name: './Link', type: 'symlink', linkname: 'App' },
    file('./programdata/Tool/two.txt', 'two')
  ])
  const changes = ['ENV GREETING=hello', 'WORKDIR C:\\App', 'CMD ["cmd", "/c", "type one.txt & echo %GREETING%"]']
  const id = await imported(gzipSync(tar), 'files:1', ...changes.flatMap(each => ['-c', each]), '-m', 'from a tar')
  expect(id).toMatch(/^sha256:[0-9a-f]{64}$/)
  expect(await windows.inspectImage('files:1')).toMatchObject({
    Id: id,
    RepoTags: ['files:1'],
    Parent: '',
    Comment: 'from a tar',
    Os: 'windows',
    Config: { Env: ['GREETING=hello'], WorkingDir: 'C:\\App', Cmd: ['cmd', '/c', 'type one.txt & echo %GREETING%'] }
  })
  expect(await windows.out(['run', '--rm', 'files:1'])).toBe('onehello')
  const seen = await cmd('files:1', 'type C:\\app\\HARD.txt C:\\Link\\soft.txt C:\\ProgramData\\tool\\two.txt')
  expect(seen.replace(/\s/g, '')).toContain('one')
  expect(seen).toContain('two')
  const rows = await windows.out(['history', '--format', '{{.CreatedBy}}|{{.Comment}}|{{.Size}}', 'files:1'])
  expect(rows.split('\n')).toEqual([
    expect.stringMatching(/^\|from a tar\|[1-9]/),
    expect.stringMatching(/^Install update .*\|\|0B$/),
    expect.stringMatching(/^Apply image .*\|\|\d+MB$/)
  ])
  expect(await windows.out(['images', '--format', '{{.Repository}}:{{.Tag}}', 'files'])).toBe('files:1')
})

test('without a command there is none, and the message is docker own', async () => {
  const id = await imported(await makeTar([file('a.txt', 'a')]), 'plain')
  expect((await windows.inspectImage('plain')).Comment).toBe('Imported from -')
  expect((await windows.docker(['run', '--rm', 'plain'])).stderr).toMatch(/no command specified/i)
  expect(await cmd(id, 'type C:\\a.txt')).toBe('a')
})

test('an image is built on an imported one, with both in its history', async () => {
  const context = join(folder, 'built')
  await run('mkdir', ['-p', context])
  writeFileSync(join(context, 'Dockerfile'), 'FROM files:1\nRUN echo more> more.txt\nENV A=1\n')
  await windows.out(['build', '-t', 'built:1', context])
  expect(await cmd('built:1', 'type one.txt more.txt')).toContain('more')
  const rows = await windows.out(['history', '--format', '{{.CreatedBy}}|{{.Comment}}', '--no-trunc', 'built:1'])
  expect(rows.split('\n')).toEqual([
    expect.stringContaining('ENV A=1'),
    expect.stringContaining('echo more'),
    '|from a tar',
    expect.stringMatching(/^Install update/),
    expect.stringMatching(/^Apply image/)
  ])
})

test('the drive of a container comes back as an image: docker export, docker cp, and the export of the Linux engine', async () => {
  const script =
    'mkdir C:\\App & echo mine> C:\\App\\a.txt & echo 1.2.3.4 here>> C:\\windows\\system32\\drivers\\etc\\hosts'
  await windows.out(['run', '--name', 'box', 'nanoserver', 'cmd', '/c', script])
  for (const [name, source] of [
    ['copied:1', `--context ${windows.context} cp box:'C:\\' -`],
    ['copied:2', `--context ${windows.context} cp box:'C:\\.' -`],
    ['exported:1', `--context ${windows.context} export box`],
    ['exported:2', `-H ${windows.engine} export box`]
  ] as const) {
    const line = `docker ${source} | docker --context ${windows.context} import - ${name}`
    const { code, stdout, stderr } = await run('sh', ['-c', line], { env: windows.home.env, timeoutMs: 100_000 })
    expect([code, stderr]).toEqual([0, ''])
    expect(stdout).toMatch(/^sha256:/)
    expect(await cmd(name, 'type C:\\App\\a.txt & type C:\\windows\\system32\\drivers\\etc\\hosts & ver')).toMatch(
      /mine[\s\S]*1\.2\.3\.4 here[\s\S]*20348/
    )
    // What the base has is not there a second time.
    const sizes = await windows.out(['history', '--format', '{{.Size}}', '--human=false', name])
    expect(Number(sizes.split('\n')[0])).toBeGreaterThan(0)
    expect(Number(sizes.split('\n')[0])).toBeLessThan(100_000)
  }
})

test('docker export gives the C: drive and nothing else, without volumes', async () => {
  const script = 'mkdir C:\\App & echo mine> C:\\App\\a.txt & echo kept> C:\\data\\b.txt'
  await windows.out(['run', '--name', 'box2', '-v', 'kept:C:\\data', 'nanoserver', 'cmd', '/c', script])
  const path = join(folder, 'drive.tar')
  await windows.out(['export', '-o', path, 'box2'])
  const { stdout } = await run('tar', ['-tf', path])
  const names = stdout.split('\n')
  expect(names).toContain('App/a.txt')
  expect(names).toContain('windows/system32/ntdll.dll')
  expect(names.filter(name => /^(\.|\/|c\/|usr|etc|oriel)/.test(name))).toEqual([])
  expect(names.filter(name => name.startsWith('data'))).toEqual(['data/'])
  expect((await run('tar', ['-xOf', path, 'App/a.txt'])).stdout.trim()).toBe('mine')
  const { code, stderr } = await windows.docker(['export', 'nobody'])
  expect([code, stderr]).toEqual([1, expect.stringContaining('No such container: nobody')])
})

test('a Windows layer keeps its registry', async () => {
  const system = await makeHive([
    ...['add ControlSet001', 'cd \\ControlSet001', 'add Control', 'cd \\ControlSet001\\Control', 'add Session Manager'],
    ...['cd \\ControlSet001\\Control\\Session Manager', 'add Environment'],
    'cd \\ControlSet001\\Control\\Session Manager\\Environment',
    ...['setval 1', 'SET_BY', 'string:setx on Windows']
  ])
  const tar = await makeTar([
    { name: 'Files', type: 'directory' },
    { name: 'Hives', type: 'directory' },
    { name: 'Hives/SYSTEM_DELTA', data: layered(system) },
    { ...file('Files/App/one.txt', 'one\r\n'), pax: { 'MSWINDOWS.fileattr': '32' } }
  ])
  await imported(tar, 'layer:1')
  expect(await cmd('layer:1', 'type C:\\App\\one.txt & echo %SET_BY%')).toBe('one\nsetx on Windows')
})

test('of a real Windows all is taken but the folder Windows, and so it still runs', async () => {
  const entries = [
    file('Windows/System32/ntdll.dll', 'of a real Windows'),
    file('Windows/System32/cmd.exe', 'of a real Windows'),
    file('App/a.txt', 'mine')
  ]
  await imported(await makeTar(entries), 'real:1')
  expect(await cmd('real:1', 'type C:\\App\\a.txt')).toBe('mine')
})

test('an imported image is pushed and saved on the real base, with its layer and its comment', async () => {
  const layers = await microsoftLayers(VERSION)
  const base = windowsImage(layers, VERSION, { Cmd: ['c:\\windows\\system32\\cmd.exe'] })
  await publish(`${registry.host}/windows/servercore:ltsc2022`, base)
  // A registry that people push to has the base from one who pushed from Windows.
  await publish(`${registry.host}/team/app:base`, base)
  const name = `${registry.host}/team/app:1`
  await windows.out(['tag', 'copied:2', name])
  expect(await windows.out(['push', name])).toMatch(/digest: sha256:/)
  const path = join(folder, 'saved.tar')
  await windows.out(['save', '-o', path, name])
  const { stdout } = await run('tar', ['xOf', path, 'manifest.json'])
  const [{ Config, Layers }] = JSON.parse(stdout) as [{ Config: string; Layers: string[] }]
  const config = JSON.parse((await run('tar', ['xOf', path, Config])).stdout)
  expect(config).toMatchObject({
    os: 'windows',
    history: expect.arrayContaining([{ created: expect.anything(), created_by: '', comment: 'Imported from -' }])
  })
  expect(Layers).toHaveLength(config.rootfs.diff_ids.length)
  const layer = join(folder, 'layer.tar')
  await run('sh', ['-c', `tar xOf '${path}' '${Layers.at(-1)}' > '${layer}'`])
  const names = (await run('tar', ['tf', layer])).stdout.split('\n')
  expect(names).toContain('Files/App/a.txt')
  // Nothing of Wine's Windows lands on a real one.
  const system = names.filter(each => /system32/i.test(each) && !each.endsWith('/'))
  expect(system).toEqual(['Files/windows/system32/drivers/etc/hosts'])
})

test('a URL is fetched, with its progress', async () => {
  const tar = gzipSync(await makeTar([file('a.txt', 'from the web')]))
  files.set('/x.tar', tar)
  const lines = (await windows.out(['import', `${web.url}/x.tar`, 'web:1'])).split('\n')
  expect(lines[0]).toBe(`Downloading from ${web.url}/x.tar`)
  expect(lines.at(-1)).toMatch(/^sha256:/)
  expect(await cmd('web:1', 'type C:\\a.txt')).toBe('from the web')
  // Docker takes an address without a scheme for http; its client takes it for a file.
  const address = `${web.url.replace('http://', '')}/x.tar`
  const query = new URLSearchParams({ fromSrc: address, repo: 'web', tag: '2' })
  const answer = await new Engine({ kind: 'unix', path: windows.socket }).request('POST', `/images/create?${query}`)
  const messages = (await text(answer.body))
    .trim()
    .split('\r\n')
    .map(line => JSON.parse(line))
  expect(messages[0]).toEqual({ status: `Downloading from ${web.url}/x.tar` })
  expect(messages[1]).toEqual({ status: 'Importing', progressDetail: { current: tar.length, total: tar.length } })
  expect(messages.slice(2)).toEqual([{ status: expect.stringMatching(/^sha256:/) }])
  expect((await windows.inspectImage('web:2')).Comment).toBe(`Imported from ${address}`)
})

test('what cannot be imported is refused in words, and leaves nothing', async () => {
  const before = await state()
  expect(await refusal([file('../a.txt', 'x')])).toMatch(/leads out of its folder/)
  expect(await refusal([file('/etc/passwd', 'x')])).toMatch(/absolute path/)
  expect(await refusal([{ name: 'a', type: 'symlink', linkname: '../../etc' }])).toMatch(/leads out of the drive/)
  expect(await refusal([{ name: 'a', type: 'symlink', linkname: '/etc/passwd' }])).toMatch(/leads out of the drive/)
  expect(await refusal([{ name: 'a', type: 'link', linkname: '../b' }])).toMatch(/leads out of its folder/)
  expect(await refusal([file('a:b', 'x')])).toMatch(/no name of a file on Windows/)
  expect(await refusal([{ name: 'a', type: 'link', linkname: 'not-there' }])).toMatch(/not-there/)
  expect(await refusal([])).toMatch(/it is empty/)
  const whole = await makeTar([file('a.txt', 'x'.repeat(5000))])
  await expect(imported(whole.subarray(0, 2000), 'cut:1')).rejects.toThrow(/the tar cannot be imported: .*cut off/)
  await expect(imported(gzipSync(whole).subarray(0, 50), 'cut:2')).rejects.toThrow(/the tar cannot be imported/)
  await expect(imported(Buffer.alloc(3000, 'no tar'), 'cut:3')).rejects.toThrow(/no tar/)
  files.set('/cut.tar', Buffer.concat([await makeTar([file('a.txt', 'x'.repeat(5000))])]))
  await expect(windows.out(['import', `${web.url}/cut.tar`, 'cut:4'])).rejects.toThrow(/unexpected EOF/)
  await expect(windows.out(['import', `${web.url}/none.tar?token=of-mine`, 'cut:5'])).rejects.toThrow(
    /failed to GET .*none\.tar with status 404 Not Found: nothing here/
  )
  await expect(windows.out(['import', 'http://127.0.0.1:1/x', 'cut:6'])).rejects.toThrow(/connection refused/)
  await expect(imported(whole, 'Upper:1')).rejects.toThrow(/must be lowercase/)
  await expect(imported(whole, 'bad:1', '-c', 'RUN x')).rejects.toThrow(/run is not a valid change command/)
  await expect(imported(whole, 'bad:1', '--platform', 'linux/amd64')).rejects.toThrow(/not supported/)
  expect(await state()).toEqual(before)
})

test('a client that goes away in the middle leaves nothing', async () => {
  const before = await state()
  const socket = connect(windows.socket)
  const lines = ['POST /v1.41/images/create?fromSrc=-&repo=gone HTTP/1.1', 'Host: x', 'Content-Length: 100000', '', '']
  socket.write(lines.join('\r\n'))
  socket.write((await makeTar([file('a.txt', 'x'.repeat(50_000))])).subarray(0, 20_000))
  await waitFor(async () => (await state()).work.length > 0, 10_000, 'the import has begun')
  socket.destroy()
  await waitFor(async () => (await state()).work.length === 0, 10_000, 'the import has ended')
  expect(await state()).toEqual(before)
})

/** All that an import may leave behind. */
async function state(): Promise<{ images: string; containers: string; work: string[] }> {
  const images = await run('docker', ['-H', windows.engine, 'images', '-aq'])
  const containers = await run('docker', ['-H', windows.engine, 'ps', '-aq'])
  const work = readdirSync(windows.home.root, { recursive: true })
    .map(String)
    .filter(name => name.includes('archive-'))
  return { images: digest(images.stdout), containers: containers.stdout, work }
}

const digest = (text: string) => createHash('sha256').update(text.split('\n').sort().join('\n')).digest('hex')

test('an image that is removed takes its layer along', async () => {
  const engineImages = async () =>
    (await run('docker', ['-H', windows.engine, 'images', '-aq', '--no-trunc'])).stdout.split('\n')
  const before = new Set(await engineImages())
  const id = await imported(await makeTar([file('gone.txt', 'gone')]), 'gone:1')
  expect((await engineImages()).filter(each => !before.has(each))).toHaveLength(2)
  expect(await windows.out(['rmi', 'gone:1'])).toContain(id)
  expect((await engineImages()).filter(each => !before.has(each))).toEqual([])
})
