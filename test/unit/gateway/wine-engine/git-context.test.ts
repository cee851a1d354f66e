import { type ChildProcess, spawn } from 'node:child_process'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { createServer as createTcpServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { parseGitPlace, withGitContext } from '#gateway/wine-engine/git-context.ts'
import { ImageStore } from '#gateway/wine-engine/image-store.ts'
import { runOk } from '../../../support/command.ts'
import { serve, type TestServer } from '../../../support/file-server.ts'
import { readTar } from '../../../support/tar.ts'
import { freePort, waitFor } from '../../../support/wait.ts'
import { fakeContext } from './fake-context.ts'

const folder = mkdtempSync(join(tmpdir(), 'oriel-git-'))
const source = join(folder, 'source')
const served = join(folder, 'served')
const ME = ['-c', 'user.name=me', '-c', 'user.email=me@example.com', '-c', 'protocol.file.allow=always']
const git = async (...args: string[]) => (await runOk('git', [...ME, '-C', source, ...args])).trim()

function write(path: string, text: string): void {
  mkdirSync(dirname(join(source, path)), { recursive: true })
  writeFileSync(join(source, path), text)
}

let daemon: ChildProcess
/** Of git's own daemon, and of a plain web server. */
let smart = ''
let web: TestServer
let first = ''

beforeAll(async () => {
  mkdirSync(source)
  await git('init', '-q', '-b', 'trunk')
  write('Dockerfile', 'FROM one')
  await git('add', '.')
  await git('commit', '-qm', 'one')
  first = await git('rev-parse', 'HEAD')
  await git('tag', 'v1')
  write('Dockerfile', 'FROM two')
  write('app/Dockerfile', 'FROM app')
  write('app/.dockerignore', '*.log\ndeep\n!deep/kept.txt\nDockerfile\n')
  for (const name of ['app/a.log', 'app/a.txt', 'app/deep/gone.txt', 'app/deep/kept.txt']) write(name, name)
  symlinkSync('a.txt', join(source, 'app/link'))
  symlinkSync('/etc', join(source, 'outside'))
  await git('add', '.')
  await git('commit', '-qm', 'two')
  await git('checkout', '-q', '-b', 'side')
  write('side.txt', 'side')
  await git('add', '.')
  await git('commit', '-qm', 'side')
  await git('checkout', '-q', 'trunk')
  mkdirSync(served)
  await git('clone', '-q', '--bare', source, join(served, 'repo.git'))
  await runOk('git', ['-C', join(served, 'repo.git'), 'update-server-info'])
  web = await serve((request, response) => {
    try {
      response.end(readFileSync(join(served, new URL(request.url ?? '', 'http://x').pathname)))
    } catch {
      response.writeHead(404).end()
    }
  })
  const port = await freePort()
  const listen = ['--listen=127.0.0.1', `--port=${port}`]
  daemon = spawn('git', ['daemon', '--export-all', '--reuseaddr', `--base-path=${served}`, ...listen, served], {
    stdio: 'ignore',
    detached: true
  })
  smart = `git://127.0.0.1:${port}/repo.git`
  await waitFor(() => runOk('git', ['ls-remote', smart]), 20_000, 'git daemon')
}, 60_000)

afterAll(async () => {
  // git starts the daemon as a child of its own.
  if (daemon.pid !== undefined) process.kill(-daemon.pid)
  await web.close()
  rmSync(folder, { recursive: true, force: true })
})

const images = join(folder, 'images')

/** What the context has, by its names. */
async function contextOf(remote: string, options: { env?: NodeJS.ProcessEnv; signal?: AbortSignal } = {}) {
  const { context } = fakeContext(() => ({ json: { ID: 'x' } }))
  const store = new ImageStore(images, context.engine, { ...process.env, ...options.env })
  const signal = options.signal ?? new AbortController().signal
  const entries = await withGitContext({ ...context, images: store }, remote, 'Dockerfile', signal, readTar)
  return Object.fromEntries(entries.map(({ name, data, linkname }) => [name, linkname || data.toString()]))
}

/** Folders that a build has left. */
function left(): string[] {
  return readdirSync(images, { recursive: true })
    .map(String)
    .filter(name => name.includes('archive-'))
}

describe.each([
  ['git daemon', () => smart],
  ['a plain web server', () => `${web.url}/repo.git`]
])('of %s', (_name, url) => {
  test('the first branch is the context, without .git', async () => {
    const files = await contextOf(url())
    expect(files).toMatchObject({ Dockerfile: 'FROM two', 'app/a.log': 'app/a.log', 'app/link': 'a.txt' })
    expect(Object.keys(files).filter(name => name.startsWith('.git'))).toEqual([])
    expect(left()).toEqual([])
  })

  test.each(['v1', () => first, () => first.slice(0, 10)])('a tag or a commit: %s', async ref => {
    const files = await contextOf(`${url()}#${typeof ref === 'string' ? ref : ref()}`)
    expect(files).toEqual({ Dockerfile: 'FROM one' })
  })

  test('a branch', async () => {
    expect(await contextOf(`${url()}#side`)).toMatchObject({ 'side.txt': 'side' })
  })

  test('a folder of it, without what .dockerignore names', async () => {
    const ignore = '*.log\ndeep\n!deep/kept.txt\nDockerfile\n'
    expect(await contextOf(`${url()}#trunk:app`)).toEqual({
      '.dockerignore': ignore,
      // The builder needs it.
      Dockerfile: 'FROM app',
      'a.txt': 'app/a.txt',
      'deep/kept.txt': 'app/deep/kept.txt',
      link: 'a.txt'
    })
    expect(Object.keys(await contextOf(`${url()}#:app`))).toContain('a.txt')
  })
})

test.each<[string, RegExp]>([
  ['#no-such-ref', /error fetching: .*no-such-ref/],
  ['#:no-folder', /no such folder: no-folder/],
  ['#:Dockerfile', /not a directory: Dockerfile/],
  ['#:outside', /leads out of the repository: outside/],
  ['#:../..', /leads out of the repository/],
  ['#--upload-pack=touch x', /invalid refspec: --upload-pack/]
])('%s is refused, and leaves nothing', async (fragment, message) => {
  await expect(contextOf(smart + fragment)).rejects.toThrow(message)
  expect(left()).toEqual([])
})

test('a server that wants a password is told of, without the one that was given', async () => {
  const locked = await serve((_request, response) => response.writeHead(401, { 'WWW-Authenticate': 'Basic' }).end())
  const remote = locked.url.replace('//', '//me:secret@')
  const failure = await contextOf(`${remote}/x.git`).catch(String)
  await locked.close()
  expect(failure).toMatch(/error fetching: /)
  expect(failure).not.toContain('secret')
})

test('submodules come along, and none of this host', async () => {
  await git('checkout', '-q', '-b', 'with-module')
  await git('submodule', '--quiet', 'add', smart, 'module')
  await git('commit', '-qm', 'module')
  await git('push', '-q', join(served, 'repo.git'), 'with-module')
  expect(await contextOf(`${smart}#with-module`)).toMatchObject({ 'module/Dockerfile': 'FROM two' })
  await git('checkout', '-q', '-b', 'evil')
  await git('submodule', '--quiet', 'add', source, 'host')
  await git('commit', '-qm', 'evil')
  await git('push', '-q', join(served, 'repo.git'), 'evil')
  await git('checkout', '-q', 'trunk')
  await expect(contextOf(`${smart}#evil`)).rejects.toThrow(/transport 'file' not allowed/)
})

test('without git there is a clear error', async () => {
  await expect(contextOf(smart, { env: { PATH: '/nowhere' } })).rejects.toThrow(
    /cannot build from a Git repository: git is not installed/
  )
})

test('a build that is cancelled ends git, and takes its folder away', async () => {
  const gone = new AbortController()
  const sockets: Socket[] = []
  let closed = 0
  // Takes connections and says nothing.
  const silent = createTcpServer(socket => {
    sockets.push(socket)
    socket.resume().once('close', () => closed++)
  })
  await new Promise<void>(resolve => silent.listen(0, '127.0.0.1', resolve))
  const { port } = silent.address() as { port: number }
  const asked = contextOf(`http://127.0.0.1:${port}/x.git`, { signal: gone.signal })
  await waitFor(() => sockets.length > 0, 5000, 'git connects')
  gone.abort()
  await expect(asked).rejects.toThrow()
  await waitFor(() => closed > 0, 5000, 'git has ended')
  expect(left()).toEqual([])
  silent.close()
})

test.each([
  ['https://x.y/a.git', { url: 'https://x.y/a.git', ref: '', folder: '' }],
  ['github.com/a/b#main:sub/dir', { url: 'https://github.com/a/b', ref: 'main', folder: 'sub/dir' }],
  ['git@github.com:a/b.git#:c', { url: 'git@github.com:a/b.git', ref: '', folder: 'c' }]
])('%s', (remote, place) => {
  expect(parseGitPlace(remote)).toEqual(place)
})
