// What the benchmarks share: a home of their own, timed commands, and the tables that they print.
import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

export const PROJECT = join(dirname(fileURLToPath(import.meta.url)), '..')
export const ORIEL = join(PROJECT, 'bin', 'oriel.js')

/** A folder of the benchmark's own, and the environment in which commands keep to it. */
export function privateHome() {
  const root = mkdtempSync('/tmp/oriel-bench-')
  const env = { ...process.env, ORIEL_HOME: join(root, 'oriel'), DOCKER_CONFIG: join(root, 'docker') }
  delete env.DOCKER_HOST
  delete env.DOCKER_CONTEXT
  mkdirSync(env.DOCKER_CONFIG)
  return { root, env, removeRoot: () => rmSync(root, { recursive: true, force: true }) }
}

/** The seconds that a piece of work takes, which may be a promise's. */
export async function timed(work) {
  const before = process.hrtime.bigint()
  await work()
  return Number(process.hrtime.bigint() - before) / 1e9
}

/** Runs a command that has to succeed, and gives the seconds it took. */
export function timeCommand(env, command, args) {
  const before = process.hrtime.bigint()
  const { status, stderr } = spawnSync(command, args, { env, encoding: 'utf8', stdio: ['ignore', 'ignore', 'pipe'] })
  if (status !== 0) throw new Error(`${command} ${args.join(' ')} ended with ${status}: ${stderr}`)
  return Number(process.hrtime.bigint() - before) / 1e9
}

export function median(numbers) {
  const sorted = [...numbers].sort((a, b) => a - b)
  const middle = Math.floor(sorted.length / 2)
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2
}

export const showSeconds = seconds => (seconds < 1 ? `${Math.round(seconds * 1000)} ms` : `${seconds.toFixed(2)} s`)

/** A Markdown table of what was measured with Oriel and without; rows are said on standard error as they come. */
export class Comparison {
  #rows = []

  row(what, ours, theirs, show = showSeconds) {
    const cells = `| ${what} | ${show(ours)} | ${show(theirs)} | ${(ours / theirs).toFixed(2)} |`
    process.stderr.write(`${cells}\n`)
    this.#rows.push(cells)
  }

  print() {
    console.log('| what | with Oriel | without | ratio |')
    console.log('| --- | ---: | ---: | ---: |')
    for (const cells of this.#rows) console.log(cells)
  }
}
