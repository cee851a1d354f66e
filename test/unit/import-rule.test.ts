import { spawnSync } from 'node:child_process'
import {
  cpSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  writeFileSync
} from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, expect, test } from 'vitest'

const PROJECT = fileURLToPath(new URL('../..', import.meta.url))
const folder = realpathSync(mkdtempSync(join(tmpdir(), 'oriel-rule-')))

beforeAll(() => {
  cpSync(join(PROJECT, 'test', 'fixtures', 'import-rule'), folder, { recursive: true })
  const config = JSON.parse(readFileSync(join(PROJECT, 'biome.json'), 'utf8'))
  // The copy lies in no repository.
  writeFileSync(join(folder, 'biome.json'), JSON.stringify({ ...config, $schema: undefined, vcs: { enabled: false } }))
})

afterAll(() => rmSync(folder, { recursive: true, force: true }))

/** What the project's own lint rules say of a file of the fixture. */
function lint(file: string): { code: number | null; said: string } {
  const biome = join(PROJECT, 'node_modules', '.bin', 'biome')
  const { status, stdout, stderr } = spawnSync(biome, ['lint', '--colors=off', join('src', file)], {
    cwd: folder,
    encoding: 'utf8'
  })
  return { code: status, said: stdout + stderr }
}

test.each([
  ['lib/upward.ts', 'lib/ may import only lib'],
  ['cli/dynamic.ts', 'cli/ may import only cli, machine, lib'],
  ['net/parent.ts', 'Cross rooms with #room/file.ts'],
  ['gateway/proxy/knows-docker.ts', 'proxy/ moves bytes and knows nothing of Docker'],
  ['docker/cycle-first.ts', 'noImportCycles']
])('the import rule fails for %s', (file, words) => {
  const { code, said } = lint(file)
  expect(said).toContain(words)
  expect(code).toBe(1)
})

test('the import rule lets pass what it allows', () => {
  expect(lint('machine/allowed.ts')).toMatchObject({ code: 0 })
})

test('oriel --help loads none of the heavy libraries', () => {
  if (!existsSync(join(PROJECT, 'dist', 'meta.json'))) {
    expect(spawnSync('npm', ['run', 'build'], { cwd: PROJECT, encoding: 'utf8' })).toMatchObject({ status: 0 })
  }
  const coverage = join(folder, 'coverage')
  const { status } = spawnSync(process.execPath, [join(PROJECT, 'bin', 'oriel.js'), '--help'], {
    env: { ...process.env, NODE_V8_COVERAGE: coverage }
  })
  expect(status).toBe(0)
  const { result } = JSON.parse(readFileSync(join(coverage, readdirSync(coverage)[0] ?? ''), 'utf8'))
  const loaded = (result as { url: string }[]).map(({ url }) => basename(url))
  const { outputs } = JSON.parse(readFileSync(join(PROJECT, 'dist', 'meta.json'), 'utf8'))
  const sources = Object.entries(outputs as Record<string, { inputs: object }>)
    .filter(([file]) => loaded.includes(basename(file)))
    .flatMap(([, { inputs }]) => Object.keys(inputs))
  expect(sources).toContain('src/cli/main.ts')
  expect(sources.filter(file => /node_modules\/(yaml|valibot|tar-stream|proper-lockfile)\//.test(file))).toEqual([])
})
