import { defineCommand } from '#cli/command.ts'
import type { Io } from '#cli/io.ts'

export const env = (io: Io) =>
  defineCommand(io, 'env', [
    ['eval "$(oriel env)"', 'bash and zsh'],
    ['oriel env --shell fish | source', 'fish'],
    ['oriel env --shell powershell | Invoke-Expression', 'PowerShell']
  ])
    .argument('[name]', 'name of the machine', 'default')
    .option('--shell <shell>', 'bash, zsh, fish or powershell; the default is that of $SHELL')
    .action(async (name, { shell }) => {
      const { environment, parseShell, shellOf } = await import('#machine/env.ts')
      const language = shell === undefined ? shellOf(io.env.SHELL) : parseShell(shell)
      io.out(`${(await environment(name, language, io.env)).join('\n')}\n`)
    })
