import { existsSync } from 'node:fs'
import { join } from 'node:path'
import type { TestProject } from 'vitest/node'
import { PROJECT, run, runOk } from './command.ts'
import { claimSlot, type Engine, startEngine } from './engine.ts'
import { temporaryHome } from './home.ts'

/** Gives the end-to-end tests an engine with the Wine base image on it. */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  if (!existsSync(join(PROJECT, 'dist', 'cli.js'))) await runOk('npm', ['run', 'build'])
  const given = process.env.ORIEL_TEST_ENGINE
  const { url, stop } = given === undefined || given === '' ? await ownEngine() : { url: given, stop: async () => {} }
  try {
    await warmUp(url)
  } catch (error) {
    await stop()
    throw error
  }
  project.provide('engine', url)
  return stop
}

async function ownEngine(): Promise<Pick<Engine, 'url' | 'stop'>> {
  const slot = claimSlot()
  const engine = await startEngine(slot).catch(error => {
    slot.release()
    throw error
  })
  const stop = async () => {
    await engine.stop()
    slot.release()
  }
  await clear(engine.url)
  return { url: engine.url, stop }
}

/** Removes what an earlier run left on the kept engine: all but the base images. */
async function clear(url: string): Promise<void> {
  const engine = async (args: string[]) =>
    (await run('docker', ['-H', url, ...args])).stdout.split('\n').filter(Boolean)
  const containers = await engine(['ps', '-aq'])
  if (containers.length > 0) await engine(['rm', '-f', '-v', ...containers])
  await engine(['volume', 'prune', '-f'])
  await engine(['network', 'prune', '-f'])
  const images = (await engine(['images', '--format', '{{.Repository}}:{{.Tag}}'])).filter(
    name => !/^(debian|oriel\/wine):|<none>/.test(name)
  )
  if (images.length > 0) await engine(['rmi', '-f', ...images])
}

/** The first machine builds the base image, which takes minutes on a new engine; the tests then find it there. */
async function warmUp(engine: string): Promise<void> {
  const home = temporaryHome()
  const oriel = (...args: string[]) =>
    run(process.execPath, [join(PROJECT, 'bin', 'oriel.js'), ...args], { env: home.env, timeoutMs: 900_000 })
  try {
    const { code, stdout, stderr } = await oriel('up', 'warm-up', '--engine', engine)
    if (code !== 0) throw new Error(`oriel up ended with ${code}:\n${stdout}${stderr}`)
  } finally {
    await oriel('rm', '--force', 'warm-up')
    home.remove()
  }
}
