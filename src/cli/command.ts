import type { Command as TypedCommand } from '@commander-js/extra-typings'
import { Command, type OutputConfiguration } from 'commander'
import type { Io } from './io.ts'
import { type CommandName, SUMMARIES } from './summaries.ts'

/** A line of a command's examples: what to type and what it does. */
export type Example = [line: string, does: string]

/** Begins the definition of a command; `examples` end its help. */
export function defineCommand(io: Io, name: CommandName, examples: readonly Example[]): TypedCommand {
  return define(io, name, SUMMARIES[name], examples)
}

/** Begins the definition of a command within a command; `path` is both, as in `media ls`. */
export function defineSubcommand(io: Io, path: string, summary: string, examples: readonly Example[]): TypedCommand {
  return define(io, path, summary, examples)
}

function define(io: Io, path: string, summary: string, examples: readonly Example[]): TypedCommand {
  const command = new Command(path.split(' ').at(-1))
    .description(sentence(summary))
    .helpCommand(false)
    .helpOption('-h, --help', 'show this help')
    .option('--debug', 'show where in Oriel an error comes from')
    .exitOverride()
    .configureOutput(outputOf(io, `oriel ${path}`))
    .addHelpText('after', examplesText(examples))
  // extra-typings is this same class with more precise types.
  return command as unknown as TypedCommand
}

/** Commander's messages in our own form. `path` is what the hint names. */
export function outputOf(io: Io, path: string): OutputConfiguration {
  return {
    writeOut: text => io.out(text),
    writeErr: text => io.err(text),
    getOutHelpWidth: () => io.terminal.columns,
    outputError: (text, write) => write(usageError(text, path))
  }
}

/** `error: unknown option '--x'` + `(Did you mean --y?)` as two lines that begin as all of Oriel's errors do. */
export function usageError(text: string, path: string): string {
  const [problem = '', ...suggestion] = text
    .replace(/^error: /, '')
    .trim()
    .split('\n')
  const hint = suggestion.length > 0 ? suggestion.join(' ').replace(/^\(|\)$/g, '') : `See: ${path} --help`
  return `oriel: ${problem.replace(/\.?$/, '.')}\n${hint}\n`
}

export function examplesText(examples: readonly Example[]): string {
  const width = Math.max(...examples.map(([line]) => line.length))
  return `\nExamples:\n${examples.map(([line, does]) => `  ${line.padEnd(width)}  ${does}`).join('\n')}\n`
}

function sentence(summary: string): string {
  return `${summary.charAt(0).toUpperCase()}${summary.slice(1)}.`
}
