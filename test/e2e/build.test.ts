import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { text } from 'node:stream/consumers'
import { expect, test } from 'vitest'
import { Engine } from '#docker/engine.ts'
import { run } from '../support/command.ts'
import { serve } from '../support/file-server.ts'
import { useMachine } from '../support/oriel.ts'

const windows = useMachine('build')
let contexts = 0

/** Makes a build context of these files, the Dockerfile among them. */
function context(files: Record<string, string>): string {
  const folder = join(windows.home.root, `context-${contexts++}`)
  for (const [name, content] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, name)), { recursive: true })
    writeFileSync(join(folder, name), content)
  }
  return folder
}

async function build(tag: string, files: Record<string, string>, ...options: string[]): Promise<string> {
  const { code, stdout, stderr } = await windows.docker(['build', '-t', tag, ...options, context(files)])
  if (code !== 0) throw new Error(`docker build ended with ${code}:\n${stdout}${stderr}`)
  return stdout
}

const FILES = {
  Dockerfile: `# escape=\`
ARG RELEASE=ltsc2022
FROM mcr.microsoft.com/windows/servercore:\${RELEASE}
LABEL maker="the tests" \`
      kind=fixture
ARG COLOUR=red
ENV COLOUR=\${COLOUR} PLACE="C:\\Program Files\\App"
WORKDIR C:\\App
COPY one.txt .
COPY folder C:\\App\\Sub\\
ADD archive.tar C:\\Unpacked\\
RUN echo shell form %COLOUR%> said.txt& \`
    mkdir made
RUN ["cmd", "/c", "echo exec form > exec.txt"]
VOLUME C:\\state
EXPOSE 80 9000/udp
USER ContainerUser
ENTRYPOINT ["cmd", "/c"]
CMD ["type C:\\\\App\\\\said.txt"]
`,
  'one.txt': 'one',
  'folder/Deep/two.txt': 'two'
}

test('every instruction of a first Dockerfile', async () => {
  const folder = context(FILES)
  await run('tar', ['-C', folder, '-cf', join(folder, 'archive.tar'), 'one.txt'])
  await windows.out(['build', '-t', 'oriel-test/whole', '--build-arg', 'COLOUR=deep blue', folder])

  expect(await windows.out(['run', '--rm', 'oriel-test/whole'])).toBe('shell form deep blue')
  const type = (path: string) => windows.out(['run', '--rm', 'oriel-test/whole', `type ${path}`])
  expect(await type('C:\\App\\one.txt')).toBe('one')
  expect(await type('c:\\app\\sub\\DEEP\\two.txt')).toBe('two')
  expect(await type('C:\\Unpacked\\one.txt')).toBe('one')
  expect((await type('exec.txt')).trim()).toBe('exec form')
  expect(await windows.out(['run', '--rm', 'oriel-test/whole', 'echo %PLACE% %USERNAME%& cd'])).toBe(
    'C:\\Program Files\\App ContainerUser\nC:\\App'
  )

  const { Config } = await windows.inspectImage('oriel-test/whole')
  expect(Config).toMatchObject({
    Labels: { maker: 'the tests', kind: 'fixture' },
    WorkingDir: 'C:\\App',
    User: 'ContainerUser',
    Entrypoint: ['cmd', '/c'],
    Cmd: ['type C:\\App\\said.txt'],
    ExposedPorts: { '80/tcp': {}, '9000/udp': {} },
    Volumes: { 'C:\\state': {} }
  })
  expect(Config.Env).toEqual(expect.arrayContaining(['COLOUR=deep blue', 'PLACE=C:\\Program Files\\App']))
  expect(JSON.stringify(Config)).not.toMatch(/oriel\/|drive_c/)
  const history = await windows.out(['history', '--no-trunc', 'oriel-test/whole'])
  expect(history).toMatch(/RUN echo shell form|cmd \/S \/C echo shell form/)
  expect(history).not.toMatch(/\/oriel|drive_c/)
})

test('the second build takes every step from the cache', async () => {
  const files = { Dockerfile: 'FROM nanoserver\nCOPY a.txt .\nRUN echo built> b.txt\n', 'a.txt': 'a' }
  const folder = context(files)
  await windows.out(['build', '-t', 'oriel-test/cached', folder])
  const first = await windows.out(['images', '-q', '--no-trunc', 'oriel-test/cached'])
  const said = await windows.out(['build', '-t', 'oriel-test/cached', folder])
  expect(said).toMatch(/Using cache/)
  expect(await windows.out(['images', '-q', '--no-trunc', 'oriel-test/cached'])).toBe(first)

  writeFileSync(join(folder, 'a.txt'), 'changed')
  await windows.out(['build', '-t', 'oriel-test/cached', folder])
  expect(await windows.out(['run', '--rm', 'oriel-test/cached', 'cmd', '/c', 'type C:\\a.txt'])).toBe('changed')
})

test('steps are shown as they were written', async () => {
  // A step that no earlier run of the tests can have left in the engine's cache.
  const words = `in step ${Date.now()}`
  const said = await build('oriel-test/shown', { Dockerfile: `FROM nanoserver\nRUN echo ${words}\n` })
  expect(said).toMatch(/Step 1\/2 : FROM nanoserver/)
  expect(said).toContain(`Step 2/2 : RUN echo ${words}`)
  expect(said).toMatch(new RegExp(`^${words}\\s*$`, 'm'))
  expect(said).not.toMatch(/\/oriel\/|drive_c|dev\.oriel/)
})

test('a step that fails ends the build with its exit code', async () => {
  const folder = context({ Dockerfile: 'FROM nanoserver\nRUN exit 3\n' })
  const { code, stderr } = await windows.docker(['build', folder])
  expect(code).not.toBe(0)
  expect(stderr).toMatch(/returned a non-zero code: 3/)
  expect(stderr).not.toMatch(/\/oriel/)
})

test('what a step writes to the registry is in the image', async () => {
  const dockerfile = 'FROM windowsservercore\nRUN reg add HKLM\\Software\\Built /v Answer /d 42 /f\n'
  await build('oriel-test/registry', { Dockerfile: dockerfile })
  const said = await windows.out(['run', '--rm', 'oriel-test/registry', 'reg', 'query', 'HKLM\\Software\\Built'])
  expect(said).toMatch(/Answer\s+REG_SZ\s+42/)
})

test('an image of ours is the base of the next', async () => {
  await build('oriel-test/parent', {
    Dockerfile: '# escape=`\nFROM nanoserver\nWORKDIR C:\\Base\nENV FROM_PARENT=yes\n'
  })
  await build('oriel-test/child', {
    Dockerfile: '# escape=`\nFROM oriel-test/parent\nCOPY x.txt C:\\base\\x.txt\n',
    'x.txt': 'x'
  })
  const said = await windows.out([
    'run',
    '--rm',
    'oriel-test/child',
    'cmd',
    '/c',
    'cd& echo %FROM_PARENT%& type x.txt& dir /b'
  ])
  expect(said.split('\n').map(line => line.trim())).toEqual(['C:\\Base', 'yes', 'xx.txt'])
})

test('-f, a Dockerfile from standard input, and .dockerignore', async () => {
  const folder = context({
    'other/Dockerfile.win': 'FROM nanoserver\nCOPY . C:/all/\n',
    '.dockerignore': 'secret.txt\n',
    'secret.txt': 'secret',
    'open.txt': 'open'
  })
  await windows.out(['build', '-t', 'oriel-test/other', '-f', join(folder, 'other', 'Dockerfile.win'), folder])
  const listed = await windows.out(['run', '--rm', 'oriel-test/other', 'cmd', '/c', 'dir /b C:\\all'])
  expect(listed).toContain('open.txt')
  expect(listed).not.toContain('secret')
  await windows.out(['build', '-t', 'oriel-test/stdin', '-'], { input: 'FROM nanoserver\nRUN echo x> C:\\x.txt\n' })
})

test('what a client names by a URL: a Git repository, an archive, a Dockerfile', async () => {
  const folder = context({
    'sub/Dockerfile': 'FROM nanoserver\nCOPY . C:/all/\n',
    'sub/.dockerignore': 'secret.txt\n',
    'sub/secret.txt': 'secret',
    'sub/open.txt': 'open'
  })
  const me = ['-c', 'user.name=me', '-c', 'user.email=me@example.com']
  for (const args of [['init', '-q'], ['add', '.'], ['commit', '-qm', 'all'], ['update-server-info']]) {
    expect((await run('git', [...me, '-C', folder, ...args])).code).toBe(0)
  }
  await run('tar', ['-C', join(folder, 'sub'), '-czf', join(folder, 'context.tgz'), '.'])
  const web = await serve((request, response) => {
    const path = join(folder, new URL(request.url ?? '', 'http://x').pathname.replace('/repo.git/', '/.git/'))
    if (existsSync(path)) response.end(readFileSync(path))
    else response.writeHead(404).end()
  })
  const engine = new Engine({ kind: 'unix', path: windows.socket })
  for (const [tag, remote, lists] of [
    ['git', '/repo.git#:sub', /open.txt/],
    ['archive', '/context.tgz', /open.txt/],
    ['dockerfile', '/sub/Dockerfile', /^Dockerfile$/]
  ] as const) {
    const query = new URLSearchParams({ t: `oriel-test/${tag}`, remote: `${web.url}${remote}` })
    const answer = await engine.request('POST', `/build?${query}`, { timeoutMs: 0 })
    expect(await text(answer.body)).toContain(`Successfully tagged oriel-test/${tag}:latest`)
    const listed = await windows.docker(['run', '--rm', `oriel-test/${tag}`, 'cmd', '/c', 'dir /b C:\\all'])
    expect(listed.stdout.replace(/\s+/g, ' ').trim()).toMatch(lists)
    if (tag === 'git') expect(listed.stdout).not.toMatch(/secret|\.git/)
  }
  await web.close()
})

test.each([
  ['a Linux base', 'FROM debian:trixie-slim\n', /linux/],
  ['scratch', 'FROM scratch\nCOPY a C:/a\n', /scratch/i],
  ['an unknown instruction', 'FROM nanoserver\nFLY away\n', /unknown instruction: FLY/i],
  ['a missing file', 'FROM nanoserver\nCOPY missing.txt C:/x\n', /missing\.txt/],
  ['an unknown release', 'FROM mcr.microsoft.com/windows/nanoserver:ltsc1999\n', /ltsc1999/],
  ['powershell', 'FROM windowsservercore\nSHELL ["powershell", "-Command"]\nRUN Get-Item .\n', /powershell/i]
])('%s is refused by name', async (_what, dockerfile, words) => {
  const { code, stderr, stdout } = await windows.docker(['build', context({ Dockerfile: dockerfile, a: 'a' })])
  expect(code).not.toBe(0)
  expect(stderr || stdout).toMatch(words)
  expect(`${stdout}${stderr}`).not.toMatch(/\/oriel\/|drive_c/)
})
