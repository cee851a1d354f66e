import { readdir, readFile, stat } from 'node:fs/promises'
import { homedir } from 'node:os'
import { basename, join } from 'node:path'
import * as v from 'valibot'
import { Fault } from '#lib/fault.ts'
import { installHint, packages } from './host.ts'
import type { VmSpec } from './vm-spec.ts'

type Guest = VmSpec['guest']

/** UEFI for a machine: code that is only read, and the variables that each machine starts with. */
export interface Firmware {
  code: string
  varsTemplate: string
}

// What is used here of https://www.qemu.org/docs/master/interop/firmware.json
const Descriptor = v.object({
  'interface-types': v.array(v.string()),
  mapping: v.object({
    device: v.string(),
    mode: v.optional(v.string()),
    executable: v.optional(v.object({ filename: v.string(), format: v.string() })),
    'nvram-template': v.optional(v.object({ filename: v.string(), format: v.string() }))
  }),
  targets: v.array(v.object({ architecture: v.string(), machines: v.array(v.string()) })),
  features: v.array(v.string())
})

/**
 * Finds UEFI firmware without Secure Boot: by the descriptors that distributions and QEMU install, then in the usual
 * places. `qemuFolder` is where QEMU's program is. Fault 4 with the command that installs it.
 */
export async function findFirmware(guest: Guest, qemuFolder: string, env: NodeJS.ProcessEnv): Promise<Firmware> {
  const share = join(qemuFolder, '..', 'share', 'qemu')
  const config = env.XDG_CONFIG_HOME ?? join(env.HOME ?? homedir(), '.config')
  // The order of precedence that the descriptors' specification gives, with QEMU's own prefix as one more.
  const folders = [
    join(config, 'qemu', 'firmware'),
    '/etc/qemu/firmware',
    '/usr/share/qemu/firmware',
    join(share, 'firmware')
  ]
  for (const descriptor of await descriptorFiles(folders)) {
    const firmware = firmwareOf(await readFile(descriptor, 'utf8').catch(() => ''), guest)
    if (firmware !== undefined && (await exists(firmware))) return firmware
  }
  for (const firmware of usualPlaces(guest, share)) {
    if (await exists(firmware)) return firmware
  }
  throw new Fault(`there is no UEFI firmware for ${guest} on this host.`, {
    exitCode: 4,
    hint: installHint(await packages(), guest)
  })
}

/** Descriptors by their names' order; of several with one name that in the first folder counts. */
async function descriptorFiles(folders: readonly string[]): Promise<string[]> {
  const byName = new Map<string, string>()
  for (const folder of folders) {
    for (const name of await readdir(folder).catch(() => [])) {
      if (name.endsWith('.json') && !byName.has(name)) byName.set(name, join(folder, name))
    }
  }
  return [...byName.values()].sort((a, b) => (basename(a) < basename(b) ? -1 : 1))
}

/** The files that a descriptor names, if they are firmware for such a guest that we can use. */
export function firmwareOf(text: string, guest: Guest): Firmware | undefined {
  let json: unknown
  try {
    json = JSON.parse(text)
  } catch {
    return undefined
  }
  const result = v.safeParse(Descriptor, json)
  if (!result.success) return undefined
  const { mapping, targets, features } = result.output
  const machine = guest === 'x86_64' ? 'pc-q35-' : 'virt-'
  const fits = targets.some(
    target => target.architecture === guest && target.machines.some(pattern => pattern.startsWith(machine))
  )
  // Server needs no Secure Boot, and SMM is not in every QEMU.
  const unwanted = features.some(feature => ['secure-boot', 'requires-smm', 'enrolled-keys'].includes(feature))
  if (!result.output['interface-types'].includes('uefi') || !fits || unwanted) return undefined
  if (mapping.device !== 'flash' || (mapping.mode ?? 'split') !== 'split') return undefined
  const { executable, 'nvram-template': template } = mapping
  if (executable?.format !== 'raw' || template === undefined) return undefined
  return { code: executable.filename, varsTemplate: template.filename }
}

function usualPlaces(guest: Guest, share: string): Firmware[] {
  const pairs =
    guest === 'x86_64'
      ? [
          ['/usr/share/OVMF/OVMF_CODE_4M.fd', '/usr/share/OVMF/OVMF_VARS_4M.fd'],
          ['/usr/share/edk2/x64/OVMF_CODE.4m.fd', '/usr/share/edk2/x64/OVMF_VARS.4m.fd'],
          ['/usr/share/edk2/ovmf/OVMF_CODE.fd', '/usr/share/edk2/ovmf/OVMF_VARS.fd'],
          ['/usr/share/qemu/ovmf-x86_64-4m-code.bin', '/usr/share/qemu/ovmf-x86_64-4m-vars.bin'],
          ['/usr/share/qemu/ovmf-x86_64-code.bin', '/usr/share/qemu/ovmf-x86_64-vars.bin'],
          ['/usr/share/OVMF/OVMF_CODE.fd', '/usr/share/OVMF/OVMF_VARS.fd'],
          [join(share, 'edk2-x86_64-code.fd'), join(share, 'edk2-i386-vars.fd')]
        ]
      : [
          ['/usr/share/AAVMF/AAVMF_CODE.fd', '/usr/share/AAVMF/AAVMF_VARS.fd'],
          ['/usr/share/edk2/aarch64/QEMU_EFI-pflash.raw', '/usr/share/edk2/aarch64/vars-template-pflash.raw'],
          ['/usr/share/edk2/aarch64/QEMU_CODE.fd', '/usr/share/edk2/aarch64/QEMU_VARS.fd'],
          ['/usr/share/qemu/aavmf-aarch64-code.bin', '/usr/share/qemu/aavmf-aarch64-vars.bin'],
          [join(share, 'edk2-aarch64-code.fd'), join(share, 'edk2-arm-vars.fd')]
        ]
  return pairs.map(([code = '', varsTemplate = '']) => ({ code, varsTemplate }))
}

async function exists({ code, varsTemplate }: Firmware): Promise<boolean> {
  const found = await Promise.all([code, varsTemplate].map(file => stat(file).catch(() => undefined)))
  return found.every(file => file?.isFile())
}
