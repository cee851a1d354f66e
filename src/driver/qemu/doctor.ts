import * as v from 'valibot'
import type { Check, MachinePlace, MachineWork } from '#driver/driver.ts'
import { messageOf } from '#lib/fault.ts'
import { pkiExpiry } from '#pki/store.ts'
import { serverRelease } from '#windows/server-releases.ts'
import { checkHost } from './host-checks.ts'
import { machineFiles } from './machine-files.ts'
import { readRecord } from './record.ts'
import { diskBytes, memoryMiB, QemuSettings } from './settings.ts'

const DAY_MS = 24 * 60 * 60_000
const WARN_DAYS = 30

/** What the driver needs of this host, and how the machine's certificates are. Never throws; changes nothing. */
export async function checkDriver(settings: QemuSettings | undefined, work: MachineWork): Promise<Check[]> {
  // Without a machine: one as `oriel up --driver qemu` would make it.
  const wanted = settings ?? v.parse(QemuSettings, {})
  const release = serverRelease(wanted.windows)
  const machine = {
    guest: release.architecture,
    accelerator: wanted.accelerator,
    memoryMiB: memoryMiB(wanted),
    diskBytes: diskBytes(wanted),
    nested: wanted.isolation === 'hyperv',
    client: release.kind === 'client'
  }
  const checks = await checkHost(machine, { home: work.place.home, ...work })
  if ((await readRecord(work.place).catch(() => undefined)) !== undefined) {
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
