import { mkdirSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { agentBuild, ensureAgent, stopAgent } from '#agent/start.ts'
import { PROJECT } from '../support/command.ts'
import { startRegistry } from '../support/docker-registry.ts'
import { claimSlot, startEngine } from '../support/engine.ts'
import { temporaryHome } from '../support/home.ts'
import { counts, type Difference, differencesOf, type Explanation, explained } from './compare.ts'
import { type Archives, loadImages, makeArchives } from './images.ts'
import { type Outcomes, SUITES, type Suite } from './suites.ts'

type Way = 'straight' | 'through'

const say = (line: string) => process.stdout.write(`${line}\n`)

/** Runs one suite one way, on an engine that nobody has used before. */
async function runSuite(suite: Suite, checkout: string, way: Way, root: string, archives: Archives): Promise<Outcomes> {
  const folder = join(root, `${suite.name}-${way}`)
  mkdirSync(folder)
  const slot = claimSlot()
  try {
    const registry = await startRegistry(join(folder, 'registry'))
    try {
      const data = join(slot.folder, 'foreign-suites')
      rmSync(data, { recursive: true, force: true })
      const engine = await startEngine(slot, data, ['--registry-mirror', `http://${registry.host}`])
      try {
        await loadImages(engine.url, registry.host, archives)
        if (way === 'straight') return await suite.outcomes(checkout, engine.url, folder)
        return await throughAgent(engine.url, folder, url => suite.outcomes(checkout, url, folder))
      } finally {
        await engine.stop()
        rmSync(data, { recursive: true, force: true })
      }
    } finally {
      await registry.stop()
    }
  } finally {
    slot.release()
  }
}

/** The agent of a machine with a real Windows engine, before this Linux engine: its gateway changes nothing. */
async function throughAgent<T>(engine: string, folder: string, use: (url: string) => Promise<T>): Promise<T> {
  const config = {
    machine: 'foreign-suites',
    build: await agentBuild(),
    driver: 'qemu',
    place: { home: folder, folder, socketFolder: folder },
    engine: { url: engine },
    dockerSocket: join(folder, 'docker.sock'),
    agentSocket: join(folder, 'agent.sock'),
    logFile: join(folder, 'agent.log')
  }
  await ensureAgent(config, join(folder, 'agent.json'), AbortSignal.timeout(30_000))
  try {
    return await use(`unix://${config.dockerSocket}`)
  } finally {
    await stopAgent(config.agentSocket)
  }
}

async function main(checkouts: readonly string[]): Promise<number> {
  const home = temporaryHome()
  const list = JSON.parse(readFileSync(join(PROJECT, 'test/foreign-suites/differences.json'), 'utf8')) as Explanation[]
  const differences: Difference[] = []
  try {
    const archives = await makeArchives(home.root)
    for (const [index, suite] of SUITES.entries()) {
      const checkout = checkouts[index] ?? '-'
      if (checkout === '-') continue
      const outcomes: Record<Way, Outcomes> = { straight: new Map(), through: new Map() }
      for (const way of ['straight', 'through'] as const) {
        outcomes[way] = await runSuite(suite, checkout, way, home.root, archives)
        const { passed, failed, skipped } = counts(outcomes[way])
        say(`${suite.name.padEnd(10)} ${way.padEnd(9)} ${passed} passed, ${failed} failed, ${skipped} skipped`)
      }
      const { straight, through } = outcomes
      const alike = [...straight].filter(([test, outcome]) => outcome === 'failed' && through.get(test) === 'failed')
      for (const [test] of alike) say(`  fails both ways: ${test}`)
      differences.push(...differencesOf(suite.name, straight, through))
    }
  } finally {
    if (process.env.KEEP_REPORTS === undefined) home.remove()
    else say(`The reports are kept in ${home.root}`)
  }
  for (const difference of differences) {
    const { suite, test, straight, through } = difference
    say(`differs: ${suite}: ${test}: ${straight} straight, ${through} through`)
    say(`  ${explained(difference, list) ?? 'not explained in test/foreign-suites/differences.json'}`)
  }
  return differences.some(difference => explained(difference, list) === undefined) ? 1 : 0
}

process.exitCode = await main(process.argv.slice(2))
