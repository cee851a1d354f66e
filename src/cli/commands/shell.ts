import { defineCommand } from '#cli/command.ts'
import type { Io } from '#cli/io.ts'

export const shell = (io: Io) =>
  defineCommand(io, 'shell', [
    ['oriel shell', 'cmd in a new container of Windows Server Core, gone after its end'],
    ['oriel shell work --image nanoserver', 'another image on another machine']
  ])
    .argument('[name]', 'name of the machine', 'default')
    .option('--image <image>', 'image to run; the default is a Windows Server Core that the machine can run')
    .action(async (name, { image }) => {
      const { openShell } = await import('#machine/shell.ts')
      const terminal = io.terminal.in && io.terminal.out
      io.exitCode = await openShell({
        name,
        command: ['cmd'],
        terminal,
        env: io.env,
        ...(image === undefined ? {} : { image })
      })
    })
