import { Engine } from '#docker/engine.ts'
import {
  type ConfigureWork,
  type Driver,
  type DriverWork,
  type EngineReference,
  endpointOf,
  type Running,
  type UpOptions,
  type UpWork
} from '#driver/driver.ts'
import { refuseOthers } from '#driver/options.ts'
import { DEFAULT_RELEASE, RELEASES } from '#windows/releases.ts'
import { buildBases, missingBases, removeBases } from './base-image.ts'
import { ensureDebianBase } from './debian-base.ts'
import { checkHost } from './doctor.ts'
import { findEngine } from './engine-finder.ts'
import { probeEngine } from './engine-probe.ts'
import { hashOf, readGuestFiles } from './guest-folder.ts'
import { recordedEngine, WineSettings } from './settings.ts'

const release = RELEASES.find(({ tag }) => tag === DEFAULT_RELEASE)

/** A Linux Docker engine that is there already, with Windows programs run by Wine. */
export const wineDriver: Driver<WineSettings> = {
  name: 'wine',
  settings: WineSettings,
  configure,
  bringUp,
  reference: async settings => referenceOf(settings),
  check: (settings, work) => checkHost(settings && referenceOf(settings), work),
  sharedEngine: {
    removeImages: async (reference, work) => removeBases(new Engine(await endpointOf(reference)), work.signal)
  }
}

async function configure(
  former: WineSettings | undefined,
  options: UpOptions,
  work: ConfigureWork
): Promise<WineSettings> {
  refuseOthers('wine', options, ['engine'])
  const recorded = former && referenceOf(former)
  const engine = await work.stage('engine', async stageWork => {
    const asked = {
      ...(options.engine === undefined ? {} : { url: options.engine }),
      ...(recorded === undefined ? {} : { recorded })
    }
    const found = await findEngine(asked, stageWork)
    return [found.description, found.reference]
  })
  return { engine }
}

async function bringUp(settings: WineSettings, work: UpWork): Promise<Running> {
  const reference = referenceOf(settings) ?? (await findEngine({}, work)).reference
  await work.alone(reference.url, signal =>
    work.stage('base image', async stageWork => [
      await ensureBases(reference, { ...stageWork, signal, logFile: work.logFile }),
      undefined
    ])
  )
  return { reference, windows: { release: DEFAULT_RELEASE, build: release?.build ?? 0 } }
}

async function ensureBases(reference: EngineReference, work: DriverWork & { logFile: string }): Promise<string> {
  const engine = new Engine(await endpointOf(reference))
  const files = await readGuestFiles()
  if ((await missingBases(engine, hashOf(files), work.signal)).length === 0) return 'present'
  const facts = await probeEngine(reference, work.signal)
  await ensureDebianBase(engine, facts, work)
  await buildBases(engine, files, { ...work, engineArch: facts.arch, dataRoot: facts.dataRoot })
  return `built for ${RELEASES.map(({ tag }) => tag).join(', ')}`
}

function referenceOf({ engine }: WineSettings): EngineReference | undefined {
  return engine === undefined ? undefined : recordedEngine(engine)
}
