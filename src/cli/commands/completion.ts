import { defineCommand } from '#cli/command.ts'
import type { CommandLoaders } from '#cli/completion-script.ts'
import type { Io } from '#cli/io.ts'
import { Fault } from '#lib/fault.ts'

const SHELLS = ['bash', 'zsh', 'fish']

export const completion = (io: Io, loaders: CommandLoaders) =>
  defineCommand(io, 'completion', [
    ['source <(oriel completion bash)', 'in ~/.bashrc'],
    ['source <(oriel completion zsh)', 'in ~/.zshrc, after compinit'],
    ['oriel completion fish > ~/.config/fish/completions/oriel.fish', 'once']
  ])
    .argument('<shell>', 'bash, zsh or fish')
    .action(async shell => {
      if (!SHELLS.includes(shell)) {
        throw new Fault(`there is no completion for "${shell}".`, {
          exitCode: 2,
          hint: `Choose: ${SHELLS.join(', ')}.`
        })
      }
      const { completionScript } = await import('#cli/completion-script.ts')
      io.out(await completionScript(shell, io, loaders))
    })
