import { Engine } from '#docker/engine.ts'
import { type Driver, endpointOf, type Stage } from '#driver/driver.ts'
import { DEFAULT_RELEASE, RELEASES } from '#windows/releases.ts'
import { buildBases, missingBases, removeBases } from './base-image.ts'
import { ensureDebianBase } from './debian-base.ts'
import { checkHost } from './doctor.ts'
import { findEngine } from './engine-finder.ts'
import { probeEngine } from './engine-probe.ts'
import { hashOf, readGuestFiles } from './guest-folder.ts'

const baseImage: Stage = {
  name: 'base image',
  async run(reference, work) {
    const engine = new Engine(await endpointOf(reference))
    const files = await readGuestFiles()
    if ((await missingBases(engine, hashOf(files), work.signal)).length === 0) return 'present'
    const facts = await probeEngine(reference, work.signal)
    await ensureDebianBase(engine, facts, work)
    await buildBases(engine, files, { ...work, engineArch: facts.arch, dataRoot: facts.dataRoot })
    return `built for ${RELEASES.map(release => release.tag).join(', ')}`
  }
}

const release = RELEASES.find(({ tag }) => tag === DEFAULT_RELEASE)

/** A Linux Docker engine that is there already, with Windows programs run by Wine. */
export const wineDriver: Driver = {
  name: 'wine',
  windows: { release: DEFAULT_RELEASE, build: release?.build ?? 0 },
  findEngine,
  stages: [baseImage],
  check: checkHost,
  removeImages: async (reference, work) => removeBases(new Engine(await endpointOf(reference)), work.signal)
}
