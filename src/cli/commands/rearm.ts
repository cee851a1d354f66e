import { defineCommand } from '#cli/command.ts'
import type { Io } from '#cli/io.ts'
import { progress } from '#cli/output/progress.ts'

export const rearm = (io: Io) =>
  defineCommand(io, 'rearm', [
    ['oriel rearm win', 'a new evaluation period; Windows allows it a few times'],
    ['oriel status win', 'how many days are left, and how often it can be renewed']
  ])
    .argument('[name]', 'name of the machine', 'default')
    .option('-q, --quiet', 'print no progress')
    .action(async (name, { quiet }) => {
      const { rearm: renew } = await import('#machine/guest.ts')
      await renew({ name, env: io.env, signal: io.signal, report: progress(io, quiet) })
    })
