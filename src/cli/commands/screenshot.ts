import { defineCommand } from '#cli/command.ts'
import type { Io } from '#cli/io.ts'

export const screenshot = (io: Io) =>
  defineCommand(io, 'screenshot', [
    ['oriel screenshot win', 'a PNG in this folder; also while "oriel up" is at work'],
    ['oriel screenshot win -o screen.png', 'into this file']
  ])
    .argument('[name]', 'name of the machine', 'default')
    .option('-o, --output <file>', 'file to write')
    .action(async (name, { output }) => {
      const { screenshot: take } = await import('#machine/screen.ts')
      const request = { name, env: io.env, signal: io.signal, report: () => undefined }
      io.out(`${await take(request, output)}\n`)
    })
