import { spawn } from 'node:child_process'
import { closeSync, mkdirSync, openSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { run, runOk } from './command.ts'
import { waitFor } from './wait.ts'

/** A place for one private engine: its number sets its addresses, its folder is kept between runs. */
export interface Slot {
  number: number
  folder: string
  release: () => void
}

export interface Engine {
  url: string
  log: string
  stop: () => Promise<void>
}

const SLOTS = 8

/** Takes the first slot that no living process holds. Two runs at a time get two slots. */
export function claimSlot(): Slot {
  const cache = process.env.ORIEL_TEST_CACHE ?? join(homedir(), '.cache', 'oriel-test')
  for (let number = 0; number < SLOTS; number++) {
    const folder = join(cache, `engine-${number}`)
    mkdirSync(folder, { recursive: true })
    // Not in the cache: runs with caches of their own share the addresses, bridges and run folders of a slot.
    const lock = `${runFolderOf(number)}.lock`
    if (takeLock(lock)) return { number, folder, release: () => rmSync(lock, { force: true }) }
  }
  throw new Error(`All ${SLOTS} test engines below ${cache} are in use. Wait for the other runs, or remove the folder.`)
}

/** Short, because a socket's path is; one place for all caches. */
function runFolderOf(slot: number): string {
  return `/tmp/oriel-engine-${slot}`
}

function takeLock(lock: string): boolean {
  for (;;) {
    try {
      writeFileSync(lock, String(process.pid), { flag: 'wx' })
      return true
    } catch {
      if (isAlive(Number(readFileSync(lock, 'utf8')))) return false
      rmSync(lock, { force: true })
    }
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}

/**
 * Starts a dockerd of our own. It gets its own bridge and its own packet filter rules, because a second dockerd that keeps
 * rules itself would empty the chains of the first. `more` are further options of dockerd.
 */
export async function startEngine(
  slot: Slot,
  dataRoot = join(slot.folder, 'data'),
  more: readonly string[] = []
): Promise<Engine> {
  if (process.getuid?.() !== 0) throw new Error('The end-to-end tests start their own dockerd, which needs root.')
  const runFolder = runFolderOf(slot.number)
  await endLeftovers(runFolder)
  await unmountBelow(runFolder, slot.folder)
  rmSync(runFolder, { recursive: true, force: true })
  mkdirSync(runFolder, { recursive: true })
  mkdirSync(dataRoot, { recursive: true })
  const network = await addNetwork(slot.number)
  const url = `unix://${runFolder}/docker.sock`
  const log = join(slot.folder, 'dockerd.log')
  const output = openSync(log, 'w')
  // Its own process group: a Ctrl-C at the terminal must not end the engine before the tests have cleaned up on it.
  const child = spawn(
    'dockerd',
    [
      ['--data-root', dataRoot],
      ['--exec-root', `${runFolder}/exec`],
      ['--pidfile', `${runFolder}/pid`],
      ['--host', url],
      ['--bridge', network.bridge, '--iptables=false', '--ip6tables=false'],
      ['--default-address-pool', `base=${network.pool},size=24`],
      ['--shutdown-timeout', '5'],
      [...more]
    ].flat(),
    { detached: true, stdio: ['ignore', output, output] }
  )
  closeSync(output)
  let ended: string | undefined
  child.on('error', error => {
    ended = error.message
  })
  child.on('exit', code => {
    ended = `exit code ${code}`
  })
  const stop = async () => {
    if (ended === undefined) {
      child.kill('SIGTERM')
      await waitFor(() => ended !== undefined, 30_000, 'dockerd ends').catch(() => child.kill('SIGKILL'))
    }
    await endLeftovers(runFolder)
    await unmountBelow(runFolder, slot.folder)
    await network.remove()
    rmSync(runFolder, { recursive: true, force: true })
  }
  const answers = async () => ended !== undefined || (await run('docker', ['-H', url, 'version'])).code === 0
  await waitFor(answers, 60_000, 'dockerd answers').catch(error => {
    ended ??= String(error)
  })
  if (ended !== undefined) {
    const tail = readFileSync(log, 'utf8').split('\n').slice(-15).join('\n')
    await stop()
    throw new Error(`dockerd could not be started (${ended}). The end of ${log}:\n${tail}`)
  }
  return { url, log, stop }
}

/** Ends what an earlier run that was killed left behind: only processes that have this engine's own folder in their command line. */
async function endLeftovers(runFolder: string): Promise<void> {
  const left = () =>
    readdirSync('/proc')
      .filter(name => /^\d+$/.test(name))
      .filter(pid => commandLine(pid).includes(`${runFolder}/`))
      .map(Number)
  if (left().length === 0) return
  // Asked to end, dockerd ends its containers too; only what is left then is killed.
  for (const pid of left()) if (commandLine(String(pid)).startsWith('dockerd')) tryKill(pid, 'SIGTERM')
  await waitFor(() => left().length === 0, 15_000, 'earlier engine ends').catch(() => {})
  for (const pid of left()) tryKill(pid, 'SIGKILL')
}

/** What a dockerd that was killed leaves mounted, inmost first. */
async function unmountBelow(...folders: string[]): Promise<void> {
  const points = readFileSync('/proc/mounts', 'utf8')
    .split('\n')
    .map(line => line.split(' ')[1] ?? '')
    .filter(point => folders.some(folder => point.startsWith(`${folder}/`)))
  for (const point of points.reverse()) await run('umount', ['-l', point])
}

function commandLine(pid: string): string {
  try {
    const words = readFileSync(`/proc/${pid}/cmdline`, 'utf8')
    return /^\S*(dockerd|containerd|containerd-shim\S*|docker-proxy)\0/.test(words) ? words : ''
  } catch {
    return ''
  }
}

function tryKill(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal)
  } catch {
    // It has ended by itself.
  }
}

async function addNetwork(slot: number): Promise<{ bridge: string; pool: string; remove: () => Promise<void> }> {
  const bridge = `orieltest${slot}`
  const range = `10.${220 + slot}.0.0/16`
  const rules = [
    ['filter', 'FORWARD', '-s', range, '-j', 'ACCEPT'],
    ['filter', 'FORWARD', '-d', range, '-j', 'ACCEPT'],
    ['nat', 'POSTROUTING', '-s', range, '!', '-d', range, '-j', 'MASQUERADE']
  ]
  const remove = async () => {
    for (const [table = '', chain = '', ...rule] of rules) {
      while ((await run('iptables', ['-w', '-t', table, '-D', chain, ...rule])).code === 0);
    }
    await run('ip', ['link', 'del', bridge])
  }
  await remove()
  await runOk('ip', ['link', 'add', bridge, 'type', 'bridge'])
  await runOk('ip', ['addr', 'add', `10.${220 + slot}.0.1/24`, 'dev', bridge])
  await runOk('ip', ['link', 'set', bridge, 'up'])
  for (const [table = '', chain = '', ...rule] of rules) {
    await runOk('iptables', ['-w', '-t', table, '-I', chain, ...rule])
  }
  return { bridge, pool: `10.${220 + slot}.128.0/17`, remove }
}
