import { defineCommand } from '#cli/command.ts'
import type { Io } from '#cli/io.ts'
import { progress } from '#cli/output/progress.ts'

export const suspend = (io: Io) =>
  defineCommand(io, 'suspend', [
    ['oriel suspend win', 'nothing of it runs any more'],
    ['oriel up win', 'it goes on where it was']
  ])
    .argument('[name]', 'name of the machine', 'default')
    .option('-q, --quiet', 'print no progress')
    .action(async (name, { quiet }) => {
      const { suspend: sleep } = await import('#machine/suspend.ts')
      await sleep({ name, env: io.env, signal: io.signal, report: progress(io, quiet) })
    })
