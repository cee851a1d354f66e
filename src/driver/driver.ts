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

/** Where a driver keeps what belongs to one machine. */
export interface MachinePlace {
  /** ORIEL_HOME, for what machines share (golden images, media). */
  home: string
  /** The machine's own folder. */
  folder: string
  /** A folder whose path is short enough for unix sockets. */
  socketFolder: string
}

/** A driver's work on one machine's files or processes. The machine's lock is held. */
export interface MachineWork extends DriverWork {
  place: MachinePlace
}

export interface UpWork extends MachineWork {
  /** Log for the output of long steps. */
  logFile: string
  /** Runs a named stage and tells of it; `run` gives a few words on its result and the result. */
  stage<T>(name: string, run: (work: DriverWork) => Promise<[detail: string, result: T]>): Promise<T>
  /** Runs while no other command, of any machine, works on the thing that `key` names. */
  alone<T>(key: string, run: (signal: AbortSignal) => Promise<T>): Promise<T>
}

/** An engine that answers. */
export interface Running {
  reference: EngineReference
  windows: { release: string; build: number }
}

/** What a person gave `oriel up` of a machine's settings; an option that is not given leaves the setting as it is. */
export interface UpOptions {
  /** wine: URL of the Linux engine. */
  engine?: string
  windows?: string
  edition?: string
  /** A file or URL of an installation disc. */
  iso?: string
  /** Of the installation disc. */
  sha256?: string
  cpus?: number
  /** As docker writes sizes: `4GiB`, `4096m`. */
  memory?: string
  disk?: string
  isolation?: string
  accelerator?: string
  locale?: string
  keyboard?: string
  timeZone?: string
  /** Files with PowerShell to run in the guest. */
  provision?: string[]
  /** A file or URL of a Docker Engine archive. */
  engineArchive?: string
}

/** What the guest told of itself, and when (ISO 8601). */
export interface GuestFacts {
  product: string
  build: number
  revision: number
  evaluation: boolean
  /** Days of the evaluation that were left at `at`; null when it is no evaluation. */
  daysLeft: number | null
  rearmsLeft: number | null
  engine: string
  at: string
}

export interface Snapshot {
  name: string
  /** ISO 8601. */
  madeAt: string
  /** True when it holds the memory of a running machine as well. */
  live: boolean
}

export interface Forward {
  hostPort: number
  guestPort: number
}

/** What only a machine that is a virtual one can do. Each is a Fault 3 when the machine is not in the state for it. */
export interface VirtualMachine<S> {
  state(place: MachinePlace): Promise<'absent' | 'off' | 'running' | 'paused' | 'suspended'>
  /** Shuts the guest down, and cuts its power after a time. Gives words on how it went. */
  stop(settings: S, work: MachineWork): Promise<string>
  suspend(settings: S, work: MachineWork): Promise<string>
  snapshots: {
    create(name: string, settings: S, work: MachineWork): Promise<string>
    /** Leaves the machine off, or suspended when the snapshot is a live one; the next `up` goes on from there. */
    restore(name: string, settings: S, work: MachineWork): Promise<string>
    list(place: MachinePlace): Promise<Snapshot[]>
    remove(name: string, settings: S, work: MachineWork): Promise<void>
  }
  /** Writes a PNG of the guest's screen. */
  screenshot(file: string, work: MachineWork): Promise<void>
  /** Where a VNC client finds the screen, with a password that is new each time; loopback only. */
  view(work: MachineWork): Promise<{ host: string; port: number; password: string }>
  forwards: {
    add(forward: { hostPort?: number; guestPort: number }, work: MachineWork): Promise<Forward>
    list(place: MachinePlace): Promise<Forward[]>
    remove(hostPort: number, work: MachineWork): Promise<void>
  }
  /** The last known facts of the guest, without asking it. */
  facts(place: MachinePlace): Promise<GuestFacts | undefined>
  /** The folder with ca.pem, cert.pem and key.pem for clients, and the engine's address. */
  tls(place: MachinePlace): Promise<EngineReference>
  renewCertificates(settings: S, work: MachineWork): Promise<string>
  rearm(settings: S, work: MachineWork): Promise<string>
  upgrade(version: string, settings: S, work: MachineWork): Promise<string>
  /** Ends the machine at once and removes its disks. What machines share stays. */
  remove(place: MachinePlace): Promise<void>
  /** For the host agent: looks after the guest (its clock) until the signal fires. */
  watch(place: MachinePlace, log: GuestLog, signal: AbortSignal): Promise<void>
}

export interface GuestLog {
  info(message: string, fields?: Record<string, unknown>): void
  warn(message: string, fields?: Record<string, unknown>): void
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
