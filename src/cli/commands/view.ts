import { defineCommand } from '#cli/command.ts'
import type { Io } from '#cli/io.ts'
import { fields } from '#cli/output/table.ts'

export const view = (io: Io) =>
  defineCommand(io, 'view', [
    ['oriel view win', 'opens the screen on a Mac; elsewhere the same as --print'],
    ['oriel view win --print', 'address and a new password for any VNC client']
  ])
    .argument('[name]', 'name of the machine', 'default')
    .option('--print', 'only print the address and the password')
    .action(async (name, { print = false }) => {
      const { openScreen, view: look } = await import('#machine/screen.ts')
      const screen = await look({ name, env: io.env, signal: io.signal, report: () => undefined })
      const { host, port, password } = screen
      io.out(
        fields([
          ['address', `vnc://${host}:${port}`],
          ['password', password]
        ])
      )
      if (!print) await openScreen(screen, io.env)
    })
