// Bundles the command line and the host agent. Splitting keeps each command's own code out of the start-up of the others.
import { rm } from 'node:fs/promises'
import { build } from 'esbuild'

await rm(new URL('../dist', import.meta.url), { recursive: true, force: true })
await build({
  absWorkingDir: new URL('..', import.meta.url).pathname,
  entryPoints: { cli: 'src/cli/main.ts', agent: 'src/agent/main.ts' },
  outdir: 'dist',
  bundle: true,
  splitting: true,
  format: 'esm',
  platform: 'node',
  target: 'node20',
  minifySyntax: true,
  minifyWhitespace: true,
  sourcemap: 'linked',
  sourcesContent: false,
  // The CommonJS libraries in the bundle ask for Node's own modules by require.
  banner: { js: "import{createRequire as __cr}from'node:module';const require=__cr(import.meta.url);" },
  metafile: true,
  logLevel: 'warning'
}).then(async result => {
  const { writeFile } = await import('node:fs/promises')
  await writeFile(new URL('../dist/meta.json', import.meta.url), JSON.stringify(result.metafile))
})
