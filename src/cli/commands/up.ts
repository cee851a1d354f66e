import { defineCommand } from '#cli/command.ts'
import type { Io } from '#cli/io.ts'
import { progress } from '#cli/output/progress.ts'
import { Fault } from '#lib/fault.ts'
import type { UpResult } from '#machine/up.ts'

const VM = 'Options of a machine with a Windows of its own (--driver qemu):'

export const up = (io: Io) =>
  defineCommand(io, 'up', [
    ['oriel up', 'the machine "default", on the Linux engine that is found'],
    ['oriel up --use', 'and make its context the current one of docker'],
    ['oriel up work --engine ssh://me@box', 'a second machine, on another engine'],
    ['oriel up --engine unix:///run/docker.sock', 'on the engine at this socket'],
    ['oriel up win --driver qemu --windows 2025', 'a Windows Server of its own, in a virtual machine'],
    ['oriel up win --driver qemu --iso ./server.iso', 'installed from this disc'],
    ['oriel up win --memory 8GiB --cpus 6', 'more of both, from its next start on']
  ])
    .argument('[name]', 'name of the machine', 'default')
    .option('--driver <driver>', 'what makes the engine: wine or qemu (for a new machine; the default is wine)')
    .option('--use', "make the machine's context docker's current one")
    .option('-q, --quiet', 'print no progress')
    .optionsGroup('Options of a machine on a Linux engine (--driver wine):')
    .option('--engine <url>', 'Linux Docker engine to use: unix://, tcp:// or ssh://')
    .optionsGroup(VM)
    .option('--windows <release>', 'Windows to install: 2016, 2019, 2022, 2025 or 11-arm64')
    .option('--edition <edition>', 'standard-core, standard, datacenter-core (the default) or datacenter')
    .option('--iso <file|url>', 'installation disc, instead of the one that Oriel knows')
    .option('--sha256 <hash>', 'what the disc must have')
    .option('--cpus <number>', 'processors of the machine')
    .option('--memory <size>', 'memory of the machine, such as 8GiB')
    .option('--disk <size>', 'size of its disk, such as 100GiB; it can grow later')
    .option('--isolation <kind>', 'of its containers: process or hyperv')
    .option('--accel <accelerator>', 'auto, kvm, hvf or tcg')
    .option('--locale <locale>', 'language and formats, such as de-DE; the default is that of this host')
    .option('--keyboard <layout>', 'keyboard layout, such as de-CH')
    .option('--time-zone <zone>', 'such as Europe/Zurich; the default is that of this host')
    .option('--provision <file>', 'PowerShell script to run in the guest; can be given again', gather)
    .option('--engine-archive <file|url>', 'Docker Engine to install, instead of the one that Oriel knows')
    .action(async (name, { driver, use, quiet, accel, cpus, ...rest }) => {
      const { up: bringUp } = await import('#machine/up.ts')
      const { debug: _, ...options } = rest as typeof rest & { debug?: boolean }
      const result = await bringUp({
        name,
        env: io.env,
        signal: io.signal,
        report: progress(io, quiet),
        options: {
          ...options,
          ...(accel === undefined ? {} : { accelerator: accel }),
          ...(cpus === undefined ? {} : { cpus: parseCount(cpus) })
        },
        ...(driver === undefined ? {} : { driver }),
        ...(use === undefined ? {} : { use })
      })
      io.out(nextSteps(result, use === true))
    })

function gather(file: string, former: string[] = []): string[] {
  return [...former, file]
}

function parseCount(text: string): number {
  if (/^[1-9]\d{0,3}$/.test(text)) return Number(text)
  throw new Fault(`"${text}" is not a number of processors.`, { exitCode: 2, hint: 'For example: oriel up --cpus 4' })
}

/** What to type now. */
export function nextSteps(machine: Pick<UpResult, 'name' | 'context' | 'image'>, current: boolean): string {
  const docker = current ? 'docker' : `docker --context ${machine.context}`
  const named = machine.name === 'default' ? '' : ` ${machine.name}`
  return [
    `Machine "${machine.name}" is running. Try:`,
    `  ${docker} run --rm -it ${machine.image} cmd`,
    ...(current ? [] : [`For tools that ignore docker contexts:`, `  eval "$(oriel env${named})"`]),
    ''
  ].join('\n')
}
