import { readFile } from 'node:fs/promises'
import { basename } from 'node:path'
import type { MachineWork } from '#driver/driver.ts'
import { writeFileAtomic } from '#lib/atomic-file.ts'
import { Fault, messageOf } from '#lib/fault.ts'
import { ensurePki, serverFiles } from '#pki/store.ts'
import { computerName } from '#windows/computer-name.ts'
import { daemonJson } from '#windows/daemon-json.ts'
import type { DiscFile } from '#windows/disc/disc-file.ts'
import { writeDisc } from '#windows/disc/iso-writer.ts'
import { MACHINE_LABEL, machineDiscFiles } from '#windows/disc/machine-disc.ts'
import { hostSettings, parseTimeZone } from '#windows/host-settings.ts'
import { newPassword } from '#windows/password.ts'
import { machineFiles } from './machine-files.ts'
import type { QemuSettings } from './settings.ts'
import { ensureSshIdentity } from './ssh-identity.ts'

/** The address of the host in QEMU's user network, for the guest and its containers. */
const HOST_GATEWAY = '10.0.2.2'
const NTP_SERVERS = ['time.windows.com']

/** The disc that makes a guest of the golden image this machine's, as it should be now. */
export interface WantedDisc {
  /** What the guest says when it has applied it. */
  id: string
  files: DiscFile[]
}

/** Makes what is missing of the machine's password, certificates and keys, and gathers the disc. Nothing is written to the disc yet. */
export async function wantedDisc(settings: QemuSettings, work: MachineWork): Promise<WantedDisc> {
  const files = machineFiles(work.place)
  await ensurePki(files.pki, { machine: work.machine })
  const ssh = await ensureSshIdentity(files.ssh, work.machine)
  return machineDiscFiles({
    name: work.machine,
    computerName: computerName(work.machine),
    password: await machinePassword(files.password),
    timeZone: await timeZoneOf(settings, work),
    hostGateway: HOST_GATEWAY,
    ntpServers: NTP_SERVERS,
    daemonJson: daemonJson(settings.engine, { isolation: settings.isolation, hostGateway: HOST_GATEWAY }),
    certificates: await serverFiles(files.pki),
    authorizedKey: ssh.authorizedKey,
    hostKey: ssh.hostKey,
    hostKeyPublic: ssh.hostKeyPublic,
    provision: await provisionScripts(settings.provision)
  })
}

/** Writes the disc (0600): it holds the password and a key, so it goes as soon as the guest has applied it. */
export async function writeMachineDisc(disc: WantedDisc, work: MachineWork): Promise<string> {
  const target = machineFiles(work.place).disc
  await writeDisc(target, { label: MACHINE_LABEL, files: disc.files })
  return target
}

async function timeZoneOf({ timeZone }: QemuSettings, work: MachineWork): Promise<string> {
  return timeZone === undefined ? (await hostSettings(work.env)).timeZone : parseTimeZone(timeZone)
}

async function machinePassword(file: string): Promise<string> {
  const present = await readFile(file, 'utf8').catch(() => '')
  if (present.trim() !== '') return present.trim()
  const password = newPassword()
  await writeFileAtomic(file, `${password}\n`)
  return password
}

async function provisionScripts(files: readonly string[]): Promise<{ name: string; content: string }[]> {
  return Promise.all(
    files.map(async file => {
      try {
        return { name: basename(file), content: await readFile(file, 'utf8') }
      } catch (error) {
        throw new Fault(`cannot read the provisioning script ${file}: ${messageOf(error)}`, {
          exitCode: 4,
          hint: 'Correct "provision" in machine.yaml.'
        })
      }
    })
  )
}
