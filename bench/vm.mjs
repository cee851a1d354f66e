// Measures the qemu driver against bare QEMU, curl and nothing, and prints the README's table.
// Usage: npm run bench:vm. Needs a Debian and root for the Linux stand-in (test/stand-in/README.md); always TCG.
import { spawn, spawnSync } from 'node:child_process'
import {
  copyFileSync,
  createReadStream,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync
} from 'node:fs'
import { createServer } from 'node:http'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { Comparison, ORIEL, PROJECT, privateHome, timeCommand, timed } from './measure.mjs'

const standIn = join(
  process.env.ORIEL_TEST_CACHE || join(homedir(), '.cache', 'oriel-test'),
  'stand-in',
  process.env.ORIEL_BENCH_STAND_IN ?? 'bench'
)
const { root, env, removeRoot } = privateHome()
const time = (command, args) => timeCommand(env, command, args)
const oriel = (...args) => time(process.execPath, [ORIEL, ...args])
const pause = ms => new Promise(resolve => setTimeout(resolve, ms))

/** The command line of the QEMU whose arguments have this text. */
function commandOf(text) {
  for (const pid of readdirSync('/proc').filter(name => /^\d+$/.test(name))) {
    try {
      const argv = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0').slice(0, -1)
      if (argv[0]?.includes('qemu-system') && argv.some(word => word.includes(text))) return argv
    } catch {
      // It ended in between.
    }
  }
  return undefined
}

/** Runs a QEMU until its guest says `word` on COM1, and gives the seconds; then ends it, unless it ended by itself. */
async function bare(argv, com1, word) {
  writeFileSync(com1, '')
  const began = process.hrtime.bigint()
  const child = spawn(argv[0], argv.slice(1), { stdio: ['ignore', 'ignore', 'inherit'] })
  let ended = false
  child.on('close', () => {
    ended = true
  })
  while (!readFileSync(com1, 'latin1').includes(word)) {
    if (ended) throw new Error('QEMU ended')
    await pause(50)
  }
  const seconds = Number(process.hrtime.bigint() - began) / 1e9
  child.kill('SIGTERM')
  while (!ended) await pause(50)
  return seconds
}

const comparison = new Comparison()

try {
  mkdirSync(standIn, { recursive: true })
  time(join(PROJECT, 'test', 'stand-in', 'build.sh'), [standIn])
  if (!existsSync(join(PROJECT, 'dist', 'cli.js'))) time('npm', ['run', '--prefix', PROJECT, 'build'])
  const iso = join(standIn, 'windows-server-2025-stand-in.iso')
  const engine = join(standIn, 'docker-29.7.2-stand-in.zip')
  const options = ['--driver', 'qemu', '--iso', iso, '--engine-archive', engine, '--accel', 'tcg']
  const small = ['--cpus', '2', '--memory', '1GiB', '--disk', '40GiB']

  // The first machine. What its installation boots is put aside before it is removed.
  const began = process.hrtime.bigint()
  const first = spawn(process.execPath, [ORIEL, 'up', 'a', ...options, ...small], { env, stdio: 'ignore' })
  let install
  while (install === undefined && first.exitCode === null) {
    await pause(100)
    install = commandOf('oriel-a-install')
  }
  const golden = join(env.ORIEL_HOME, 'golden')
  const building = join(golden, readdirSync(golden).find(name => name.endsWith('.building')) ?? '')
  for (const name of ['install.iso', 'setup.iso']) copyFileSync(join(building, name), join(root, name))
  const code = await new Promise(resolve => first.on('close', resolve))
  if (code !== 0) throw new Error(`oriel up ended with ${code}`)
  const firstSeconds = Number(process.hrtime.bigint() - began) / 1e9

  await pause(3000)
  const agent = readdirSync('/proc').find(pid => {
    try {
      return readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes(join(env.ORIEL_HOME, 'machines', 'a', 'agent.json'))
    } catch {
      return false
    }
  })
  const rss = Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${agent}/status`, 'utf8'))?.[1] ?? 0) / 1024

  const second = oriel('up', 'b', ...options, ...small)
  oriel('rm', '--force', 'b')
  oriel('suspend', 'a')
  const resumed = oriel('up', 'a')
  oriel('stop', 'a')
  const cold = oriel('up', 'a')
  // Of a start without a disc in the drive.
  const machine = commandOf('oriel-a')
  oriel('stop', 'a')

  // The same guests by QEMU alone, on copies of their disks.
  const com1 = join(root, 'com1')
  const qmp = join(root, 'qmp')
  const disk = join(root, 'disk.qcow2')
  const vars = join(root, 'vars.qcow2')
  const vm = join(env.ORIEL_HOME, 'machines', 'a', 'vm')
  const elsewhere = argv =>
    argv.map(word =>
      word
        .replace(/\/[^",=]*\/com1\.log/g, com1)
        .replace(/\/[^",=]*\.sock/g, qmp)
        .replace(/\/[^",=]*\/disk\.qcow2/g, disk)
        .replace(/\/[^",=]*\/vars\.qcow2/g, vars)
        .replace(/\/[^",=]*\/((install|setup)\.iso|qemu\.log)/g, (_, name) => join(root, name))
    )
  time('qemu-img', ['convert', '-O', 'qcow2', join(vm, 'disk.qcow2'), disk])
  copyFileSync(join(vm, 'vars.qcow2'), vars)
  const bareCold = await bare(elsewhere(machine), com1, '"stage":"ready","state":"done"')
  rmSync(disk)
  time('qemu-img', ['create', '-q', '-f', 'qcow2', disk, '40G'])
  const template = '/usr/share/OVMF/OVMF_VARS_4M.fd'
  time('qemu-img', ['convert', '-O', 'qcow2', template, vars])
  const bareInstall = await bare(elsewhere(install), com1, '"stage":"sealed","state":"done"')

  comparison.row(
    'first machine: `oriel up` to docker ready, to installing and one start',
    firstSeconds,
    bareInstall + bareCold
  )
  comparison.row('second machine, to one start', second, bareCold)
  comparison.row('start of a stopped machine, to one start', cold, bareCold)
  comparison.row('resume of a suspended machine, to one start', resumed, bareCold)

  // A gibibyte over loopback, whose content no compression or sparse file flatters.
  const big = join(root, 'big.iso')
  copyFileSync(iso, big)
  truncateSync(big, 1024 ** 3)
  const server = createServer((_, response) => {
    response.writeHead(200, { 'Content-Length': statSync(big).size })
    createReadStream(big, { highWaterMark: 1024 * 1024 }).pipe(response)
  }).listen(0, '127.0.0.1')
  await new Promise(resolve => server.once('listening', resolve))
  const url = `http://127.0.0.1:${server.address().port}/big.iso`
  const spawned = (command, args) =>
    timed(
      () =>
        new Promise((resolve, reject) => {
          spawn(command, args, { env, stdio: 'ignore' }).on('close', status =>
            status === 0 ? resolve() : reject(new Error(`${command}: ${status}`))
          )
        })
    )
  const fetched = await spawned(process.execPath, [ORIEL, 'media', 'fetch', url])
  const target = join(root, 'curl.iso')
  const curled = await spawned('sh', ['-c', `curl -sSo ${target} ${url} && sha256sum ${target} && sync ${target}`])
  server.close()
  comparison.row('1 GiB download, checked, to `curl` and `sha256sum`', fetched, curled)

  truncateSync(big, 8 * 1024 ** 3)
  const inspected = oriel('media', 'inspect', big)
  const nothing = time(process.execPath, ['-e', '0'])
  comparison.row('`oriel media inspect` of a disc of 8 GiB, to `node -e 0`', inspected, nothing)

  comparison.print()
  console.log(`\nResident memory of the host agent of a VM: ${Math.round(rss)} MiB.`)
} finally {
  for (const name of ['a', 'b']) spawnSync(process.execPath, [ORIEL, 'rm', '--force', name], { env })
  removeRoot()
}
