import { defineCommand } from '#cli/command.ts'
import type { Io } from '#cli/io.ts'
import { json } from '#cli/output/json.ts'
import type { Check } from '#machine/doctor.ts'

export const doctor = (io: Io) =>
  defineCommand(io, 'doctor', [
    ['oriel doctor', 'this host and the machine "default"'],
    ['oriel doctor --driver qemu', 'what a virtual machine would need here'],
    ['oriel doctor work --json', 'for scripts; exit code 4 when something is missing']
  ])
    .argument('[name]', 'name of the machine', 'default')
    .option('--json', 'print JSON')
    .option('--driver <driver>', 'for a machine that is not there yet: wine or qemu')
    .action(async (name, options) => {
      const { doctor: examine } = await import('#machine/doctor.ts')
      const checks = await examine({
        name,
        env: io.env,
        signal: io.signal,
        report: () => undefined,
        ...(options.driver === undefined ? {} : { driver: options.driver })
      })
      io.out(options.json ? json(checks) : checksText(checks))
      if (checks.some(check => check.result === 'missing')) io.exitCode = 4
    })

export function checksText(checks: readonly Check[]): string {
  const width = Math.max(...checks.map(check => check.name.length))
  return checks
    .map(({ name, result, detail, advice }) => {
      const line = `${result.padEnd(7)}  ${name.padEnd(width)}  ${detail}\n`
      return advice === undefined ? line : `${line}${' '.repeat(width + 11)}→ ${advice}\n`
    })
    .join('')
}
