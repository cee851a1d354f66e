import type { Command as TypedCommand } from '@commander-js/extra-typings'
import { defineCommand, defineSubcommand } from '#cli/command.ts'
import type { Io } from '#cli/io.ts'
import { json } from '#cli/output/json.ts'
import { progress } from '#cli/output/progress.ts'
import { table } from '#cli/output/table.ts'

export const snapshot = (io: Io) =>
  defineCommand(io, 'snapshot', [
    ['oriel snapshot create win clean', 'keep the state of "win" as "clean"'],
    ['oriel snapshot restore win clean', 'go back to it; then: oriel up win'],
    ['oriel snapshot ls win --json', 'those that there are'],
    ['oriel snapshot rm win clean', 'remove it']
  ])
    .addCommand(
      withNames(io, 'create', 'keep the state of a machine', async (request, name) =>
        (await import('#machine/snapshot.ts')).createSnapshot(request, name)
      )
    )
    .addCommand(
      withNames(io, 'restore', 'put a machine back to a snapshot, and leave it stopped', async (request, name) =>
        (await import('#machine/snapshot.ts')).restoreSnapshot(request, name)
      )
    )
    .addCommand(list(io))
    .addCommand(
      withNames(io, 'rm', 'remove a snapshot', async (request, name) =>
        (await import('#machine/snapshot.ts')).removeSnapshot(request, name)
      )
    )

type Request = { name: string; env: NodeJS.ProcessEnv; signal: AbortSignal; report: ReturnType<typeof progress> }

function withNames(
  io: Io,
  verb: string,
  description: string,
  work: (request: Request, snapshot: string) => Promise<void>
): TypedCommand {
  return defineSubcommand(io, `snapshot ${verb}`, description, [
    [`oriel snapshot ${verb} win clean`, 'of the machine "win"'],
    [`oriel snapshot ${verb} clean`, 'of the machine "default"']
  ])
    .usage('[options] [name] <snapshot>')
    .argument('<name>', 'name of the machine (default: "default")')
    .argument('[snapshot]', 'name of the snapshot')
    .option('-q, --quiet', 'print no progress')
    .action(async (first, second, { quiet }) => {
      // With one word it is that of the snapshot.
      const [name, snapshotName] = second === undefined ? ['default', first] : [first, second]
      await work({ name, env: io.env, signal: io.signal, report: progress(io, quiet) }, snapshotName)
    }) as unknown as TypedCommand
}

function list(io: Io): TypedCommand {
  return defineSubcommand(io, 'snapshot ls', 'list the snapshots of a machine', [
    ['oriel snapshot ls win', 'a table'],
    ['oriel snapshot ls win --json', 'for scripts']
  ])
    .argument('[name]', 'name of the machine', 'default')
    .option('--json', 'print JSON')
    .action(async (name, options) => {
      const { listSnapshots } = await import('#machine/snapshot.ts')
      const found = await listSnapshots({ name, env: io.env, signal: io.signal, report: () => undefined })
      if (options.json) io.out(json(found))
      else if (found.length === 0) io.err(`Machine "${name}" has no snapshot. Make one with: oriel snapshot create\n`)
      else {
        const rows = found.map(each => [each.name, each.madeAt, each.live ? 'disk and memory' : 'disk'])
        io.out(table(['NAME', 'MADE', 'HOLDS'], rows))
      }
    }) as unknown as TypedCommand
}
