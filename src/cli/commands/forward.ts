import type { Command as TypedCommand } from '@commander-js/extra-typings'
import { defineCommand, defineSubcommand } from '#cli/command.ts'
import type { Io } from '#cli/io.ts'
import { json } from '#cli/output/json.ts'
import { table } from '#cli/output/table.ts'
import { Fault } from '#lib/fault.ts'

export const forward = (io: Io) =>
  defineCommand(io, 'forward', [
    ['oriel forward win 8080:80', 'localhost:8080 leads to port 80 of the guest'],
    ['oriel forward win 3389', 'a free port is chosen and printed'],
    ['oriel forward win --rm 8080', 'closes localhost:8080'],
    ['oriel forward ls win --json', 'those that are open']
  ])
    .usage('[options] [name] [hostport:]guestport')
    .argument('[name]', 'name of the machine (default: "default")')
    .argument('[ports]', 'port of the guest, with that of this host before it if it matters')
    .option('--rm <hostport>', 'close this port of this host')
    .addCommand(list(io))
    .action(async (first, second, { rm }) => {
      const { addForward, parseForward, parsePort, removeForward } = await import('#machine/forward.ts')
      const request = { env: io.env, signal: io.signal, report: () => undefined }
      if (rm !== undefined) {
        if (second !== undefined) throw new Fault('--rm takes no ports beside its own.', { exitCode: 2 })
        await removeForward({ ...request, name: first ?? 'default' }, parsePort(rm))
        return
      }
      // With one word it is the port.
      const [name, ports] = second === undefined ? ['default', first] : [first ?? 'default', second]
      const wanted = ports === undefined ? undefined : parseForward(ports)
      if (wanted === undefined) {
        throw new Fault(ports === undefined ? 'no port was given.' : `"${ports}" is not [HOSTPORT:]GUESTPORT.`, {
          exitCode: 2,
          hint: 'For example: oriel forward win 8080:80'
        })
      }
      const { hostPort, guestPort } = await addForward({ ...request, name }, wanted)
      io.out(`127.0.0.1:${hostPort}\n`)
      io.err(`localhost:${hostPort} leads to port ${guestPort} of machine "${name}".\n`)
    })

function list(io: Io): TypedCommand {
  return defineSubcommand(io, 'forward ls', 'list the ports that are open', [
    ['oriel forward ls win', 'a table'],
    ['oriel forward ls win --json', 'for scripts']
  ])
    .argument('[name]', 'name of the machine', 'default')
    .option('--json', 'print JSON')
    .action(async (name, options) => {
      const { listForwards } = await import('#machine/forward.ts')
      const open = await listForwards({ name, env: io.env, signal: io.signal, report: () => undefined })
      if (options.json) io.out(json(open))
      else if (open.length === 0) io.err(`No port is forwarded to machine "${name}".\n`)
      else {
        const rows = open.map(({ hostPort, guestPort }) => [`127.0.0.1:${hostPort}`, String(guestPort)])
        io.out(table(['HOST', 'GUEST'], rows))
      }
    }) as unknown as TypedCommand
}
