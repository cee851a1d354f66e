import { createWriteStream, type WriteStream } from 'node:fs'
import { PassThrough, type Readable } from 'node:stream'
import { finished } from 'node:stream/promises'
import { stripVTControlCharacters } from 'node:util'
import { pack } from 'tar-stream'
import { type Engine, EngineError } from '#docker/engine.ts'
import type { DriverWork } from '#driver/driver.ts'
import { wineBaseTag } from '#image/bases.ts'
import { Fault } from '#lib/fault.ts'
import { interrupted } from '#lib/wait.ts'
import { RELEASES } from '#windows/releases.ts'
import { diskFull, isDiskFull } from './disk-full.ts'
import { type GuestFile, hashOf } from './guest-folder.ts'
import { progressMessages } from './json-progress.ts'

/** On every Wine base: the hash of what it was built from. */
export const BASE_LABEL = 'dev.oriel.base'

/** A step of the build that says nothing for so long hangs. */
const STALL_MS = 15 * 60_000
const TAIL_LINES = 6

// What apt, the resolver and the engine say when the build's own network is the trouble; the host's may still work.
const NETWORK_TROUBLE =
  /temporary failure (in name )?resol|could ?n.t resolve|network is unreachable|unable to connect to|connection timed out|failed to fetch|network bridge not found|could not find .* network|failed to create endpoint|operation not supported.*veth/i

export interface BuildWork extends Pick<DriverWork, 'signal' | 'report'> {
  /** Gets everything that the engine says. */
  logFile: string
  /** GOARCH of the engine's host. */
  engineArch: string
  /** Folder of the engine's data, for the message about a full disk. */
  dataRoot: string
}

/** Which of the base images are missing on the engine, or were built from other sources than `hash`. */
export async function missingBases(engine: Engine, hash: string, signal?: AbortSignal): Promise<string[]> {
  const found = await Promise.all(
    RELEASES.map(async ({ tag }) => ((await baseHash(engine, tag, signal)) === hash ? undefined : tag))
  )
  return found.filter(tag => tag !== undefined)
}

/** Builds the base images of all releases from `files`. Fault with the end of the engine's output when it fails. */
export async function buildBases(engine: Engine, files: readonly GuestFile[], work: BuildWork): Promise<void> {
  const hash = hashOf(files)
  const log = createWriteStream(work.logFile, { mode: 0o600 })
  // A log that cannot be written must not fail the build.
  log.on('error', () => undefined)
  const steps = new Set<string>()
  try {
    let network: string | undefined
    for (const [at, { tag }] of RELEASES.entries()) {
      const former = await imageId(engine, tag, work.signal)
      const build = (mode: string | undefined) =>
        buildOne(engine, files, { ...work, hash, log, steps, release: tag, at, network: mode })
      try {
        await build(network)
      } catch (error) {
        if (!(error instanceof BuildFailure)) throw error
        if (network !== undefined || !NETWORK_TROUBLE.test(error.output)) throw explain(error, work)
        work.report({
          type: 'step',
          stage: 'base image',
          text: 'the build has no network; trying the network of the host'
        })
        network = 'host'
        await build(network).catch((again: unknown) => {
          throw again instanceof BuildFailure ? explain(again, work) : again
        })
      }
      await removeFormer(engine, former, tag, work.signal)
    }
    await removeSteps(engine, steps, work.signal)
  } finally {
    log.end()
    await finished(log).catch(() => undefined)
  }
}

/** Removes the base images that no container or image needs; gives their names. */
export async function removeBases(engine: Engine, signal: AbortSignal): Promise<string[]> {
  const removed: string[] = []
  for (const { tag } of RELEASES) {
    try {
      await engine.json('DELETE', `/images/${wineBaseTag(tag)}`, undefined, { signal })
      removed.push(wineBaseTag(tag))
    } catch (error) {
      if (!(error instanceof EngineError)) throw error
    }
  }
  return removed
}

/** The build context as a tar archive that is the same for the same files, so that the engine's cache holds. */
export function contextArchive(files: readonly GuestFile[]): Readable {
  const archive = pack()
  for (const { path, mode, data } of files) archive.entry({ name: path, mode, mtime: new Date(0) }, data)
  archive.finalize()
  // tar-stream's own stream class lacks what Node's pipeline wants of a Readable.
  return archive.pipe(new PassThrough())
}

/** The engine could not do a step; `output` is the end of what it said. */
class BuildFailure extends Error {
  readonly output: string
  constructor(message: string, output: string) {
    super(message)
    this.output = output
  }
}

interface OneBuild extends BuildWork {
  hash: string
  log: WriteStream
  /** Gets the ids of the images that the engine made for single steps. */
  steps: Set<string>
  release: string
  at: number
  network: string | undefined
}

async function buildOne(engine: Engine, files: readonly GuestFile[], build: OneBuild): Promise<void> {
  const query = new URLSearchParams({
    // The classic builder: it needs no session, and podman has it as well.
    version: '1',
    t: wineBaseTag(build.release),
    target: build.release,
    labels: JSON.stringify({ [BASE_LABEL]: build.hash }),
    rm: '1',
    forcerm: '1'
  })
  if (build.network !== undefined) query.set('networkmode', build.network)
  if (build.engineArch !== 'amd64') query.set('platform', 'linux/amd64')
  const stalled = new AbortController()
  const timer = setTimeout(() => stalled.abort(), STALL_MS)
  let output = ''
  try {
    const answer = await engine.request('POST', `/build?${query}`, {
      body: contextArchive(files),
      headers: { 'Content-Type': 'application/x-tar' },
      signal: AbortSignal.any([build.signal, stalled.signal])
    })
    for await (const message of progressMessages(answer.body)) {
      timer.refresh()
      const text = message.error ?? message.stream ?? message.status ?? ''
      build.log.write(text.endsWith('\n') ? text : `${text}\n`)
      output = (output + text).slice(-16_384)
      if (message.error !== undefined) throw new BuildFailure(message.error, output)
      const step = /^ ---> ([0-9a-f]{12,64})$/.exec(text.trimEnd())?.[1]
      if (step !== undefined) build.steps.add(step)
      reportStep(text, build)
    }
  } catch (error) {
    if (build.signal.aborted) throw interrupted()
    if (stalled.signal.aborted) throw new BuildFailure(`nothing happened for ${STALL_MS / 60_000} minutes`, output)
    throw error
  } finally {
    clearTimeout(timer)
  }
  if ((await baseHash(engine, build.release, build.signal)) !== build.hash) {
    throw new BuildFailure('the engine ended the build without an image', output)
  }
}

function reportStep(text: string, build: OneBuild): void {
  const [, step, steps, instruction = ''] = /^[^a-z]{0,8}step (\d+)\/(\d+) ?: ?(.*)/i.exec(text) ?? []
  if (step === undefined) return
  // The first image has nearly all the work, the others share its layers.
  const within = (Number(step) - 1) / Number(steps)
  const fraction = build.at === 0 ? within * 0.9 : 0.9 + (0.1 * (build.at - 1 + within)) / (RELEASES.length - 1)
  build.report({
    type: 'step',
    stage: 'base image',
    text: `${build.release}: ${instruction.replace(/\s+/g, ' ').slice(0, 60)}`,
    fraction
  })
}

function explain(failure: BuildFailure, work: BuildWork): Fault {
  if (isDiskFull(failure.output)) return diskFull(work.dataRoot)
  const tail = stripVTControlCharacters(failure.output).trim().split('\n').slice(-TAIL_LINES)
  return new Fault(
    `the Wine base could not be built: ${failure.message.trim()}\n${tail.map(line => `  ${line}`).join('\n')}`,
    {
      hint: `All of the build's output: ${work.logFile}`
    }
  )
}

/**
 * Removes what the build leaves behind: some 2 GB of compilers in images without a name. Those that a base is made of are
 * refused by the engine; what somebody has named stays.
 */
async function removeSteps(engine: Engine, steps: ReadonlySet<string>, signal: AbortSignal): Promise<void> {
  for (const id of [...steps].reverse()) {
    try {
      const { RepoTags: names } = await engine.json<ImageAnswer>('GET', `/images/${id}/json`, undefined, { signal })
      if ((names ?? []).length === 0) await engine.json('DELETE', `/images/${id}`, undefined, { signal })
    } catch (error) {
      // Gone with a later one, or part of a base.
      if (!(error instanceof EngineError)) throw error
    }
  }
}

async function removeFormer(
  engine: Engine,
  former: string | undefined,
  release: string,
  signal: AbortSignal
): Promise<void> {
  if (former === undefined || former === (await imageId(engine, release, signal))) return
  // Refused while containers or images are based on it, which is right.
  await engine.json('DELETE', `/images/${former}`, undefined, { signal }).catch(() => undefined)
}

interface ImageAnswer {
  Id?: string
  RepoTags?: string[] | null
  Config?: { Labels?: Record<string, string> | null } | null
}

async function inspect(engine: Engine, release: string, signal?: AbortSignal): Promise<ImageAnswer | undefined> {
  try {
    const path = `/images/${wineBaseTag(release)}/json`
    return await engine.json<ImageAnswer>('GET', path, undefined, signal === undefined ? {} : { signal })
  } catch (error) {
    if (error instanceof EngineError && error.status === 404) return undefined
    throw error
  }
}

async function imageId(engine: Engine, release: string, signal: AbortSignal): Promise<string | undefined> {
  return (await inspect(engine, release, signal))?.Id
}

async function baseHash(engine: Engine, release: string, signal?: AbortSignal): Promise<string | undefined> {
  return (await inspect(engine, release, signal))?.Config?.Labels?.[BASE_LABEL]
}
