// Measures what a person waits for, against the same work without Oriel, and prints the README's table.
// Usage: npm run bench [-- ENGINE_URL]. Needs a Linux engine with the Wine base image or time to build it.
import { spawn, spawnSync } from 'node:child_process'
import { existsSync, readdirSync, readFileSync, truncateSync, writeFileSync } from 'node:fs'
import { cpus } from 'node:os'
import { join } from 'node:path'
import { median, ORIEL, PROJECT, privateHome, showSeconds, timeCommand, timed } from './measure.mjs'

const LINUX_IMAGE = process.env.ORIEL_BENCH_LINUX_IMAGE ?? 'debian:trixie-slim'
const { root, env, removeRoot } = privateHome()
const time = (command, args) => timeCommand(env, command, args)

/** The same for a command whose gigabyte of output has to be read, as by a pipe. */
function timeReading(command, args) {
  return timed(
    () =>
      new Promise((resolve, reject) => {
        const child = spawn(command, args, { env, stdio: ['ignore', 'pipe', 'inherit'] })
        child.stdout.resume()
        child.on('error', reject)
        child.on('close', code => (code === 0 ? resolve() : reject(new Error(`${args.join(' ')}: ${code}`))))
      })
  )
}

/** Medians of two kinds of work, run in turns so that a slow moment of the machine hits both. The first round warms up. */
async function compare(rounds, ours, theirs) {
  const taken = [[], []]
  for (let round = 0; round <= rounds; round++) {
    for (const [index, work] of [ours, theirs].entries()) {
      const seconds = await work(round)
      if (round > 0) taken[index].push(seconds)
    }
  }
  return { ours: median(taken[0]), theirs: median(taken[1]) }
}

const rows = []

async function row(what, aim, rounds, ours, theirs) {
  process.stderr.write(`${what} …\n`)
  const result = await compare(rounds, ours, theirs)
  const ratio = result.ours / result.theirs
  rows.push(
    `| ${what} | ${showSeconds(result.ours)} | ${showSeconds(result.theirs)} | ${ratio.toFixed(2)} | ${aim.toFixed(2)} |`
  )
}

function agentPid() {
  return readdirSync('/proc').find(pid => {
    if (!/^\d+$/.test(pid)) return false
    try {
      const isAgent = readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes('agent.js')
      return isAgent && readFileSync(`/proc/${pid}/environ`, 'utf8').includes(env.ORIEL_HOME)
    } catch {
      return false
    }
  })
}

function engineUrl() {
  const given = process.argv[2] ?? process.env.DOCKER_HOST
  if (given !== undefined) return given
  const context = spawnSync('docker', ['context', 'inspect', '-f', '{{.Endpoints.docker.Host}}'], { encoding: 'utf8' })
  return context.stdout.trim()
}

const engine = engineUrl()
const linux = (...args) => ['-H', engine, ...args]
const windows = (...args) => ['--context', 'oriel-bench', ...args]
const has = name => spawnSync('docker', linux('image', 'inspect', name), { env }).status === 0

if (!existsSync(join(PROJECT, 'dist', 'cli.js'))) spawnSync('npm', ['run', 'build'], { cwd: PROJECT, stdio: 'inherit' })
const clean = !has('oriel/wine:ltsc2022')
const upSeconds = time(process.execPath, [ORIEL, 'up', 'bench', '--engine', engine])
try {
  if (process.platform === 'linux') await new Promise(resolve => setTimeout(resolve, 3000))
  const idle = process.platform === 'linux' ? readFileSync(`/proc/${agentPid()}/status`, 'utf8') : ''
  const idleMiB = Number(/^VmRSS:\s+(\d+)/m.exec(idle)?.[1] ?? 0) / 1024

  time('docker', windows('pull', 'nanoserver'))
  const runWindows = () => time('docker', windows('run', '--rm', 'nanoserver', 'cmd', '/c', 'ver'))
  const runLinux = () => time('docker', linux('run', '--rm', LINUX_IMAGE, 'true'))
  await row('`docker run --rm nanoserver cmd /c ver`, to a Linux `true`', 1.6, 11, runWindows, runLinux)

  await row(
    '`docker version`, to the engine itself',
    1.1,
    15,
    () => time('docker', windows('version')),
    () => time('docker', linux('version'))
  )

  // The same container behind both sockets, so that only the way there differs.
  time('docker', windows('run', '-d', '-i', '--name', 'bench', 'nanoserver', 'cmd'))
  const id = spawnSync('docker', windows('inspect', '-f', '{{.Id}}', 'bench'), { env, encoding: 'utf8' }).stdout.trim()
  // What the gateway makes of the same exec (guest/wine/CONTRACT.md).
  const launch = ['CMDLINE=cmd /c exit', 'CWD=C:\\', 'USER=ContainerUser', 'STATE=/oriel/run/exec-bench', 'ROLE=exec']
  const direct = ['/oriel/init', 'run', Buffer.from(launch.join('\0')).toString('base64')]
  await row(
    '`docker exec` of `cmd /c exit`, to the same through the engine itself',
    1.1,
    15,
    () => time('docker', windows('exec', 'bench', 'cmd', '/c', 'exit')),
    () => time('docker', linux('exec', id, ...direct))
  )

  const big = join(root, 'big.bin')
  writeFileSync(big, '')
  truncateSync(big, 1024 ** 3)
  await row(
    '1 GiB `docker cp` into a container',
    1.1,
    3,
    () => time('docker', windows('cp', big, 'bench:C:\\big.bin')),
    () => time('docker', linux('cp', big, `${id}:/c/drive_c/big.bin`))
  )
  await row(
    '1 GiB `docker cp` out of a container',
    1.1,
    3,
    () => timeReading('docker', windows('cp', 'bench:C:\\big.bin', '-')),
    () => timeReading('docker', linux('cp', `${id}:/c/drive_c/big.bin`, '-'))
  )
  time('docker', windows('rm', '-f', 'bench'))

  // A gibibyte of log lines, written by a Windows program.
  const line = `${'x'.repeat(1000)}`
  const loop = `for /L %i in (1,1,1024) do @type C:\\mega.txt`
  const mega = join(root, 'mega.txt')
  writeFileSync(mega, `${line}\r\n`.repeat(1046))
  time('docker', windows('create', '--name', 'log', 'nanoserver', 'cmd', '/c', loop))
  time('docker', windows('cp', mega, 'log:C:\\mega.txt'))
  await timeReading('docker', windows('start', '-a', 'log'))
  const logId = spawnSync('docker', windows('inspect', '-f', '{{.Id}}', 'log'), { env, encoding: 'utf8' }).stdout.trim()
  await row(
    '1 GiB `docker logs`',
    1.1,
    3,
    () => timeReading('docker', windows('logs', 'log')),
    () => timeReading('docker', linux('logs', logId))
  )
  time('docker', windows('rm', 'log'))

  await row(
    '`oriel status`, to `node -e 0`',
    1.6,
    15,
    () => time(process.execPath, [ORIEL, 'status', 'bench']),
    () => time(process.execPath, ['-e', '0'])
  )

  console.log(`Node ${process.versions.node}, ${cpus().length} cores; medians of runs in turns.\n`)
  console.log('| what | with Oriel | without | ratio | aim, at most |')
  console.log('| --- | ---: | ---: | ---: | ---: |')
  for (const text of rows) console.log(text)
  console.log('')
  console.log('| what | measured | aim, at most |')
  console.log('| --- | ---: | ---: |')
  console.log(`| resident memory of an idle host agent | ${Math.round(idleMiB)} MiB | 60 MB |`)
  console.log(
    `| \`oriel up\`, ${clean ? 'on a clean engine' : 'with the base image there'} | ${showSeconds(upSeconds)} | ${clean ? '120 s' : '–'} |`
  )
} finally {
  spawnSync(process.execPath, [ORIEL, 'rm', '--force', 'bench'], { env })
  removeRoot()
}
