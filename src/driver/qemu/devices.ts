import { randomInt } from 'node:crypto'
import { readFile, rm } from 'node:fs/promises'
import { writeFileAtomic } from '#lib/atomic-file.ts'
import { Fault } from '#lib/fault.ts'
import { readPpm, writePng } from './png.ts'
import { type Qmp, QmpError } from './qmp.ts'
import { type DriveId, mediumNode } from './vm-spec.ts'

/** Writes a picture of the guest's screen. Through PPM, which every build of QEMU can write; PNG is an option of the build. */
export async function screenshot(qmp: Qmp, pngFile: string): Promise<void> {
  const temporary = `${pngFile}.${process.pid}.ppm`
  try {
    await qmp.execute('screendump', { filename: temporary })
    const picture = readPpm(await readFile(temporary))
    if (picture === undefined) throw new Fault('QEMU wrote no picture of the screen.')
    await writeFileAtomic(pngFile, writePng(picture))
  } finally {
    await rm(temporary, { force: true })
  }
}

// Without those that look alike.
const LETTERS = 'abcdefghijkmnpqrstuvwxyz23456789'

/**
 * Lets VNC clients in with a new password for `seconds`; connections that are there go on. Gives the password: eight
 * letters, more are ignored by the protocol (RFC 6143, 7.2.2).
 */
export async function setVncPassword(qmp: Qmp, seconds: number): Promise<string> {
  const password = Array.from({ length: 8 }, () => LETTERS[randomInt(LETTERS.length)]).join('')
  await qmp.execute('set_password', { protocol: 'vnc', password })
  await qmp.execute('expire_password', { protocol: 'vnc', time: `+${seconds}` })
  return password
}

/** Puts a disc image into a drive, in place of what is in it; also when the guest has locked the drive. */
export async function changeMedium(qmp: Qmp, drive: DriveId, file: string): Promise<void> {
  await eject(qmp, drive)
  await qmp.execute('blockdev-change-medium', {
    id: drive,
    filename: file,
    format: 'raw',
    'read-only-mode': 'read-only'
  })
}

/** Empties a drive, and lets go of the file. Does nothing when it is empty. */
export async function eject(qmp: Qmp, drive: DriveId): Promise<void> {
  await qmp.execute('eject', { id: drive, force: true })
  const node = mediumNode(drive)
  const nodes = await qmp.execute<{ 'node-name'?: string }[]>('query-named-block-nodes', { flat: true })
  // A medium of the command line stays open until its node is removed.
  if (nodes.some(found => found['node-name'] === node)) await qmp.execute('blockdev-del', { 'node-name': node })
}

/** How many reads and writes all drives have done since the start. */
export async function blockActivity(qmp: Qmp): Promise<number> {
  const drives = await qmp.execute<{ stats: { rd_operations: number; wr_operations: number } }[]>('query-blockstats')
  return drives.reduce((sum, { stats }) => sum + stats.rd_operations + stats.wr_operations, 0)
}

/** Leads a loopback port of the host to a port of the guest, while it runs. Fault when the port is taken. */
export async function addForward(qmp: Qmp, hostPort: number, guestPort: number): Promise<void> {
  const words = (await qmp.human(`hostfwd_add net tcp:127.0.0.1:${hostPort}-:${guestPort}`)).trim()
  if (words !== '') throw new QmpError('hostfwd_add', 'GenericError', `port ${hostPort} cannot be forwarded: ${words}`)
}

/** Ends the forward of a loopback port. Gives false when there was none. */
export async function removeForward(qmp: Qmp, hostPort: number): Promise<boolean> {
  const words = (await qmp.human(`hostfwd_remove net tcp:127.0.0.1:${hostPort}`)).trim()
  return /removed/.test(words)
}
