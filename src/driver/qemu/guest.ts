import { lastLines, run } from '#lib/child-process.ts'
import { Fault } from '#lib/fault.ts'
import { type FactsAnswer, parseFacts } from '#windows/guest-facts.ts'
import { knownHosts, sshArguments } from './ssh-identity.ts'

/** Where the guest's sshd is reached, and with what keys. */
export interface GuestAccess {
  /** The machine's ssh folder. */
  folder: string
  /** Loopback port that leads to the guest's port 22. */
  port: number
}

const LIMIT_MS = 60_000
const COMMAND = 'powershell -NoProfile -NonInteractive -ExecutionPolicy Bypass -File C:\\ProgramData\\Oriel\\guest.ps1'

/** The verbs of guest/windows/CONTRACT.md, "Care". */
type Verb = 'facts' | 'set-clock' | 'apply' | 'upgrade' | 'rearm' | 'extend-disk'

/** Asks the guest for its facts; `time` is its clock. Fault when ssh fails, or the guest says no or something else. */
export async function guestFacts(access: GuestAccess, signal?: AbortSignal): Promise<FactsAnswer> {
  const facts = parseFacts(await ask(access, 'facts', [], signal))
  if (facts === undefined) throw new Fault('the guest told its facts in a form that this Oriel does not know.')
  return facts
}

/** Sets the guest's clock to this host's. */
export async function setGuestClock(access: GuestAccess, signal?: AbortSignal): Promise<void> {
  await ask(access, 'set-clock', [new Date().toISOString()], signal)
}

/** Has the guest apply the machine disc in its drive. `reboot` when it restarts itself to finish. */
export async function applyDisc(
  access: GuestAccess,
  limitMs: number,
  signal?: AbortSignal
): Promise<{ id: string; reboot: boolean }> {
  const { id, reboot } = await ask(access, 'apply', [], signal, limitMs)
  return { id: String(id), reboot: reboot === true }
}

/** Has the guest replace its engine by that of the engine disc in its drive. Gives the version that answers then. */
export async function upgradeEngine(access: GuestAccess, limitMs: number, signal?: AbortSignal): Promise<string> {
  return String((await ask(access, 'upgrade', [], signal, limitMs)).engine)
}

/** Renews the guest's evaluation period. */
export async function rearmGuest(
  access: GuestAccess,
  signal?: AbortSignal
): Promise<{ daysLeft: number | null; rearmsLeft: number | null; reboot: boolean }> {
  const { daysLeft, rearmsLeft, reboot } = await ask(access, 'rearm', [], signal)
  return { daysLeft: numberOrNull(daysLeft), rearmsLeft: numberOrNull(rearmsLeft), reboot: reboot === true }
}

/** Gives the guest's C: all of its disk. */
export async function extendGuestDisk(access: GuestAccess, signal?: AbortSignal): Promise<void> {
  await ask(access, 'extend-disk', [], signal)
}

async function ask(
  access: GuestAccess,
  verb: Verb,
  words: readonly string[],
  signal?: AbortSignal,
  timeoutMs = LIMIT_MS
): Promise<Record<string, unknown>> {
  // The guest's host key was made here, so there is nothing to be trusted at the first contact.
  await knownHosts(access.folder, access.port)
  const argv: [string, ...string[]] = ['ssh', ...sshArguments(access), [COMMAND, verb, ...words].join(' ')]
  const { exitCode, stdout, stderr } = await run(argv, { timeoutMs, ...(signal === undefined ? {} : { signal }) })
  const answer = lastObject(stdout)
  if (answer !== undefined && typeof answer.error === 'string') {
    throw new Fault(`the guest could not ${verb.replace('-', ' ')}: ${answer.error}`)
  }
  if (exitCode !== 0 || answer === undefined) {
    throw new Fault(`"${verb}" in the guest failed (${exitCode}): ${lastLines(stderr || stdout, 2) || 'no answer'}`)
  }
  return answer
}

/** PowerShell may write before the answer (a profile, a warning): the last line that is an object counts. */
function lastObject(text: string): Record<string, unknown> | undefined {
  for (const line of text.trim().split(/\r?\n/).reverse()) {
    try {
      const value: unknown = JSON.parse(line)
      if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Record<string, unknown>
    } catch {
      // Some other output.
    }
  }
  return undefined
}

function numberOrNull(value: unknown): number | null {
  return typeof value === 'number' ? value : null
}
