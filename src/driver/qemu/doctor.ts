import type { Check, DriverWork, MachinePlace } from '#driver/driver.ts'
import { messageOf } from '#lib/fault.ts'
import { pkiExpiry } from '#pki/store.ts'
import { serverRelease } from '#windows/server-releases.ts'
import { checkHost } from './host.ts'
import { machineFiles } from './machine-files.ts'
import { readRecord } from './record.ts'
import type { QemuSettings } from './settings.ts'

const DAY_MS = 24 * 60 * 60_000
const WARN_DAYS = 30

/** What the driver needs of this host, and how the machine's certificates are. Never throws; changes nothing. */
export async function checkDriver(
  settings: QemuSettings | undefined,
  work: DriverWork & { place?: MachinePlace }
): Promise<Check[]> {
  const { architecture } = serverRelease(settings?.windows ?? '2025')
  const asked = settings?.accelerator ?? 'auto'
  const checks = await checkHost({ guest: architecture, accelerator: asked, ...work })
  if (work.place !== undefined && (await readRecord(work.place).catch(() => undefined)) !== undefined) {
    checks.push(await checkCertificates(work.place, work.machine))
  }
  return checks
}

async function checkCertificates(place: MachinePlace, machine: string): Promise<Check> {
  const name = 'certificates'
  try {
    const expires = await pkiExpiry(machineFiles(place).pki)
    if (expires === undefined) return { name, result: 'warning', detail: 'none yet', advice: `oriel up ${machine}` }
    const detail = `valid until ${expires.toISOString().slice(0, 10)}`
    if (expires.getTime() - Date.now() > WARN_DAYS * DAY_MS) return { name, result: 'ok', detail }
    return { name, result: 'warning', detail, advice: `oriel certs ${machine} renew` }
  } catch (error) {
    return { name, result: 'warning', detail: messageOf(error), advice: `oriel certs ${machine} renew` }
  }
}
