import { mkdirSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, inject, test } from 'vitest'
import { PROJECT, run, runOk } from '../support/command.ts'
import { temporaryHome } from '../support/home.ts'

const home = temporaryHome()
const prefix = join(home.root, 'prefix')
const installed = join(prefix, 'bin', 'oriel')
const oriel = (...args: string[]) => run(installed, args, { env: home.env, cwd: home.root, timeoutMs: 300_000 })

beforeAll(async () => {
  const packed = join(home.root, 'packed')
  mkdirSync(packed)
  // The build is there already; making it anew under the feet of the other tests would break them.
  await runOk('npm', ['pack', '--ignore-scripts', '--loglevel=error', '--pack-destination', packed])
  const [tarball = ''] = readdirSync(packed)
  await runOk('npm', [
    'install',
    '-g',
    '--prefix',
    prefix,
    '--no-audit',
    '--no-fund',
    '--loglevel=error',
    join(packed, tarball)
  ])
}, 300_000)

afterAll(async () => {
  await oriel('rm', '--force', 'packed')
  home.remove()
}, 60_000)

test('the package has what it needs to run, and nothing else', () => {
  const root = join(prefix, 'lib', 'node_modules', 'oriel')
  const files = readdirSync(root, { recursive: true })
    .map(String)
    .filter(name => !name.startsWith('node_modules'))
  expect(files).toEqual(
    expect.arrayContaining([
      'bin/oriel.js',
      'dist/cli.js',
      'dist/agent.js',
      'guest/wine/Dockerfile',
      'guest/windows/setup.ps1',
      'LICENSE',
      'README.md'
    ])
  )
  expect(files.filter(name => /^(src|test|bench|scripts)\b/.test(name))).toEqual([])
})

test('oriel --version is that of the package', async () => {
  const { version } = JSON.parse(readFileSync(join(PROJECT, 'package.json'), 'utf8'))
  expect((await oriel('--version')).stdout).toContain(version)
})

test('the installed command brings a machine up, from any folder', async () => {
  const up = await oriel('up', 'packed', '--engine', inject('engine'))
  expect(`${up.code}\n${up.stdout}${up.stderr}`).toMatch(/^0\n/)
  const args = ['--context', 'oriel-packed', 'run', '--rm', 'nanoserver', 'cmd', '/c', 'echo packed']
  expect(await runOk('docker', args, { env: home.env })).toMatch(/^packed\r?\n$/m)
}, 300_000)
