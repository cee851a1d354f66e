import { defineCommand } from '#cli/command.ts'
import type { Io } from '#cli/io.ts'
import { progress } from '#cli/output/progress.ts'

export const suspend = (io: Io) =>
  defineCommand(io, 'suspend', [
    ['oriel suspend win', 'nothing of it runs any more'],
    ['oriel up win', 'it goes on where it was'],
    ['oriel suspend win --discard', 'give up the saved memory: the next up starts from the disk']
  ])
    .argument('[name]', 'name of the machine', 'default')
    .option('--discard', 'of a suspended machine: give up its saved memory')
    .option('-q, --quiet', 'print no progress')
    .action(async (name, { discard, quiet }) => {
      const { discardMemory, suspend: sleep } = await import('#machine/suspend.ts')
      await (discard ? discardMemory : sleep)({ name, env: io.env, signal: io.signal, report: progress(io, quiet) })
    })
