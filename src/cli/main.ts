import { Command, CommanderError } from 'commander'
import { Fault, messageOf } from '#lib/fault.ts'
import { outputOf } from './command.ts'
import { LOADERS } from './commands.ts'
import { type Io, processIo } from './io.ts'
import { COMMAND_NAMES, type CommandName, SUMMARIES } from './summaries.ts'

/** Runs one command line (without `node` and the script's name). Gives the exit code; never rejects. */
export async function main(argv: string[], io: Io = processIo()): Promise<number> {
  const words = argv[0] === 'help' ? [...argv.slice(1), '--help'] : argv
  try {
    const program = await programFor(words, io)
    await program.parseAsync(words, { from: 'user' })
    return io.exitCode
  } catch (error) {
    return explain(error, argv, io)
  }
}

async function programFor(words: string[], io: Io): Promise<Command> {
  const program = new Command('oriel')
    .description('Windows containers on a Mac or a Linux box, with the docker client you already have.')
    .usage('COMMAND [NAME] [options]')
    .helpOption('-h, --help', 'show this help, or that of a command')
    .helpCommand(false)
    .option('--debug', 'show where in Oriel an error comes from')
    .option('-V, --version', 'print the version')
    .exitOverride()
    .configureOutput(outputOf(io, 'oriel'))
    .addHelpText('after', '\nA machine is called "default" unless NAME says otherwise. Begin with: oriel up\n')
  // The options of the root take no value, so the first other word is the command.
  const name = words.find(word => !word.startsWith('-'))
  if (name !== undefined && isCommand(name)) {
    const define = await LOADERS[name]()
    program.addCommand(define(io) as unknown as Command)
    return program
  }
  for (const other of COMMAND_NAMES) program.command(other).description(SUMMARIES[other])
  if (name !== undefined) return program
  return program.action(async options => {
    if (!('version' in options)) program.outputHelp()
    else io.out(`${(await import('./commands/version.ts')).versionLine()}\n`)
  })
}

function isCommand(name: string): name is CommandName {
  return Object.hasOwn(SUMMARIES, name)
}

function explain(error: unknown, argv: string[], io: Io): number {
  if (error instanceof CommanderError) {
    // Commander has printed it. Its own code for wrong usage is 1.
    return error.exitCode === 0 ? 0 : 2
  }
  const debug = argv.includes('--debug')
  if (io.signal.aborted) {
    io.err('oriel: interrupted.\n')
    return 130
  }
  if (error instanceof Fault) {
    io.err(`oriel: ${error.message}\n${error.hint === undefined ? '' : `${error.hint}\n`}`)
    if (debug) io.err(stackOf(error))
    return error.exitCode
  }
  if (isDiskFull(error)) {
    io.err('oriel: the disk of this host is full.\nFree some space, then type the same again: nothing is lost.\n')
    if (debug) io.err(stackOf(error))
    return 1
  }
  io.err(`oriel: something went wrong that Oriel did not expect: ${messageOf(error)}\n`)
  io.err(debug ? stackOf(error) : 'Add --debug to see where, and please report it.\n')
  return 1
}

/** Any file that is written may be the one for which there is no room. */
function isDiskFull(error: unknown): boolean {
  return error instanceof Error && 'code' in error && (error.code === 'ENOSPC' || error.code === 'EDQUOT')
}

function stackOf(error: unknown): string {
  if (!(error instanceof Error)) return ''
  const cause = error.cause === undefined ? '' : `caused by: ${stackOf(error.cause)}`
  return `${error.stack ?? ''}\n${cause}`
}
