// Measures pulling a Windows image whose base is skipped, and translating its layer, and prints the README's table.
// Usage: npm run bench:images. Needs a Debian and root (a dockerd of its own), docker-registry and skopeo.
import { spawnSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { Readable, Writable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { build } from 'esbuild'

const PROJECT = join(dirname(fileURLToPath(import.meta.url)), '..')
const ORIEL = join(PROJECT, 'bin', 'oriel.js')
const root = mkdtempSync('/tmp/oriel-bench-')
const env = { ...process.env, DOCKER_HOST: undefined, DOCKER_CONTEXT: undefined }
Object.assign(env, { ORIEL_HOME: join(root, 'oriel'), DOCKER_CONFIG: join(root, 'docker') })
mkdirSync(env.DOCKER_CONFIG)

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
await build({ stdin, outfile, bundle: true, platform: 'node', format: 'cjs', logLevel: 'error', external: ['vitest'] })
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

function must(command, args) {
  const before = process.hrtime.bigint()
  const { status, stderr } = spawnSync(command, args, { env, encoding: 'utf8' })
  if (status !== 0) throw new Error(`${command} ${args.join(' ')} ended with ${status}: ${stderr}`)
  return Number(process.hrtime.bigint() - before) / 1e9
}
async function timed(work) {
  const before = process.hrtime.bigint()
  await work()
  return Number(process.hrtime.bigint() - before) / 1e9
}
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
  must(process.execPath, [ORIEL, 'up', 'bench', '--engine', engine.url])
  const pulled = must('docker', ['--context', 'oriel-bench', 'pull', '-q', name])
  const fetched = bytesBelow(join(env.ORIEL_HOME, 'images'))
  const copied = must('skopeo', [
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
    unpacked.push(must('tar', ['-xzf', archive, '-C', join(root, `out-${round}`)]))
  }
  const middle = numbers => numbers.slice(1).sort((a, b) => a - b)[1]

  console.log('| what | with Oriel | without | ratio |')
  console.log('| --- | ---: | ---: | ---: |')
  const row = (what, ours, theirs, unit) =>
    console.log(`| ${what} | ${unit(ours)} | ${unit(theirs)} | ${(ours / theirs).toFixed(2)} |`)
  const seconds = value => `${value.toFixed(2)} s`
  row('`docker pull` of an image on a Windows base, to `skopeo copy` of it: bytes', fetched, whole, megabytes)
  row('the same: time until it can be run, to time until it is copied', pulled, copied, seconds)
  row('translation of a layer of 200 MB in 10,000 files, to `tar -xz`', middle(translated), middle(unpacked), seconds)
} finally {
  spawnSync(process.execPath, [ORIEL, 'rm', '--force', 'bench'], { env })
  await registry.stop()
  await engine.stop()
  slot.release()
  rmSync(root, { recursive: true, force: true })
}
