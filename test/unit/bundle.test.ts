import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { build } from 'esbuild'
import { afterAll, expect, test } from 'vitest'
import { PROJECT, runOk } from '../support/command.ts'

const folder = mkdtempSync(join(tmpdir(), 'oriel-bundle-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

/** Runs a piece of code as `scripts/build.mjs` would ship it. Gives what it printed. */
async function runBundled(name: string, code: string): Promise<string> {
  await build({
    absWorkingDir: PROJECT,
    stdin: { contents: code, resolveDir: PROJECT, sourcefile: `${name}.ts`, loader: 'ts' },
    outdir: join(folder, name),
    outExtension: { '.js': '.mjs' },
    bundle: true,
    splitting: true,
    format: 'esm',
    platform: 'node',
    target: 'node20',
    banner: { js: "import{createRequire as __cr}from'node:module';const require=__cr(import.meta.url);" },
    logLevel: 'warning'
  })
  const out = await runOk(process.execPath, [join(folder, name, 'stdin.mjs')], { cwd: folder })
  return out.trim()
}

// Node gives the named exports of a CommonJS library that is imported late; a bundle does not.
test('certificates are made in the bundle too', async () => {
  const code = `import { ensurePki } from '#pki/store.ts'
    console.log((await ensurePki('pki', { machine: 'win' })).changed)`
  expect(await runBundled('pki', code)).toBe('true')
})

test('time zones are known in the bundle too', async () => {
  const code = `import { parseTimeZone } from '#windows/host-settings.ts'
    console.log(await parseTimeZone('Europe/Berlin'))`
  expect(await runBundled('zones', code)).toBe('W. Europe Standard Time')
})
