import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type Endpoint, parseEndpoint, type TlsMaterial } from '#docker/endpoint.ts'
import { Fault, messageOf } from '#lib/fault.ts'
import type { Report } from '#lib/progress.ts'

/** How to reach an engine, without any secret: keys stay in the folder where their owner keeps them. */
export interface EngineReference {
  url: string
  /** Folder with ca.pem, cert.pem and key.pem; each may be missing. */
  tlsFolder?: string
  skipVerify?: boolean
}

/** What every step of a driver is given. */
export interface DriverWork {
  machine: string
  env: NodeJS.ProcessEnv
  signal: AbortSignal
  report: Report
}

export interface FoundEngine {
  reference: EngineReference
  /** For people: what it is and where it was found. */
  description: string
}

/** A named step of bringing a machine up: does nothing when its result is there already. */
export interface Stage {
  readonly name: string
  /** Gives a few words on the result for people. */
  run(engine: EngineReference, work: DriverWork & { logFile: string }): Promise<string>
}

/** One line of `oriel doctor`. */
export interface Check {
  name: string
  result: 'ok' | 'warning' | 'missing'
  /** What was found. */
  detail: string
  /** What to do about it; not for `ok`. */
  advice?: string
}

/** Makes an engine exist and fit for Windows containers. */
export interface Driver {
  readonly name: string
  /** What a container of this machine is when nobody names a release. */
  readonly windows: { release: string; build: number }
  /** Finds or makes the engine: the one asked for, else the one used before, else the best there is. Fault 4 when there is none. */
  findEngine(asked: { url?: string; recorded?: EngineReference }, work: DriverWork): Promise<FoundEngine>
  /** What has to be done on the engine, in order. */
  readonly stages: readonly Stage[]
  /** Looks at what the driver needs. Never throws; changes nothing. */
  check(recorded: EngineReference | undefined, work: DriverWork): Promise<Check[]>
  /** Removes what `stages` made on the engine. Gives the names of what it removed. */
  removeImages(engine: EngineReference, work: DriverWork): Promise<string[]>
}

/** The endpoint of a reference, with its keys read. Fault when the address or a key cannot be read. */
export async function endpointOf(reference: EngineReference): Promise<Endpoint> {
  if (reference.tlsFolder === undefined) {
    return parseEndpoint(reference.url, reference.skipVerify === true ? { skipVerify: true } : undefined)
  }
  const tls: TlsMaterial = {}
  for (const part of ['ca', 'cert', 'key'] as const) {
    const file = join(reference.tlsFolder, `${part}.pem`)
    try {
      tls[part] = await readFile(file, 'utf8')
    } catch (error) {
      if (!(error instanceof Error && 'code' in error && error.code === 'ENOENT')) {
        throw new Fault(`cannot read ${file}: ${messageOf(error)}`, { exitCode: 4 })
      }
    }
  }
  if (reference.skipVerify === true) tls.skipVerify = true
  return parseEndpoint(reference.url, tls)
}
