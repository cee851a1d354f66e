import { defineCommand, defineSubcommand } from '#cli/command.ts'
import type { Io } from '#cli/io.ts'
import { json } from '#cli/output/json.ts'
import { progress } from '#cli/output/progress.ts'
import { fields, table } from '#cli/output/table.ts'
import { formatBytes } from '#lib/size.ts'

export const media = (io: Io) => {
  const command = defineCommand(io, 'media', [
    ['oriel media fetch 2025', 'the newest disc of Windows Server 2025'],
    ['oriel media ls', 'what is in the cache'],
    ['oriel media inspect ~/Downloads/server.iso', 'what a disc is']
  ]).usage('COMMAND [options]')
  for (const define of [ls, fetch, inspect, rm]) command.addCommand(define(io))
  return command
}

const ls = (io: Io) =>
  defineSubcommand(io, 'media ls', 'list the discs and archives in the cache', [
    ['oriel media ls', 'a table'],
    ['oriel media ls --json', 'with checksums and paths']
  ])
    .option('--json', 'print JSON')
    .action(async options => {
      const { cachedMedia } = await import('#machine/media.ts')
      const listed = await cachedMedia(io.env)
      if (options.json) io.out(json(listed))
      else if (listed.length === 0) io.err('There is nothing yet. See what there could be: oriel releases\n')
      else {
        const rows = listed.map(({ file, size, complete, sha256 }) => [
          file,
          formatBytes(size),
          complete ? (sha256 === undefined ? 'not checked' : 'checked') : 'a part'
        ])
        io.out(table(['FILE', 'SIZE', 'STATE'], rows))
      }
    })

const fetch = (io: Io) =>
  defineSubcommand(io, 'media fetch', 'fetch a disc, or go on with a fetch that was cut; print its path', [
    ['oriel media fetch 2025', 'the newest disc of a release'],
    ['oriel media fetch https://example.com/server.iso --sha256 7b05…', 'a disc from elsewhere, checked']
  ])
    .argument('<what>', 'a release (see: oriel releases), or a URL')
    .option('--sha256 <hex>', 'what the SHA-256 of the file behind the URL has to be')
    .option('-q, --quiet', 'print no progress')
    .action(async (what, { sha256, quiet }) => {
      const { fetchMedia } = await import('#machine/media.ts')
      const { path } = await fetchMedia({
        what,
        env: io.env,
        signal: io.signal,
        report: progress(io, quiet),
        ...(sha256 === undefined ? {} : { sha256 })
      })
      io.out(`${path}\n`)
    })

const inspect = (io: Io) =>
  defineSubcommand(io, 'media inspect', 'tell what an installation disc is, without mounting it', [
    ['oriel media inspect server.iso', 'a file'],
    ['oriel media inspect 2025 --json', 'the disc of a release that is in the cache']
  ])
    .argument('<disc>', 'a file, its name in the cache, or a release')
    .option('--json', 'print JSON')
    .action(async (disc, options) => {
      const { inspectDisc } = await import('#machine/media.ts')
      const { path, facts } = await inspectDisc(disc, io.env)
      if (options.json) {
        io.out(json({ path, ...facts }))
        return
      }
      const { prompt, noPrompt } = facts.bootImages
      io.out(
        `${path}\n${fields([
          ['windows', `${facts.product}${facts.evaluation ? ', evaluation' : ''}`],
          ['release', facts.release ?? 'none that Oriel makes machines of'],
          ['build', facts.build],
          ['processor', facts.architecture],
          ['languages', facts.languages.join(', ')],
          ['label', `${facts.label} (${facts.fileSystem === 'udf' ? 'UDF' : 'ISO 9660'})`],
          [
            'asks for a key',
            prompt === undefined ? 'unknown' : noPrompt === undefined ? 'yes' : 'yes, can be taken out'
          ]
        ])}`
      )
      const rows = facts.editions.map(({ index, displayName, name, installation }) => [
        `  ${index}`,
        displayName,
        installation,
        name
      ])
      io.out(table(['  INDEX', 'EDITION', 'KIND', 'NAME'], rows))
    })

const rm = (io: Io) =>
  defineSubcommand(io, 'media rm', 'remove a file from the cache', [
    ['oriel media rm SERVER_EVAL_x64FRE_en-us.iso', 'as "oriel media ls" names it']
  ])
    .argument('<file>', 'name of the file')
    .action(async file => {
      const { removeCachedMedia } = await import('#machine/media.ts')
      io.err(`Removed ${file} (${formatBytes(await removeCachedMedia(file, io.env))}).\n`)
    })
