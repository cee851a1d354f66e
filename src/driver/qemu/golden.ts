import { createHash } from 'node:crypto'
import { readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { readJsonFile } from '#lib/atomic-file.ts'
import { Fault } from '#lib/fault.ts'
import { diskInfo } from './disk.ts'

/** The disk of a golden image: Windows Server asks for 32 GB; a machine's own disk grows from it. */
export const GOLDEN_DISK_BYTES = 40 * 1024 ** 3

/** What a golden image holds: `golden.json` beside it. */
export interface Golden {
  key: string
  release: string
  edition: string
  /** `26100.32230`. */
  build: string
  isolation: string
  engine: string
  locale: string
  madeAt: string
  /** What its making took, in seconds. */
  seconds: number
  /** Virtual size of the disk in bytes; a machine's own can only be larger. */
  diskBytes: number
}

/** Names on disk of one golden image, or of one that is being made. */
export interface GoldenFiles {
  folder: string
  disk: string
  vars: string
  about: string
}

export function goldenFolder(home: string): string {
  return join(home, 'golden')
}

/** A finished image: its folder got its name by a rename, so it is whole or absent. */
export function goldenFiles(home: string, key: string): GoldenFiles {
  return filesIn(join(goldenFolder(home), key))
}

export function filesIn(folder: string): GoldenFiles {
  return {
    folder,
    disk: join(folder, 'disk.qcow2'),
    vars: join(folder, 'vars.qcow2'),
    about: join(folder, 'golden.json')
  }
}

/** The name of the image for all that went into it. */
export function goldenKey(parts: Readonly<Record<string, string>>): string {
  const text = JSON.stringify(Object.entries(parts).sort(([a], [b]) => (a < b ? -1 : 1)))
  return createHash('sha256').update(text).digest('hex').slice(0, 12)
}

/** Undefined when there is none. */
export async function readGolden(home: string, key: string): Promise<Golden | undefined> {
  return (await readJsonFile(goldenFiles(home, key).about)) as Golden | undefined
}

/** A golden image, and the machines that need it. */
export interface GoldenEntry extends Golden {
  bytes: number
  machines: string[]
}

/** All golden images, by release and age. `machines` are the folders of all machines. */
export async function listGolden(home: string): Promise<GoldenEntry[]> {
  const entries: GoldenEntry[] = []
  for (const key of await readdir(goldenFolder(home)).catch(() => [])) {
    const golden = await readGolden(home, key).catch(() => undefined)
    if (golden === undefined) continue
    const { actualBytes } = await diskInfo(goldenFiles(home, key).disk)
    entries.push({ ...golden, bytes: actualBytes, machines: await machinesOf(home, key) })
  }
  return entries.sort((a, b) => a.release.localeCompare(b.release) || a.madeAt.localeCompare(b.madeAt))
}

/** Removes an image that no machine needs. Fault 3 when one does, or when there is no such image. */
export async function removeGolden(home: string, key: string): Promise<void> {
  if ((await readGolden(home, key).catch(() => undefined)) === undefined) {
    throw new Fault(`there is no golden image "${key}".`, {
      exitCode: 3,
      hint: 'See those that exist: oriel golden ls'
    })
  }
  const machines = await machinesOf(home, key)
  if (machines.length > 0) {
    throw new Fault(`the golden image "${key}" is part of ${machines.map(name => `"${name}"`).join(', ')}.`, {
      exitCode: 3,
      hint: `Remove the machine first: oriel rm ${machines[0]}`
    })
  }
  const { folder, about } = goldenFiles(home, key)
  // Without this file it is no image any more, whatever of the rest is still there.
  await rm(about, { force: true })
  await rm(folder, { recursive: true, force: true })
}

/** Names of the machines that are made of an image, or wait for it. */
export async function machinesOf(home: string, key: string): Promise<string[]> {
  const names: string[] = []
  for (const name of await readdir(join(home, 'machines')).catch(() => [])) {
    const record = await readJsonFile(join(home, 'machines', name, 'vm', 'vm.json')).catch(() => undefined)
    if ((record as { golden?: string } | undefined)?.golden === key) names.push(name)
  }
  return names
}
