import { defineCommand } from '#cli/command.ts'
import type { Io } from '#cli/io.ts'
import { progress } from '#cli/output/progress.ts'
import { Fault } from '#lib/fault.ts'

export const rm = (io: Io) =>
  defineCommand(io, 'rm', [
    ['oriel rm work', 'asks first'],
    ['oriel rm --force work', 'does not ask, and is content when there is none'],
    ['oriel rm --images', 'the machine "default", and the base images on its engine']
  ])
    .argument('[name]', 'name of the machine', 'default')
    .option('-f, --force', 'do not ask; go on when the machine is absent or its engine out of reach')
    .option('--images', 'remove the Wine base images from the engine as well')
    .option('-q, --quiet', 'print no progress')
    .action(async (name, { force = false, images = false, quiet }) => {
      const { removalQuestion, remove } = await import('#machine/rm.ts')
      if (!force) await confirm(io, name, await removalQuestion(name, io.env))
      await remove({ name, env: io.env, signal: io.signal, report: progress(io, quiet), force, images })
    })

async function confirm(io: Io, name: string, question: string): Promise<void> {
  if (!io.terminal.in) {
    throw new Fault(`"oriel rm ${name}" asks before it removes, and there is no terminal to ask on.`, {
      exitCode: 2,
      hint: `Without asking: oriel rm --force ${name}`
    })
  }
  const answer = await io.ask(`${question} [y/N] `)
  if (!/^y(es)?$/i.test(answer.trim())) throw new Fault('nothing was removed.')
}
