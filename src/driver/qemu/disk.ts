import { realpath, rename, rm, stat } from 'node:fs/promises'
import { basename, dirname, join, relative } from 'node:path'
import { run } from '#lib/child-process.ts'
import { Fault } from '#lib/fault.ts'

/** `program` is qemu-img where it is not the one on PATH. */
export interface DiskOptions {
  program?: string
  signal?: AbortSignal
}

export interface DiskSnapshot {
  name: string
  /** ISO 8601. */
  madeAt: string
  /** Of the guest's memory; 0 when it was off. */
  memoryBytes: number
}

export interface DiskInfo {
  format: string
  /** The size that the guest sees. */
  virtualBytes: number
  /** What the file takes on the host. */
  actualBytes: number
  /** Absolute path of the image that this one is an overlay of. */
  backing?: string
  snapshots: DiskSnapshot[]
}

/** Makes an empty qcow2 image; takes no room on the host yet. Fault when the file exists. */
export async function createDisk(file: string, bytes: number, options: DiskOptions = {}): Promise<void> {
  await refuseExisting(file)
  await qemuImg(['create', '-q', '-f', 'qcow2', file, String(bytes)], options)
}

/**
 * Makes a qcow2 image that shares all content of `base`, which must not change from then on. The path to the base is
 * kept relative, so that a person may move the whole of ORIEL_HOME. `bytes` may be more than the base has, not less.
 */
export async function createOverlay(
  file: string,
  base: string,
  bytes?: number,
  options: DiskOptions = {}
): Promise<void> {
  await refuseExisting(file)
  const { format, virtualBytes } = await diskInfo(base, options)
  if (bytes !== undefined) refuseShrinking(base, virtualBytes, bytes)
  // Through real paths, since ".." after a symbolic link leads elsewhere than it looks.
  const folder = await realpath(dirname(file))
  const path = join(folder, basename(file))
  const backing = relative(folder, await realpath(base))
  const size = bytes === undefined ? [] : [String(bytes)]
  await qemuImg(['create', '-q', '-f', 'qcow2', '-b', backing, '-F', format, path, ...size], options)
}

/** What is known of an image; also while a machine uses it. */
export async function diskInfo(file: string, options: DiskOptions = {}): Promise<DiskInfo> {
  const info = JSON.parse(await qemuImg(['info', '-U', '--output=json', file], options)) as {
    format: string
    'virtual-size': number
    'actual-size'?: number
    'full-backing-filename'?: string
    snapshots?: { name: string; 'date-sec': number; 'date-nsec': number; 'vm-state-size': number }[]
  }
  return {
    format: info.format,
    virtualBytes: info['virtual-size'],
    actualBytes: info['actual-size'] ?? 0,
    ...(info['full-backing-filename'] === undefined ? {} : { backing: await absolute(info['full-backing-filename']) }),
    snapshots: (info.snapshots ?? []).map(snapshot => ({
      name: snapshot.name,
      madeAt: new Date(snapshot['date-sec'] * 1000 + snapshot['date-nsec'] / 1e6).toISOString(),
      memoryBytes: snapshot['vm-state-size']
    }))
  }
}

/** Makes the disk of a machine that is off larger; the guest has to take the new room itself. Fault 3 when it would shrink. */
export async function growDisk(file: string, bytes: number, options: DiskOptions = {}): Promise<void> {
  const { virtualBytes } = await diskInfo(file, options)
  if (bytes === virtualBytes) return
  refuseShrinking(file, virtualBytes, bytes)
  await qemuImg(['resize', '-q', '-f', 'qcow2', file, String(bytes)], options)
}

/** Makes a machine's own qcow2 copy of the firmware's variables, whole or not at all. Replaces one that is there. */
export async function copyVars(template: string, target: string, options: DiskOptions = {}): Promise<void> {
  const { format } = await diskInfo(template, options)
  const temporary = `${target}.${process.pid}.tmp`
  try {
    await qemuImg(['convert', '-q', '-f', format, '-O', 'qcow2', template, temporary], options)
    await rename(temporary, target)
  } finally {
    await rm(temporary, { force: true })
  }
}

/** Takes a snapshot of all files under one name, or of none. The machine is off. Fault 3 when one has such a snapshot. */
export async function offlineSnapshotCreate(
  files: readonly string[],
  name: string,
  options: DiskOptions = {}
): Promise<void> {
  for (const file of files) {
    // qemu-img would make a second one of the same name.
    if (await hasSnapshot(file, name, options)) {
      throw new Fault(`there is a snapshot "${name}" already.`, { exitCode: 3 })
    }
  }
  const done: string[] = []
  try {
    for (const file of files) {
      await qemuImg(['snapshot', '-q', '-c', name, file], options)
      done.push(file)
    }
  } catch (error) {
    for (const file of done) await qemuImg(['snapshot', '-q', '-d', name, file], {}).catch(() => undefined)
    throw error
  }
}

/** Sets all files back to a snapshot. The machine is off. Fault 3, and nothing is changed, when a file has no such snapshot. */
export async function offlineSnapshotRestore(
  files: readonly string[],
  name: string,
  options: DiskOptions = {}
): Promise<void> {
  for (const file of files) {
    if (!(await hasSnapshot(file, name, options))) {
      throw new Fault(`${basename(file)} has no snapshot "${name}".`, { exitCode: 3 })
    }
  }
  for (const file of files) await qemuImg(['snapshot', '-q', '-a', name, file], options)
}

/** Removes a snapshot from all files that have it. The machine is off. */
export async function offlineSnapshotDelete(
  files: readonly string[],
  name: string,
  options: DiskOptions = {}
): Promise<void> {
  for (const file of files) {
    if (await hasSnapshot(file, name, options)) await qemuImg(['snapshot', '-q', '-d', name, file], options)
  }
}

/**
 * Looks whether an image is whole, as after QEMU was killed. Clusters that were lost (`leaks`) cost room only and are
 * given back; a damaged image is left as it is. The machine is off.
 */
export async function checkDisk(
  file: string,
  options: DiskOptions = {}
): Promise<{ result: 'ok' | 'repaired' | 'damaged'; detail: string }> {
  // Exit codes: 0 is whole, 2 damaged, 3 has leaks; 1 is that it could not be checked.
  const check = await qemuImgResult(['check', '-q', '-f', 'qcow2', file], options)
  if (check.exitCode === 0) return { result: 'ok', detail: 'whole' }
  if (check.exitCode === 3) {
    await qemuImg(['check', '-q', '-f', 'qcow2', '-r', 'leaks', file], options)
    return { result: 'repaired', detail: 'gave back room that was lost when QEMU was killed' }
  }
  const detail = (check.stderr + check.stdout).trim()
  if (check.exitCode !== 2) throw diskFault('check', file, detail)
  return { result: 'damaged', detail }
}

async function hasSnapshot(file: string, name: string, options: DiskOptions): Promise<boolean> {
  return (await diskInfo(file, options)).snapshots.some(snapshot => snapshot.name === name)
}

async function refuseExisting(file: string): Promise<void> {
  const found = await stat(file).catch(() => undefined)
  // qemu-img create would empty it.
  if (found !== undefined) throw new Fault(`${file} exists already.`)
}

function refuseShrinking(file: string, from: number, to: number): void {
  if (to >= from) return
  throw new Fault(`a disk cannot shrink: ${basename(file)} has ${from} bytes, asked for ${to}.`, {
    exitCode: 3,
    hint: `Ask for at least ${Math.ceil(from / 1024 ** 3)}GiB, or make a new machine.`
  })
}

// qemu-img joins the image's folder and the relative path, which leaves ".." in the middle.
async function absolute(path: string): Promise<string> {
  return realpath(path).catch(() => path)
}

async function qemuImg(args: string[], options: DiskOptions): Promise<string> {
  const { exitCode, stdout, stderr } = await qemuImgResult(args, options)
  if (exitCode !== 0) throw diskFault(args[0] ?? '', args.at(-1) ?? '', stderr.trim())
  return stdout
}

function qemuImgResult(args: string[], { program, signal }: DiskOptions) {
  return run([program ?? 'qemu-img', ...args], signal === undefined ? {} : { signal })
}

function diskFault(verb: string, file: string, words: string): Fault {
  if (/Failed to get .*lock/i.test(words)) {
    return new Fault(`${file} is in use by another process.`, { exitCode: 3, hint: 'Stop the machine that uses it.' })
  }
  if (/No space left on device/i.test(words)) {
    return new Fault(`no space left on the disk of the host for ${file}.`, { exitCode: 4, hint: 'Free some room.' })
  }
  return new Fault(`qemu-img ${verb} failed: ${words.replace(/^qemu-img: /, '')}`)
}
