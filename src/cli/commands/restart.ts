import { defineCommand } from '#cli/command.ts'
import type { Io } from '#cli/io.ts'
import { progress } from '#cli/output/progress.ts'

export const restart = (io: Io) =>
  defineCommand(io, 'restart', [
    ['oriel restart', 'after a change in machine.yaml, or when something hangs'],
    ['oriel restart work', 'the machine "work"']
  ])
    .argument('[name]', 'name of the machine', 'default')
    .option('-q, --quiet', 'print no progress')
    .action(async (name, { quiet }) => {
      const { restart: again } = await import('#machine/restart.ts')
      await again({ name, env: io.env, signal: io.signal, report: progress(io, quiet) })
    })
