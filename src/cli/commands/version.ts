import { defineCommand } from '#cli/command.ts'
import type { Io } from '#cli/io.ts'
import { json } from '#cli/output/json.ts'
import { orielVersion } from '#lib/package-root.ts'

export const version = (io: Io) =>
  defineCommand(io, 'version', [
    ['oriel version', 'one line'],
    ['oriel version --json', 'for scripts']
  ])
    .option('--json', 'print JSON')
    .action(options => {
      io.out(options.json ? json({ oriel: orielVersion(), node: process.version }) : `${versionLine()}\n`)
    })

export function versionLine(): string {
  return `oriel ${orielVersion()} (Node ${process.version}, ${process.platform}/${process.arch})`
}
