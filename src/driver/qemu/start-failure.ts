import { lastLines } from '#lib/child-process.ts'
import { Fault } from '#lib/fault.ts'
import type { VmSpec } from './vm-spec.ts'

/** Says in a person's words why QEMU did not start. `said` is what QEMU wrote, `otherwise` what is known when it wrote nothing. */
export async function startFailure(
  spec: VmSpec,
  said: string,
  otherwise: string,
  holderOf: (port: number) => Promise<string | undefined>
): Promise<Fault> {
  const port = takenPort(spec, said)
  if (port !== undefined) {
    const holder = await holderOf(port.port)
    return new Fault(
      `port ${port.port} of this host, for ${port.purpose}, is taken${holder === undefined ? '' : ` by ${holder}`}.`,
      { hint: `End what listens there, or change ${port.key} in machine.yaml.` }
    )
  }
  for (const { pattern, fault } of KNOWN) {
    const found = pattern.exec(said)
    if (found !== null) return fault(found, spec)
  }
  const words = said
    .split('\n')
    .filter(line => !/: warning: /.test(line))
    .map(line => line.replace(/^\S+Z /, ''))
    .join('\n')
  return new Fault(`QEMU did not start: ${words.trim() === '' ? otherwise : lastLines(words, 5)}`)
}

interface TakenPort {
  port: number
  purpose: string
  /** In machine.yaml. */
  key: string
}

function takenPort({ ports, forwards }: VmSpec, said: string): TakenPort | undefined {
  const rule = /Could not set up host forwarding rule 'tcp:127\.0\.0\.1:(\d+)-/.exec(said)
  if (rule !== null) {
    const port = Number(rule[1])
    if (port === ports.engine) return { port, purpose: 'the engine', key: 'ports.engine' }
    if (port === ports.ssh) return { port, purpose: 'ssh', key: 'ports.ssh' }
    const guestPort = forwards.find(({ hostPort }) => hostPort === port)?.guestPort
    return { port, purpose: `port ${guestPort ?? '?'} of the guest`, key: 'forwards' }
  }
  if (/-vnc .*Address already in use|Failed to find an available port: Address already in use/.test(said)) {
    return { port: ports.vnc, purpose: 'the screen (VNC)', key: 'ports.vnc' }
  }
  return undefined
}

interface Known {
  pattern: RegExp
  fault(found: RegExpExecArray, spec: VmSpec): Fault
}

const KNOWN: Known[] = [
  {
    pattern: /Could not access KVM kernel module: Permission denied/,
    fault: () =>
      new Fault('QEMU may not use /dev/kvm.', {
        exitCode: 4,
        hint: 'sudo usermod -aG kvm "$USER", then log in again; or set accelerator: tcg, which is slow.'
      })
  },
  {
    pattern: /Could not access KVM kernel module: (.*)|failed to initialize kvm: (.*)/i,
    fault: found =>
      new Fault(`KVM cannot be used: ${found[1] ?? found[2]}.`, {
        exitCode: 4,
        hint: 'Switch virtualization on in the firmware of this computer, and load the kernel module kvm_intel or kvm_amd.'
      })
  },
  {
    pattern: /kernel doesn't allow setting HyperV|Hyper-V .* is not supported by kernel/i,
    fault: () =>
      new Fault("this host's KVM cannot do what Windows needs of it (Hyper-V enlightenments).", {
        exitCode: 4,
        hint: 'Use a kernel that is built with CONFIG_KVM_HYPERV; or set accelerator: tcg, which is slow.'
      })
  },
  {
    pattern: /HV_DENIED/,
    fault: (_, spec) =>
      new Fault(`macOS does not let ${spec.qemu.program} use the hypervisor: it lacks com.apple.security.hypervisor.`, {
        exitCode: 4,
        hint: 'Install QEMU with Homebrew, which signs it: brew reinstall qemu'
      })
  },
  {
    pattern: /invalid accelerator (\S+)/,
    fault: found =>
      new Fault(`this QEMU was built without ${found[1]}.`, { exitCode: 4, hint: 'Install another build of QEMU.' })
  },
  {
    pattern: /Failed to get (?:shared )?"[^"]*" lock[\s\S]*?(?:\[([^\]]+)\]|$)/,
    fault: (found, spec) =>
      new Fault(`${found[1] ?? spec.disk.file} is in use by another process.`, {
        exitCode: 3,
        hint: 'Stop the QEMU or qemu-img that uses it.'
      })
  },
  {
    pattern: /No space left on device/,
    fault: () => new Fault('the disk of this host is full.', { exitCode: 4, hint: 'Free some room.' })
  },
  {
    pattern: /Could not open '([^']+)': (No such file or directory|Permission denied)/,
    fault: (found, { firmware }) => {
      const [file, why] = [found[1] ?? '', found[2]]
      const what =
        file === firmware.code
          ? 'the UEFI firmware'
          : file === firmware.vars
            ? "the machine's UEFI variables"
            : 'a file'
      return new Fault(`QEMU cannot open ${what}, ${file}: ${why}.`, {
        exitCode: 4,
        ...(file === firmware.code ? { hint: 'Install the firmware again (Debian: ovmf, Fedora: edk2-ovmf).' } : {})
      })
    }
  },
  {
    pattern: /cannot set up guest memory|Cannot allocate memory/,
    fault: (_, spec) =>
      new Fault(`this host has no ${spec.memoryMiB} MiB of memory to give.`, {
        exitCode: 4,
        hint: 'Give the machine less: oriel up --memory 4GiB'
      })
  }
]
