import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { GenericSchema } from 'valibot'
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

/** One line of `oriel doctor`. */
export interface Check {
  name: string
  result: 'ok' | 'warning' | 'missing'
  /** What was found. */
  detail: string
  /** What to do about it; not for `ok`. */
  advice?: string
}

/** Makes an engine exist and fit for Windows containers. `S` are its settings of one machine. */
export interface Driver<S = unknown> {
  readonly name: string
  /** What machine.yaml may say beside `driver`: a strict object. What it gives is also what is written back. */
  readonly settings: GenericSchema<unknown, S>
  /**
   * The settings of a machine after `oriel up` with these options; Fault 2 for an option that the driver does not have, 3 for a
   * change that a made machine cannot take, 4 when the host lacks what they name. `former` is undefined for a new machine.
   */
  configure(former: S | undefined, options: UpOptions, work: ConfigureWork): Promise<S>
  /** Makes the engine exist, stage by stage; every stage looks first whether it is done. */
  bringUp(settings: S, work: UpWork): Promise<Running>
  /** The engine of a machine that was brought up before, without asking it. Undefined for one that never was. */
  reference(settings: S, place: MachinePlace): Promise<EngineReference | undefined>
  /** Looks at what the driver needs; without settings for a machine yet to be made. Never throws; no change to the machine. */
  check(settings: S | undefined, work: MachineWork): Promise<Check[]>
  /** For an engine that machines and the owner's own work share: a machine's objects on it are told apart by their labels. */
  readonly sharedEngine?: {
    /** Removes what `bringUp` made on the engine for all machines. Gives the names of what it removed. */
    removeImages(reference: EngineReference, work: DriverWork): Promise<string[]>
  }
  readonly vm?: VirtualMachine<S>
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

export interface ConfigureWork extends MachineWork {
  /** Runs a named stage and tells of it; `run` gives a few words on its result and the result. */
  stage<T>(name: string, run: (work: DriverWork) => Promise<[detail: string, result: T]>): Promise<T>
}

export interface UpWork extends ConfigureWork {
  /** Log for the output of long steps. */
  logFile: string
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
  /** Gives up the saved memory of a suspended machine. */
  discard(work: MachineWork): Promise<string>
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
  /** Files with what the guest said while it started (of its installation, while that goes on), and what its virtual machine said. */
  logs(place: MachinePlace): Promise<{ guest: string; hypervisor: string }>
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
