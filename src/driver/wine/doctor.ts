import { stat, statfs } from 'node:fs/promises'
import { Engine } from '#docker/engine.ts'
import { type Check, type DriverWork, type EngineReference, endpointOf } from '#driver/driver.ts'
import { Fault, messageOf } from '#lib/fault.ts'
import { formatBytes } from '#lib/size.ts'
import { RELEASES } from '#windows/releases.ts'
import { missingBases } from './base-image.ts'
import { mmdebstrap } from './debian-base.ts'
import { findEngine } from './engine-finder.ts'
import { type EngineFacts, probeEngine } from './engine-probe.ts'
import { hashOf, readGuestFiles } from './guest-folder.ts'

/** The base images, and room to build them. */
const NEEDED_BYTES = 2_000_000_000

/** What the wine driver needs on this host and on its engine. */
export async function checkHost(recorded: EngineReference | undefined, work: DriverWork): Promise<Check[]> {
  let reference: EngineReference
  let facts: EngineFacts
  const checks: Check[] = []
  try {
    const found = await findEngine(recorded === undefined ? {} : { recorded }, work)
    reference = found.reference
    facts = await probeEngine(reference, work.signal)
    checks.push({ name: 'engine', result: 'ok', detail: found.description })
  } catch (error) {
    const hint = error instanceof Fault ? error.hint : undefined
    return [
      {
        name: 'engine',
        result: 'missing',
        detail: messageOf(error),
        advice: hint ?? 'Start the engine, or name another: oriel up --engine URL'
      }
    ]
  }
  if (facts.arch === 'arm64') {
    checks.push({
      name: 'architecture',
      result: 'warning',
      detail: 'the engine is arm64; Windows programs for amd64 run under its emulator',
      advice: 'In Docker Desktop, switch on Rosetta for amd64 (Settings, General).'
    })
  }
  const disk = await checkDisk(reference, facts)
  if (disk !== undefined) checks.push(disk)
  checks.push(...(await checkBase(reference, facts, work)))
  return checks
}

/** Undefined when the engine's disk is not one of this host: nobody says how full it is. */
async function checkDisk(reference: EngineReference, facts: EngineFacts): Promise<Check | undefined> {
  if (!reference.url.startsWith('unix:') || process.platform !== 'linux') return undefined
  try {
    await stat(facts.dataRoot)
    const { bavail, bsize } = await statfs(facts.dataRoot)
    const free = bavail * bsize
    const detail = `${formatBytes(free)} free in ${facts.dataRoot}`
    if (free >= NEEDED_BYTES) return { name: 'disk', result: 'ok', detail }
    const advice = `Free at least ${formatBytes(NEEDED_BYTES)}, for example with: docker system prune`
    return { name: 'disk', result: 'warning', detail, advice }
  } catch {
    return undefined
  }
}

async function checkBase(reference: EngineReference, facts: EngineFacts, work: DriverWork): Promise<Check[]> {
  try {
    const engine = new Engine(await endpointOf(reference))
    const missing = await missingBases(engine, hashOf(await readGuestFiles()), work.signal)
    if (missing.length === 0) return [{ name: 'base image', result: 'ok', detail: 'present for every Windows release' }]
    const detail = `not built yet, or out of date, for ${missing.join(', ')} of ${RELEASES.length} releases`
    const checks: Check[] = [{ name: 'base image', result: 'warning', detail, advice: 'oriel up builds it.' }]
    const obstacle = await mmdebstrap.obstacle(facts.arch)
    if (obstacle !== undefined) {
      checks.push({
        name: 'mmdebstrap',
        result: 'warning',
        detail: `without Docker Hub the base image could not be made: ${obstacle}`,
        ...(process.platform === 'linux' ? { advice: 'sudo apt-get install mmdebstrap' } : {})
      })
    }
    return checks
  } catch (error) {
    return [{ name: 'base image', result: 'missing', detail: messageOf(error), advice: 'See: oriel logs' }]
  }
}
