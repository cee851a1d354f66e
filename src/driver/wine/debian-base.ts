import { PassThrough, type Readable } from 'node:stream'
import { finished } from 'node:stream/promises'
import { type Engine, EngineError } from '#docker/engine.ts'
import type { DriverWork } from '#driver/driver.ts'
import { run, stream } from '#lib/child-process.ts'
import { Fault, messageOf } from '#lib/fault.ts'
import { debianMirror } from './apt-sources.ts'
import { diskFull, isDiskFull } from './disk-full.ts'
import type { EngineFacts } from './engine-probe.ts'
import { progressMessages } from './json-progress.ts'

const REPOSITORY = 'debian'
const TAG = 'trixie-slim'
/** What the Wine base is built FROM, however it came to the engine. */
export const DEBIAN_IMAGE = `${REPOSITORY}:${TAG}`

/** Without an outside network a pull may hang; a registry that is there begins within this time. */
const FIRST_LAYER_MS = 20_000
const STALL_MS = 120_000
const BOOTSTRAP_MS = 15 * 60_000

/** What Debian leaves out of its own slim images. */
const SLIM = ['doc', 'man', 'locale', 'info', 'groff', 'lintian', 'linda'].map(name => `/usr/share/${name}/*`)

/** Host-side ways to get the image, given by tests. */
export interface Bootstrap {
  /** Why mmdebstrap cannot be used here; undefined when it can. */
  obstacle(engineArch: string): Promise<string | undefined>
  start(signal: AbortSignal, onLine: (line: string) => void): Promise<{ stdout: Readable; done: Promise<void> }>
}

/**
 * Makes sure that the engine has Debian's base image for amd64: present, else pulled, else made from Debian's packages with
 * mmdebstrap and imported. Gives words on how. Fault 4, with both reasons, when there is no way.
 */
export async function ensureDebianBase(
  engine: Engine,
  { arch, dataRoot }: Pick<EngineFacts, 'arch' | 'dataRoot'>,
  work: Pick<DriverWork, 'signal' | 'report'>,
  bootstrap: Bootstrap = mmdebstrap,
  limits = { firstLayerMs: FIRST_LAYER_MS, stallMs: STALL_MS }
): Promise<string> {
  if (await isPresent(engine, work.signal)) return 'present'
  const step = (text: string) => work.report({ type: 'step', stage: 'base image', text })
  step(`pulling ${DEBIAN_IMAGE}`)
  const pullError = await pull(engine, arch, work.signal, limits)
  if (pullError === undefined) return 'pulled'
  if (isDiskFull(pullError)) throw diskFull(dataRoot)
  const obstacle = await bootstrap.obstacle(arch)
  if (obstacle !== undefined) {
    throw new Fault(`${DEBIAN_IMAGE} cannot be pulled (${pullError}), and cannot be made here: ${obstacle}.`, {
      exitCode: 4,
      hint: `Give the engine access to Docker Hub, or load the image: docker load < debian.tar${process.platform === 'linux' ? '; or: sudo apt-get install mmdebstrap' : ''}`
    })
  }
  step(`${DEBIAN_IMAGE} cannot be pulled; making it from Debian's packages`)
  try {
    await importDebian(engine, work.signal, bootstrap, step)
  } catch (error) {
    throw isDiskFull(messageOf(error)) ? diskFull(dataRoot) : error
  }
  return 'made with mmdebstrap'
}

async function isPresent(engine: Engine, signal: AbortSignal): Promise<boolean> {
  try {
    const image = await engine.json<{ Architecture?: string }>('GET', `/images/${DEBIAN_IMAGE}/json`, undefined, {
      signal
    })
    return image.Architecture === 'amd64'
  } catch (error) {
    if (error instanceof EngineError && error.status === 404) return false
    throw error
  }
}

/** Pulls; the reason in words when it did not work, since there is another way. */
async function pull(
  engine: Engine,
  engineArch: string,
  signal: AbortSignal,
  limits: { firstLayerMs: number; stallMs: number }
): Promise<string | undefined> {
  const late = new AbortController()
  let timer = setTimeout(() => late.abort(), limits.firstLayerMs)
  const query = new URLSearchParams({ fromImage: REPOSITORY, tag: TAG })
  if (engineArch !== 'amd64') query.set('platform', 'linux/amd64')
  try {
    const both = AbortSignal.any([signal, late.signal])
    const answer = await engine.request('POST', `/images/create?${query}`, {
      signal: both,
      timeoutMs: limits.firstLayerMs
    })
    for await (const message of progressMessages(answer.body)) {
      if (message.error !== undefined) return shorten(message.error)
      // "Pulling from library/debian" comes before the registry has sent anything.
      if (message.progressDetail === undefined && !/^(pull complete|digest|status)/i.test(message.status ?? ''))
        continue
      clearTimeout(timer)
      timer = setTimeout(() => late.abort(), limits.stallMs)
    }
    return (await isPresent(engine, signal)) ? undefined : 'the engine did not keep it'
  } catch (error) {
    if (signal.aborted) throw new Fault('interrupted.', { exitCode: 130 })
    return late.signal.aborted ? 'no answer from the registry' : shorten(messageOf(error))
  } finally {
    clearTimeout(timer)
  }
}

async function importDebian(
  engine: Engine,
  signal: AbortSignal,
  bootstrap: Bootstrap,
  step: (text: string) => void
): Promise<void> {
  // An engine that breaks off reads no more, and mmdebstrap would wait for a reader for ever.
  const broken = new AbortController()
  const { stdout, done } = await bootstrap.start(AbortSignal.any([signal, broken.signal]), line => {
    const said = /^I: (.+)/.exec(line)?.[1]
    if (said !== undefined) step(`mmdebstrap: ${said.slice(0, 60)}`)
  })
  // The engine would import half an archive as an image: its end is sent only when mmdebstrap has succeeded.
  const archive = new PassThrough()
  stdout.pipe(archive, { end: false })
  // What fails first is the cause; it takes the other along.
  let cause: unknown
  const made = Promise.all([done, finished(stdout)]).then(
    () => void archive.end(),
    (error: Error) => {
      cause ??= error
      archive.destroy(error)
    }
  )
  const query = new URLSearchParams({ fromSrc: '-', repo: REPOSITORY, tag: TAG, changes: 'CMD ["bash"]' })
  const imported = engine
    .request('POST', `/images/create?${query}`, {
      body: archive,
      headers: { 'Content-Type': 'application/x-tar' },
      signal,
      timeoutMs: BOOTSTRAP_MS
    })
    .then(async answer => {
      for await (const message of progressMessages(answer.body)) {
        if (message.error !== undefined) throw new Fault(`the engine did not take ${DEBIAN_IMAGE}: ${message.error}`)
      }
    })
    .catch((error: unknown) => {
      cause ??= error
      broken.abort()
    })
  await Promise.all([made, imported])
  if (cause !== undefined) throw cause
}

/** The real thing: Debian's own tool, with the mirror that this host uses. */
export const mmdebstrap: Bootstrap = {
  obstacle: async engineArch => {
    if (process.platform !== 'linux') return 'that needs a Debian host'
    if (engineArch !== 'amd64' || process.arch !== 'x64') return `that needs amd64, and this is ${engineArch}`
    try {
      await run(['mmdebstrap', '--version'], { timeoutMs: 10_000 })
      return undefined
    } catch (error) {
      return messageOf(error).replace(/\.$/, '')
    }
  },
  start: async (signal, onLine) => {
    const argv = mmdebstrapArguments(await debianMirror())
    return stream(['mmdebstrap', ...argv], { signal, timeoutMs: BOOTSTRAP_MS, onLine })
  }
}

/** The result is on stdout, as a tar archive. Without a mirror mmdebstrap takes Debian's own. */
export function mmdebstrapArguments(mirror: string | undefined): string[] {
  return [
    '--variant=minbase',
    '--architectures=amd64',
    '--include=ca-certificates',
    '--aptopt=Acquire::Retries "3"',
    ...SLIM.map(path => `--dpkgopt=path-exclude=${path}`),
    '--dpkgopt=path-include=/usr/share/doc/*/copyright',
    'trixie',
    '-',
    ...(mirror === undefined ? [] : [mirror])
  ]
}

function shorten(text: string): string {
  const line = text.trim().split('\n')[0] ?? ''
  return line.length > 200 ? `${line.slice(0, 200)}…` : line
}
