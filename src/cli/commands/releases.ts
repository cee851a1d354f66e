import { defineCommand } from '#cli/command.ts'
import type { Io } from '#cli/io.ts'
import { json } from '#cli/output/json.ts'
import { table } from '#cli/output/table.ts'

export const releases = (io: Io) =>
  defineCommand(io, 'releases', [
    ['oriel releases', 'a table'],
    ['oriel releases --json', 'with editions, checksums and sources']
  ])
    .option('--json', 'print JSON')
    .action(async options => {
      const { listReleases } = await import('#machine/media.ts')
      const { formatBytes } = await import('#lib/size.ts')
      const listed = await listReleases(io.env)
      if (options.json) {
        io.out(json(listed))
        return
      }
      const rows = listed.flatMap(release =>
        release.media.map((medium, at) => [
          at === 0 ? release.name : '',
          at === 0 ? `${release.product}${release.experimental ? ' (experimental)' : ''}` : '',
          medium.build,
          at === 0 ? release.architecture : '',
          at === 0 ? release.containers.process.join(', ') : '',
          at === 0 ? (release.engine ?? 'none') : '',
          formatBytes(medium.size),
          medium.cached ? 'yes' : 'no'
        ])
      )
      io.out(table(['RELEASE', 'WINDOWS', 'BUILD', 'PROCESSOR', 'CONTAINERS', 'ENGINE', 'SIZE', 'CACHED'], rows))
    })
