import { Fault } from '#lib/fault.ts'
import { mediumNode, type VmSpec, vmName } from './vm-spec.ts'

/**
 * The command line of QEMU for a machine. No secret is in it: the VNC password is set by QMP later, and until then nobody
 * gets in. Everything listens on loopback. A live snapshot is not loaded by it, see `startVm`.
 */
export function qemuArgv(spec: VmSpec): [string, ...string[]] {
  const parts = spec.guest === 'x86_64' ? x86Devices(spec) : armDevices(spec)
  return [
    spec.qemu.program,
    ...['-name', vmName(spec.name)],
    '-nodefaults',
    '-no-user-config',
    ...['-display', 'none'],
    ...['-msg', 'timestamp=on'],
    ...sandbox(spec),
    ...accelerator(spec),
    ...['-cpu', cpuModel(spec)],
    // One socket, since client editions of Windows use no more than one or two.
    ...['-smp', `${spec.cpus},sockets=1,cores=${spec.cpus},threads=1`],
    ...['-m', `size=${spec.memoryMiB}M`],
    // Guests are set to UTC as well, so that both agree even before Windows is told that the clock is in UTC.
    ...['-rtc', spec.guest === 'x86_64' ? 'base=utc,driftfix=slew' : 'base=utc'],
    ...['-boot', 'strict=on'],
    ...pflash(spec),
    ...blockdev(diskNode(spec)),
    ...spec.drives.flatMap(({ id, file }) =>
      file === undefined
        ? []
        : blockdev({ driver: 'raw', 'node-name': mediumNode(id), 'read-only': true, file: fileNode(file) })
    ),
    ...['-netdev', network(spec)],
    ...['-chardev', `file,id=com1,path=${escaped(spec.files.com1)},append=on`],
    ...['-chardev', qmpChardev(spec.files.qmp)],
    ...['-mon', 'chardev=qmp,mode=control'],
    ...parts,
    ...tpm(spec),
    ...['-vnc', `127.0.0.1:${vncDisplay(spec.ports.vnc)},password=on`],
    ...(spec.files.log === undefined ? [] : ['-D', spec.files.log]),
    ...(spec.paused || spec.loadSnapshot !== undefined ? ['-S'] : [])
  ]
}

/** The argument that holds a machine's QMP socket: it tells one machine's process from all others on the host. */
export function qmpChardev(socket: string): string {
  return `socket,id=qmp,path=${escaped(socket)},server=on,wait=off`
}

/** The command line of swtpm, the TPM of a client release; it ends with its only client. */
export function swtpmArgv(stateFolder: string, socket: string): [string, ...string[]] {
  return [
    'swtpm',
    'socket',
    '--tpm2',
    ...['--tpmstate', `dir=${stateFolder},mode=0600`],
    ...['--ctrl', `type=unixio,path=${socket},mode=0600`],
    '--terminate'
  ]
}

function sandbox(spec: VmSpec): string[] {
  if (spec.host.os !== 'linux' || !spec.qemu.sandbox) return []
  // What libvirt asks for, too: QEMU starts no other program here.
  return ['-sandbox', 'on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny']
}

function accelerator(spec: VmSpec): string[] {
  const accel = spec.accelerator === 'tcg' ? 'tcg,thread=multi,tb-size=1024' : spec.accelerator
  if (spec.guest === 'x86_64') {
    return [
      // No Secure Boot, so no SMM to emulate; Windows keeps better time without HPET.
      ...['-machine', 'q35,hpet=off,vmport=off,smm=off,pflash0=code,pflash1=vars'],
      ...['-accel', accel],
      ...(spec.accelerator === 'kvm' ? ['-global', 'kvm-pit.lost_tick_policy=discard'] : []),
      // A guest that sleeps cannot be woken by a docker client.
      ...['-global', 'ICH9-LPC.disable_s3=1', '-global', 'ICH9-LPC.disable_s4=1']
    ]
  }
  // KVM has only the interrupt controller of the host; QEMU's own default ends at eight processors.
  const gic = { kvm: ',gic-version=host', tcg: ',gic-version=3', hvf: '' }[spec.accelerator]
  return ['-machine', `virt${gic},pflash0=code,pflash1=vars`, '-accel', accel]
}

// https://www.qemu.org/docs/master/system/i386/hyperv.html, without those that are for debugging, for nested Hyper-V or
// for one processor only. hv-reenlightenment is left out: once a guest uses it, no snapshot of its memory can be loaded
// unless the frequency of the TSC is fixed.
const HYPERV = [
  'hv_relaxed',
  'hv_vapic',
  'hv_spinlocks=0x1fff',
  'hv_vpindex',
  'hv_synic',
  'hv_stimer',
  'hv_time',
  'hv_runtime',
  'hv_frequencies',
  'hv_tlbflush',
  'hv_ipi'
]

// Every Intel Mac since 2015 has these instructions; QEMU takes away what an older one lacks.
const NAMED_MODEL = 'Skylake-Client-v4'

/** The value of `-cpu`: what the guest's processor is, per accelerator and the host's vendor. */
export function cpuModel(spec: Pick<VmSpec, 'guest' | 'accelerator' | 'cpuVendor' | 'nested'>): string {
  if (spec.nested && (spec.accelerator !== 'kvm' || spec.guest !== 'x86_64')) {
    throw new Fault(`Hyper-V isolation needs KVM and an x86-64 guest; ${spec.accelerator} cannot nest a hypervisor.`, {
      exitCode: 4,
      hint: 'Use process isolation, or another host.'
    })
  }
  if (spec.guest === 'aarch64') return spec.accelerator === 'tcg' ? 'neoverse-n1' : 'host'
  switch (spec.accelerator) {
    case 'kvm': {
      const nesting = spec.nested ? 'on' : 'off'
      // "host" leaves invtsc out by itself, which would forbid to save the machine's memory. Windows on AMD stops with a
      // blue screen when it sees ARCH_CAPABILITIES, an Intel register that KVM emulates there.
      const vendor =
        spec.cpuVendor === 'amd'
          ? [`svm=${nesting}`, 'arch-capabilities=off']
          : spec.cpuVendor === 'intel'
            ? [`vmx=${nesting}`]
            : []
      return ['host', ...vendor, ...HYPERV].join(',')
    }
    case 'hvf':
      // Windows under "host" ends in IRQL_NOT_LESS_OR_EQUAL, a named model cures it (utmapp/UTM#2368). lima's
      // "host,-pdpe1gb,-avx512vl" is proven with Linux; pages of 1 GB end QEMU in the firmware (qemu#1603) with any model.
      return `${NAMED_MODEL},vmx=off,pdpe1gb=off`
    case 'tcg':
      // "max" makes some Windows stop with a blue screen and "qemu64" lacks what Server 2025 needs, so a named model
      // less what TCG does not emulate.
      return [NAMED_MODEL, ...TCG_LACKS.map(feature => `${feature}=off`)].join(',')
  }
}

const TCG_LACKS = [
  'vmx',
  'pcid',
  'tsc-deadline',
  'invpcid',
  'spec-ctrl',
  'xsavec',
  'xsaves',
  'x2apic',
  'rdseed',
  '3dnowprefetch'
]

function pflash(spec: VmSpec): string[] {
  return [
    ...blockdev({ driver: 'raw', 'node-name': 'code', 'read-only': true, file: fileNode(spec.firmware.code) }),
    // qcow2, because a snapshot of the machine has to hold it.
    ...blockdev({ driver: 'qcow2', 'node-name': 'vars', file: fileNode(spec.firmware.vars) })
  ]
}

function diskNode({ disk }: VmSpec): BlockNode {
  const discard = disk.discard ? { discard: 'unmap', 'detect-zeroes': 'unmap' } : {}
  const cache = disk.cache === 'unsafe' ? { cache: { direct: false, 'no-flush': true } } : {}
  return {
    driver: 'qcow2',
    'node-name': 'disk',
    ...discard,
    ...cache,
    // Threads work on every host; native needs cache=none, io_uring is for Linux only.
    file: { ...fileNode(disk.file), aio: 'threads', ...(disk.discard ? { discard: 'unmap' } : {}) }
  }
}

interface BlockNode {
  driver: string
  [option: string]: unknown
}

function fileNode(filename: string): BlockNode {
  return { driver: 'file', filename }
}

// JSON, which needs no escapes for whatever a path holds.
function blockdev(node: BlockNode): string[] {
  return ['-blockdev', JSON.stringify(node)]
}

function network({ ports, forwards }: VmSpec): string {
  const all = [{ hostPort: ports.engine, guestPort: 2376 }, { hostPort: ports.ssh, guestPort: 22 }, ...forwards]
  // Without IPv6, since the guest would prefer it even where the host cannot reach anything by it.
  return [
    'user',
    'id=net',
    'restrict=off',
    'ipv6=off',
    ...all.map(({ hostPort, guestPort }) => `hostfwd=tcp:127.0.0.1:${hostPort}-:${guestPort}`)
  ].join(',')
}

/** What every Windows since 2016 has drivers for. q35 has an AHCI controller with six ports: ide.0 to ide.5. */
function x86Devices(spec: VmSpec): string[] {
  return [
    // A full disk of the host stops the guest until there is room again, instead of breaking its file system.
    ...device('ide-hd', 'bus=ide.0,drive=disk,id=disk0,bootindex=1,rotation_rate=1,werror=stop,rerror=stop'),
    ...spec.drives.flatMap((drive, index) => device('ide-cd', `bus=ide.${index + 1},${cdOptions(drive)}`)),
    // No option ROM: nothing boots from the network, and a snapshot does not depend on the ROM's size.
    ...device('e1000e', 'netdev=net,romfile='),
    ...device('qemu-xhci', 'id=usb'),
    ...device('usb-tablet', 'bus=usb.0'),
    ...device('usb-kbd', 'bus=usb.0'),
    ...device('VGA', ''),
    ...device('isa-serial', 'chardev=com1,index=0')
  ]
}

/** Experimental. Windows on ARM has no driver for any network card of QEMU: one has to come from the virtio disc. */
function armDevices(spec: VmSpec): string[] {
  return [
    ...device('nvme', 'drive=disk,id=disk0,serial=oriel,bootindex=1'),
    ...device('qemu-xhci', 'id=usb'),
    ...device('usb-tablet', 'bus=usb.0'),
    ...device('usb-kbd', 'bus=usb.0'),
    // usb-bot with scsi-cd rather than usb-storage, which has no empty drive.
    ...spec.drives.flatMap((drive, index) => [
      ...device('usb-bot', `bus=usb.0,id=bot${index}`),
      ...device('scsi-cd', `bus=bot${index}.0,${cdOptions(drive)}`)
    ]),
    ...device('virtio-net-pci', 'netdev=net,romfile='),
    // Windows draws into a plain frame buffer; it has no driver for QEMU's cards here.
    ...device('ramfb', ''),
    ...['-serial', 'chardev:com1']
  ]
}

function cdOptions({ id, file }: VmSpec['drives'][number]): string {
  // The disk comes first: the installation disc boots only while the disk is empty.
  return [
    `id=${id}`,
    ...(file === undefined ? [] : [`drive=${mediumNode(id)}`]),
    ...(id === 'install' ? ['bootindex=2'] : [])
  ].join(',')
}

function device(driver: string, options: string): string[] {
  return ['-device', options === '' ? driver : `${driver},${options}`]
}

function tpm(spec: VmSpec): string[] {
  if (!spec.client || spec.files.tpm === undefined) return []
  return [
    ...['-chardev', `socket,id=tpm,path=${escaped(spec.files.tpm)}`],
    ...['-tpmdev', 'emulator,id=tpm0,chardev=tpm'],
    ...device(spec.guest === 'x86_64' ? 'tpm-tis' : 'tpm-tis-device', 'tpmdev=tpm0')
  ]
}

/** QEMU counts VNC displays from port 5900 on. */
function vncDisplay(port: number): number {
  if (port < 5900) throw new Fault(`VNC cannot listen on port ${port}: QEMU takes 5900 and up.`, { exitCode: 3 })
  return port - 5900
}

// In QEMU's key=value lists a comma within a value is written twice.
function escaped(value: string): string {
  return value.replaceAll(',', ',,')
}
