import { defineCommand } from '#cli/command.ts'
import type { Io } from '#cli/io.ts'

export const env = (io: Io) =>
  defineCommand(io, 'env', [
    ['eval "$(oriel env)"', 'bash and zsh'],
    ['oriel env --shell fish | source', 'fish'],
    ['oriel env --shell powershell | Invoke-Expression', 'PowerShell'],
    ['eval "$(oriel env win --tls)"', 'for tools that can use no socket: TCP with certificates']
  ])
    .argument('[name]', 'name of the machine', 'default')
    .option('--shell <shell>', 'bash, zsh, fish or powershell; the default is that of $SHELL')
    .option('--tls', "the engine of a virtual machine by TCP and TLS, past Oriel's socket")
    .action(async (name, { shell, tls }) => {
      const { environment, parseShell, shellOf, tlsEnvironment } = await import('#machine/env.ts')
      const language = shell === undefined ? shellOf(io.env.SHELL) : parseShell(shell)
      const request = { name, env: io.env, signal: io.signal, report: () => undefined }
      const lines = tls ? await tlsEnvironment(request, language) : await environment(name, language, io.env)
      io.out(`${lines.join('\n')}\n`)
    })
