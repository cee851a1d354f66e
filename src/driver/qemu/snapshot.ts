import { type Qmp, runJob } from './qmp.ts'
import { SNAPSHOT_NODES } from './vm-spec.ts'

/** Saving writes the whole memory of the guest. */
const SAVE_MS = 1_800_000

/**
 * Saves disk, firmware variables and memory under `tag`. The guest stands still meanwhile and goes on afterwards, unless
 * it stood still before, or is to `stayPaused` since QEMU is to end. QmpError when QEMU cannot; the guest goes on then.
 */
export async function saveSnapshot(
  qmp: Qmp,
  tag: string,
  { signal, stayPaused = false }: { signal?: AbortSignal; stayPaused?: boolean } = {}
): Promise<void> {
  const { running } = await qmp.execute<{ running: boolean }>('query-status')
  // snapshot-save would stop a running guest itself, but in QEMU 7.2 it ends in a failed assertion (bdrv_poll_co) when a
  // processor of the guest is in the middle of a write to the firmware's flash.
  if (running) await qmp.execute('stop')
  try {
    await runJob(qmp, 'snapshot-save', { tag, vmstate: SNAPSHOT_NODES[0], devices: SNAPSHOT_NODES }, limits(signal))
  } catch (error) {
    if (running) await qmp.execute('cont').catch(() => undefined)
    throw error
  }
  if (running && !stayPaused) await qmp.execute('cont')
}

/**
 * Sets the machine back to a live snapshot and leaves it paused. Not by `-loadvm`: that looks for the memory on the first
 * device it meets, which is the firmware's flash and not the disk.
 */
export async function loadSnapshot(qmp: Qmp, tag: string, signal?: AbortSignal): Promise<void> {
  await qmp.execute('stop')
  await runJob(qmp, 'snapshot-load', { tag, vmstate: SNAPSHOT_NODES[0], devices: SNAPSHOT_NODES }, limits(signal))
}

/** Removes a snapshot while the machine runs. */
export async function deleteSnapshot(qmp: Qmp, tag: string, signal?: AbortSignal): Promise<void> {
  await runJob(qmp, 'snapshot-delete', { tag, devices: SNAPSHOT_NODES }, limits(signal))
}

function limits(signal: AbortSignal | undefined): { timeoutMs: number; signal?: AbortSignal } {
  return { timeoutMs: SAVE_MS, ...(signal === undefined ? {} : { signal }) }
}
