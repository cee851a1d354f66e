// Measures pulling a Windows image whose base is skipped, and translating its layer, and prints the README's table.
// Usage: npm run bench:images. Needs a Debian and root (a dockerd of its own), docker-registry and skopeo.
import { spawnSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdirSync, readdirSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Readable, Writable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { pathToFileURL } from 'node:url'
import { build } from 'esbuild'
import { Comparison, median, ORIEL, PROJECT, privateHome, timeCommand, timed } from './measure.mjs'

const { root, env, removeRoot } = privateHome()
const time = (command, args) => timeCommand(env, command, args)

// What makes test images and translates layers is TypeScript.
const parts = [
  "export { startRegistry } from './test/support/docker-registry.ts'",
  "export { microsoftLayers, publish, windowsImage, windowsLayer } from './test/support/windows-image.ts'",
  "export { claimSlot, startEngine } from './test/support/engine.ts'",
  "export { decompress } from './src/image/layer/decompress.ts'",
  "export { toLinuxLayer } from './src/image/layer/to-linux.ts'"
]
const outfile = join(root, 'parts.cjs')
const stdin = { contents: parts.join('\n'), resolveDir: PROJECT, loader: 'ts' }
// What is packed into one file still has to find the project.
const define = { 'import.meta.url': JSON.stringify(pathToFileURL(join(PROJECT, 'test', 'support', 'command.ts')).href) }
const packing = { bundle: true, platform: 'node', format: 'cjs', logLevel: 'error', external: ['vitest'], define }
await build({ stdin, outfile, ...packing })
const {
  startRegistry,
  microsoftLayers,
  publish,
  windowsImage,
  windowsLayer,
  claimSlot,
  startEngine,
  decompress,
  toLinuxLayer
} = (await import(pathToFileURL(outfile).href)).default

const bytesBelow = folder =>
  readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .map(name => statSync(join(folder, name)))
    .reduce((sum, found) => sum + (found.isFile() ? found.size : 0), 0)
const megabytes = bytes => `${Math.round(bytes / 1e6)} MB`

// An application of 200 MB in 10,000 files, half of which compresses well, on a base of 300 MB.
const entries = [
  { name: 'Files', type: 'directory' },
  { name: 'Hives', type: 'directory' }
]
for (let folder = 0; folder < 100; folder++) {
  entries.push({ name: `Files/app/${folder}`, type: 'directory' })
  for (let file = 0; file < 100; file++) {
    const data = Buffer.concat([randomBytes(10_000), Buffer.alloc(10_000, file)])
    entries.push({ name: `Files/app/${folder}/${file}.dll`, data })
  }
}
const base = await microsoftLayers('10.0.20348.2340')
base[0] = await windowsLayer(base[0].createdBy, [{ name: 'Files/base', data: randomBytes(300_000_000) }])
const app = await windowsLayer('cmd /S /C copy', entries)

const slot = claimSlot()
const engine = await startEngine(slot)
const registry = await startRegistry(join(root, 'registry'))
try {
  const name = `${registry.host}/team/app:1`
  await publish(name, windowsImage([...base, app], '10.0.20348.2340', { Cmd: ['cmd'] }))
  time(process.execPath, [ORIEL, 'up', 'bench', '--engine', engine.url])
  const pulled = time('docker', ['--context', 'oriel-bench', 'pull', '-q', name])
  const fetched = bytesBelow(join(env.ORIEL_HOME, 'images'))
  // The same layers as an image of Linux, base and all, by the engine itself.
  const plain = `${registry.host}/team/plain:1`
  await publish(plain, windowsImage([...base, app], '10.0.20348.2340', { Cmd: ['cmd'] }, { os: 'linux' }))
  const plainly = time('docker', ['-H', engine.url, 'pull', '-q', plain])
  time('skopeo', [
    'copy',
    '--quiet',
    '--src-tls-verify=false',
    '--override-os=windows',
    `docker://${name}`,
    `dir:${root}/copy`
  ])
  const whole = bytesBelow(join(root, 'copy'))

  const archive = join(root, 'layer.tar.gz')
  writeFileSync(archive, app.bytes)
  const nowhere = () => new Writable({ write: (_chunk, _encoding, done) => done() })
  const translated = []
  const unpacked = []
  for (let round = 0; round < 4; round++) {
    translated.push(
      await timed(async () => {
        const { output, done } = toLinuxLayer(
          decompress(Readable.from([app.bytes], { objectMode: false }), app.descriptor.mediaType)
        )
        await Promise.all([pipeline(output, nowhere()), done])
      })
    )
    mkdirSync(join(root, `out-${round}`))
    unpacked.push(time('tar', ['-xzf', archive, '-C', join(root, `out-${round}`)]))
  }
  // The first round warms up.
  const middle = numbers => median(numbers.slice(1))

  const comparison = new Comparison()
  const bytes = '`docker pull` of an image on a Windows base, to `skopeo copy` of it: bytes'
  comparison.row(bytes, fetched, whole, megabytes)
  comparison.row('the same, to `docker pull` of the same layers as a Linux image, by the engine', pulled, plainly)
  comparison.row('translation of a layer of 200 MB in 10,000 files, to `tar -xz`', middle(translated), middle(unpacked))
  comparison.print()
} finally {
  spawnSync(process.execPath, [ORIEL, 'rm', '--force', 'bench'], { env })
  await registry.stop()
  await engine.stop()
  slot.release()
  removeRoot()
}
