import { Fault } from '#lib/fault.ts'
import type { Report } from '#lib/progress.ts'
import { formatDuration } from '#lib/size.ts'
import { pause } from '#lib/wait.ts'
import type { ProgressLine } from '#windows/progress-line.ts'
import type { ProgressTail } from '#windows/progress-tail.ts'
import type { VmState } from './vm-process.ts'

/** What a virtual machine is busy with. */
export interface Activity {
  state: VmState
  /** Disk requests so far. */
  operations: number
  /** Seconds of CPU so far. */
  cpuSeconds: number
}

export interface Follow {
  machine: string
  /** Oriel's stage, for progress and errors. */
  stage: string
  tail: ProgressTail
  /** Looks at the virtual machine. */
  look(): Promise<Activity>
  /** Presses Enter in the guest. */
  pressEnter?(): Promise<void>
  /** Saves the screen for a person; gives the file. */
  screenshot(): Promise<string | undefined>
  /** Without a line, disk or CPU activity for so long, the guest counts as stalled. */
  stallMs: number
  /** Without a line for so long it does, however busy it is. */
  silentMs: number
  onLine?(line: ProgressLine): Promise<void>
  signal: AbortSignal
  report: Report
}

/** The host's disk is full. QEMU has halted the guest, which goes on unharmed once there is room. */
export class DiskFull extends Fault {}

/** Above these, between two looks, a guest is doing something. An idle Windows is well below. */
const BUSY_CPU = 0.1
const BUSY_OPERATIONS = 1
const TAIL_MS = 250
const LOOK_MS = 5000
/** Windows Setup starts the machine 2 to 4 times, our stages twice; a guest that needs more is in a loop. */
const MAX_BOOTS = 15
/** The prompt of an installation disc stands for five seconds. */
const KEYS = 8

/**
 * Follows a guest by its serial port until `reached` is true for a line, or its QEMU has ended. Fault when the guest says
 * that a stage failed, when it stalls or restarts for ever, and when the host's disk is full.
 */
export async function followGuest(
  follow: Follow,
  reached: (line: ProgressLine) => boolean
): Promise<'reached' | 'ended'> {
  const watch = new StallWatch(follow.stallMs, follow.silentMs)
  const lookMs = Math.min(LOOK_MS, follow.stallMs / 4)
  let guestStage = 'no stage yet'
  let lookAt = 0
  let boots = 0
  let keys = 0
  for (;;) {
    const news = await follow.tail.read()
    for (const line of news.lines) {
      watch.line(Date.now())
      guestStage = line.stage
      tell(follow, line)
      await follow.onLine?.(line)
      if (line.state === 'failed') throw failed(follow, line)
      if (reached(line)) return 'reached'
    }
    if (news.boots > boots) {
      boots = news.boots
      if (boots > MAX_BOOTS) throw await stuck(follow, `has started ${boots} times without getting further`, guestStage)
      keys = follow.pressEnter !== undefined && /DVD|CD-?ROM/i.test(news.lastBoot ?? '') ? KEYS : 0
    }
    if (keys > 0) {
      keys -= 1
      await follow.pressEnter?.()
    }
    if (Date.now() >= lookAt) {
      lookAt = Date.now() + lookMs
      const activity = await follow.look()
      // Its last lines may have come between the two looks.
      if (activity.state === 'absent') return (await lastLineReached(follow, reached)) ? 'reached' : 'ended'
      if (activity.state === 'io-error') throw diskFull(follow)
      const stalled = watch.look(activity, Date.now())
      if (stalled !== undefined) throw await stuck(follow, stalled, guestStage)
    }
    await pause(keys > 0 ? 700 : TAIL_MS, follow.signal)
  }
}

async function lastLineReached(follow: Follow, reached: (line: ProgressLine) => boolean): Promise<boolean> {
  for (const line of (await follow.tail.read()).lines) {
    await follow.onLine?.(line)
    if (line.state === 'failed') throw failed(follow, line)
    if (reached(line)) return true
  }
  return false
}

/** Decides whether a guest stands still. */
export class StallWatch {
  readonly #stallMs: number
  readonly #silentMs: number
  #lineAt: number | undefined
  #busyAt: number | undefined
  #last: (Activity & { at: number }) | undefined

  constructor(stallMs: number, silentMs: number) {
    this.#stallMs = stallMs
    this.#silentMs = silentMs
  }

  line(now: number): void {
    this.#lineAt = now
    this.#busyAt = now
  }

  /** Words on how it stands still; undefined while it does not. */
  look(activity: Activity, now: number): string | undefined {
    const last = this.#last
    this.#last = { ...activity, at: now }
    this.#lineAt ??= now
    this.#busyAt ??= now
    if (last !== undefined && now > last.at) {
      const seconds = (now - last.at) / 1000
      const cpu = (activity.cpuSeconds - last.cpuSeconds) / seconds
      const disk = (activity.operations - last.operations) / seconds
      if (cpu > BUSY_CPU || disk > BUSY_OPERATIONS) this.#busyAt = now
    }
    if (now - this.#busyAt >= this.#stallMs) return `has done nothing for ${formatDuration(now - this.#busyAt)}`
    if (now - this.#lineAt >= this.#silentMs) return `has told nothing for ${formatDuration(now - this.#lineAt)}`
    return undefined
  }
}

function tell({ stage, report }: Follow, line: ProgressLine): void {
  const words = line.state === 'reboot' ? 'the guest restarts' : line.detail
  if (line.state === 'failed') return
  report({ type: 'step', stage, text: words === undefined || words === '' ? line.stage : `${line.stage}: ${words}` })
}

function failed({ machine, stage }: Follow, line: { stage: string; detail: string }): Fault {
  return new Fault(`the guest failed in its stage "${line.stage}": ${line.detail}`, {
    hint: `When that is mended, go on from there with: oriel up ${machine}   (stage ${stage}; what the guest said: oriel logs ${machine} --guest)`
  })
}

function diskFull({ machine }: Follow): Fault {
  return new DiskFull('the disk of this host is full; the virtual machine was halted before anything was lost.', {
    hint: `Free some space, then go on with: oriel up ${machine}`
  })
}

async function stuck(follow: Follow, how: string, guestStage: string): Promise<Fault> {
  const picture = await follow.screenshot().catch(() => undefined)
  const seen = picture === undefined ? '' : ` Its screen is in ${picture}.`
  return new Fault(`the guest ${how}, in stage "${follow.stage}" (last word: ${guestStage}).${seen}`, {
    hint: `Start it again with: oriel up ${follow.machine}`
  })
}
