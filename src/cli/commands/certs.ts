import { defineCommand } from '#cli/command.ts'
import type { Io } from '#cli/io.ts'
import { json } from '#cli/output/json.ts'
import { progress } from '#cli/output/progress.ts'
import { fields } from '#cli/output/table.ts'
import { Fault } from '#lib/fault.ts'

export const certs = (io: Io) =>
  defineCommand(io, 'certs', [
    ['oriel certs win', 'where they are, and until when they hold'],
    ['oriel certs win renew', 'new ones, in the guest as well'],
    ['oriel certs renew', 'those of the machine "default"']
  ])
    .usage('[options] [name] [renew]')
    .argument('[name]', 'name of the machine', 'default')
    .argument('[verb]', 'renew: make new ones')
    .option('--json', 'print JSON')
    .option('-q, --quiet', 'print no progress')
    .action(async (first, second, { json: asJson, quiet }) => {
      const [name, verb] = first === 'renew' && second === undefined ? ['default', first] : [first, second]
      const { certificates, renewCertificates } = await import('#machine/certs.ts')
      const request = { name, env: io.env, signal: io.signal, report: progress(io, quiet) }
      if (verb !== undefined && verb !== 'renew') {
        throw new Fault(`"${verb}" is nothing to do with certificates.`, {
          exitCode: 2,
          hint: `To make new ones: oriel certs ${name} renew`
        })
      }
      if (verb === 'renew') await renewCertificates(request)
      const found = await certificates(request)
      if (asJson) io.out(json(found))
      else {
        io.out(
          fields([
            ['folder', found.folder],
            ['engine', found.engine],
            ['valid to', found.validTo]
          ])
        )
      }
    })
