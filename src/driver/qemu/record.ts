import { mkdir } from 'node:fs/promises'
import type { Forward, GuestFacts, MachinePlace, Snapshot } from '#driver/driver.ts'
import { readJsonFile, writeFileAtomic } from '#lib/atomic-file.ts'
import { Fault } from '#lib/fault.ts'
import { machineFiles } from './machine-files.ts'
import type { Accelerator } from './vm-spec.ts'

/** What a running guest was given. A memory image fits only a machine that is given the same. */
export interface Shape {
  cpus: number
  memoryMiB: number
  accelerator: Accelerator
}

/** A snapshot, and what has to be known to go back to it. */
export interface RecordedSnapshot extends Snapshot {
  shape?: Shape
  applied?: string
  engine?: string
}

/** What Oriel knows of a virtual machine: `vm.json`. Nothing in it is a secret. */
export interface VmRecord {
  /** Kept for the machine's life, so that what a person wrote down stays true. */
  ports: { engine: number; ssh: number; vnc: number }
  /** The golden image that it is made of, or waits for. */
  golden?: string
  /** True once its disk is there. */
  made?: true
  /** `id` of the machine disc that the guest has applied. */
  applied?: string
  /** Version of the engine in the guest, when `oriel upgrade` has put in another than the golden image's. */
  engine?: string
  /** Size of the disk that the guest was told to use, in bytes. */
  extended?: number
  /** Where the log of the serial port was when the machine was last started. */
  bootOffset?: number
  /** What the machine was last started with. */
  shape?: Shape
  /** The internal snapshot that holds its memory: the next start goes on from there. */
  suspended?: { tag: string; shape: Shape }
  forwards: Forward[]
  snapshots: RecordedSnapshot[]
}

/** Undefined for a machine that was never brought up. Fault when the file is damaged. */
export async function readRecord(place: MachinePlace): Promise<VmRecord | undefined> {
  return (await readJsonFile(machineFiles(place).record)) as VmRecord | undefined
}

/** As readRecord, for what needs a machine with a disk: Fault 3 when there is none yet. */
export async function madeRecord(place: MachinePlace, machine: string): Promise<VmRecord> {
  const record = await readRecord(place)
  if (record?.made) return record
  throw new Fault(`machine "${machine}" is not installed yet.`, {
    exitCode: 3,
    hint: `Install it: oriel up ${machine}`
  })
}

/** The guest's last facts. In a file of their own, since the host agent writes them while commands change the record. */
export async function readFacts(place: MachinePlace): Promise<GuestFacts | undefined> {
  return (await readJsonFile(machineFiles(place).facts)) as GuestFacts | undefined
}

export async function writeFacts(place: MachinePlace, facts: GuestFacts): Promise<void> {
  await writeFileAtomic(machineFiles(place).facts, `${JSON.stringify(facts, null, 2)}\n`)
}

/** Changes the record by a function of the newest one on disk. The caller holds the machine's lock. */
export async function changeRecord(place: MachinePlace, change: (record: VmRecord) => VmRecord): Promise<VmRecord> {
  const former = await readRecord(place)
  if (former === undefined) throw new Fault(`${machineFiles(place).record} is missing.`)
  const record = change(former)
  await writeRecord(place, record)
  return record
}

export async function writeRecord(place: MachinePlace, record: VmRecord): Promise<void> {
  const files = machineFiles(place)
  await mkdir(files.folder, { recursive: true, mode: 0o700 })
  await writeFileAtomic(files.record, `${JSON.stringify(record, null, 2)}\n`)
}
