import { defineCommand } from '#cli/command.ts'
import type { Io } from '#cli/io.ts'
import { progress } from '#cli/output/progress.ts'

export const upgrade = (io: Io) =>
  defineCommand(io, 'upgrade', [
    ['oriel upgrade win --engine 29.7.2', 'the one that is there comes back when the new one does not answer']
  ])
    .argument('[name]', 'name of the machine', 'default')
    .option('-q, --quiet', 'print no progress')
    .requiredOption('--engine <version>', 'version of Docker Engine')
    .action(async (name, { quiet, engine }) => {
      const { upgradeEngine } = await import('#machine/guest.ts')
      await upgradeEngine({ name, env: io.env, signal: io.signal, report: progress(io, quiet) }, engine)
    })
