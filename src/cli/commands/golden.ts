import type { Command as TypedCommand } from '@commander-js/extra-typings'
import { defineCommand, defineSubcommand } from '#cli/command.ts'
import type { Io } from '#cli/io.ts'
import { json } from '#cli/output/json.ts'
import { table } from '#cli/output/table.ts'

export const golden = (io: Io) =>
  defineCommand(io, 'golden', [
    ['oriel golden ls', 'what was installed once, and which machines are made of it'],
    ['oriel golden rm 3f2a9c81d4e0', 'remove one that no machine needs']
  ])
    .addCommand(list(io))
    .addCommand(remove(io))

function list(io: Io): TypedCommand {
  return defineSubcommand(io, 'golden ls', 'list the golden images', [
    ['oriel golden ls', 'a table'],
    ['oriel golden ls --json', 'for scripts']
  ])
    .option('--json', 'print JSON')
    .action(async options => {
      const { goldenImages } = await import('#machine/golden.ts')
      const images = await goldenImages(io.env)
      if (options.json) io.out(json(images))
      else if (images.length === 0)
        io.err('There is no golden image. The first machine makes one: oriel up --driver qemu\n')
      else {
        const { formatBytes } = await import('#lib/size.ts')
        const rows = images.map(image => [
          ...[image.key, image.release, image.edition, image.build, image.engine],
          ...[image.madeAt.slice(0, 10), formatBytes(image.bytes), image.machines.join(', ')]
        ])
        io.out(table(['KEY', 'WINDOWS', 'EDITION', 'BUILD', 'ENGINE', 'MADE', 'SIZE', 'MACHINES'], rows))
      }
    }) as unknown as TypedCommand
}

function remove(io: Io): TypedCommand {
  return defineSubcommand(io, 'golden rm', 'remove a golden image that no machine needs', [
    ['oriel golden rm 3f2a9c81d4e0', 'as "oriel golden ls" names it']
  ])
    .argument('<key>', 'key of the image, as `oriel golden ls` shows it')
    .action(async key => {
      const { dropGolden } = await import('#machine/golden.ts')
      await dropGolden(key, io.env)
    }) as unknown as TypedCommand
}
