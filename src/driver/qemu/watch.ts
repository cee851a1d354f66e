import { setTimeout as delay } from 'node:timers/promises'
import { Engine } from '#docker/engine.ts'
import { endpointOf, type GuestLog, type MachinePlace } from '#driver/driver.ts'
import { messageOf } from '#lib/fault.ts'
import { type GuestAccess, guestFacts, setGuestClock } from './guest.ts'
import { readRecord, writeFacts } from './record.ts'
import { engineReference, guestAccess } from './reference.ts'

/** How often the host agent looks at the guest's clock: often enough that a woken laptop is right before its owner types. */
const CLOCK_EVERY_MS = 15_000
const DRIFT_MS = 2000
const FACTS_EVERY_MS = 6 * 60 * 60_000
const ASK_MS = 5000

/**
 * Looks after a running guest until the signal fires: sets its clock when it has drifted (a host that slept, a halted
 * guest), and keeps its facts fresh. Never rejects; a guest that cannot be asked is asked again.
 */
export async function watchGuest(place: MachinePlace, log: GuestLog, signal: AbortSignal): Promise<void> {
  let factsAt = Date.now()
  let quiet = false
  while (!signal.aborted) {
    try {
      const record = await readRecord(place)
      if (record?.made) {
        const access = guestAccess(place, record)
        const drift = await clockDrift(place).catch(async () => {
          // A clock that is years off makes certificates invalid, and ssh does not care.
          const asked = Date.now()
          return Date.parse((await guestFacts(access, signal)).time) - (asked + Date.now()) / 2
        })
        if (Math.abs(drift) > DRIFT_MS) {
          await setGuestClock(access, signal)
          log.info("the guest's clock was set", { secondsOff: Math.round(drift / 1000) })
        }
        if (Date.now() - factsAt > FACTS_EVERY_MS) {
          await askFacts(place, access, signal)
          factsAt = Date.now()
        }
      }
      quiet = false
    } catch (error) {
      // Said once: a guest that is being restarted is no news every 15 s.
      if (!quiet && !signal.aborted) log.warn('the guest cannot be looked after', { why: messageOf(error) })
      quiet = true
    }
    await delay(CLOCK_EVERY_MS, undefined, { signal }).catch(() => undefined)
  }
}

/** Asks the guest for its facts, and keeps them. */
export async function askFacts(place: MachinePlace, access: GuestAccess, signal: AbortSignal): Promise<void> {
  const { time: _, ...facts } = await guestFacts(access, signal)
  await writeFacts(place, { ...facts, at: new Date().toISOString() })
}

/** How far the guest's clock is ahead of this host's, in ms, as its engine tells it. */
async function clockDrift(place: MachinePlace): Promise<number> {
  const record = await readRecord(place)
  if (record === undefined) return 0
  const engine = new Engine(await endpointOf(engineReference(place, record)))
  const asked = Date.now()
  const limit = { timeoutMs: ASK_MS, signal: AbortSignal.timeout(ASK_MS) }
  const { SystemTime } = await engine.json<{ SystemTime?: string }>('GET', '/info', undefined, limit)
  const told = Date.parse(SystemTime ?? '')
  // The answer was made somewhere between question and now.
  return Number.isNaN(told) ? 0 : told - (asked + Date.now()) / 2
}
