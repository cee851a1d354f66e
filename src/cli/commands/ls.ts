import { defineCommand } from '#cli/command.ts'
import type { Io } from '#cli/io.ts'
import { json } from '#cli/output/json.ts'
import { table } from '#cli/output/table.ts'

export const ls = (io: Io) =>
  defineCommand(io, 'ls', [
    ['oriel ls', 'a table'],
    ['oriel ls --json', 'a list of what "oriel status --json" prints']
  ])
    .option('--json', 'print JSON')
    .action(async options => {
      const { listMachines } = await import('#machine/status.ts')
      const machines = await listMachines(io.env)
      if (options.json) io.out(json(machines.map(({ status }) => status)))
      else if (machines.length === 0) io.err('There is no machine yet. Make one with: oriel up\n')
      else {
        const rows = machines.map(({ status, engineUrl }) => [
          status.name,
          status.state,
          status.driver ?? '',
          status.windows.release ?? '',
          status.context,
          engineUrl ?? ''
        ])
        io.out(table(['NAME', 'STATE', 'DRIVER', 'WINDOWS', 'CONTEXT', 'ENGINE'], rows))
      }
    })
