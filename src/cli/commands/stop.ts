import { defineCommand } from '#cli/command.ts'
import type { Io } from '#cli/io.ts'
import { progress } from '#cli/output/progress.ts'

export const stop = (io: Io) =>
  defineCommand(io, 'stop', [
    ['oriel stop', 'the machine "default"'],
    ['oriel stop work', 'the machine "work"']
  ])
    .argument('[name]', 'name of the machine', 'default')
    .option('-q, --quiet', 'print no progress')
    .action(async (name, { quiet }) => {
      const { stop: end } = await import('#machine/stop.ts')
      await end({ name, env: io.env, signal: io.signal, report: progress(io, quiet) })
    })
