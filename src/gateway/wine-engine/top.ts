import { sendJson } from '#gateway/proxy/respond.ts'
import type { Route } from '#gateway/routes.ts'
import type { WineContext } from './context.ts'
import { objectOf } from './json.ts'
import { findContainer } from './record.ts'
import { Refusal } from './refusal.ts'

const TITLES = ['Name', 'PID', 'CPU', 'Private Working Set']
const PS_ARGUMENTS = '-eo pid,time,rss,args'

export function topRoutes(context: WineContext): Route[] {
  return [
    {
      method: 'GET',
      template: '/containers/{id}/top',
      action: ({ params, query }) => ({
        kind: 'handle',
        handler: async (_request, response) => {
          const { id } = await findContainer(context, params.id ?? '')
          // Docker's client sends an empty one when its user named none.
          const wanted = (query.get('ps_args') ?? '').trim()
          if (wanted !== '' && wanted !== '-ef') throw new Refusal('Windows does not support arguments to top')
          const top = `/containers/${id}/top?ps_args=${encodeURIComponent(PS_ARGUMENTS)}`
          const { Processes } = objectOf(await context.engine.json('GET', top))
          const rows = Array.isArray(Processes) ? Processes : []
          sendJson(response, 200, { Titles: TITLES, Processes: rows.map(topRow).filter(row => row !== undefined) })
        }
      })
    }
  ]
}

/** What Wine and Oriel run for a program, where Windows has its kernel. */
const HELPERS = new Set(
  ['init', 'wineserver', 'launcher', 'conhost', 'services', 'explorer', 'plugplay', 'svchost', 'rpcss', 'winedevice']
    .concat(['wineboot', 'winemenubuilder', 'start', 'wine', 'wine64', 'wine-preloader', 'wine64-preloader'])
    .flatMap(name => [name, `${name}.exe`])
)

/** A line of `ps` (pid, time, rss in KiB, args) as a Windows daemon shows a process; undefined for those that it has not. */
export function topRow(line: unknown): string[] | undefined {
  const [pid = '', time = '', rss = '', args = ''] = Array.isArray(line) ? line.map(String) : []
  const program = programOf(args)
  const ownPlace = /^(\/oriel\/|\/usr\/|"?c:\\windows\\)/i.test(args) || !/[\\/]/.test(program)
  const name = program.slice(Math.max(program.lastIndexOf('\\'), program.lastIndexOf('/')) + 1)
  if (name === '' || (ownPlace && HELPERS.has(name.toLowerCase()))) return undefined
  // A process without arguments is a thread or one that just ended: `[cmd.exe] <defunct>`.
  if (name.startsWith('[')) return undefined
  return [/\.\w+$/.test(name) ? name : `${name}.exe`, pid, windowsTime(time), humanSize(Number(rss) * 1024)]
}

function programOf(args: string): string {
  const quoted = /^"([^"]*)"/.exec(args)?.[1]
  if (quoted !== undefined) return quoted
  // Blanks are common in paths below a drive; the extension tells where they end.
  const whole = /^[a-z]:[\\/].*?\.(?:exe|com|bat|cmd)(?=\s|$)/i.exec(args)?.[0]
  return whole ?? args.split(/\s/)[0] ?? ''
}

/** `1-02:03:04` of ps as `26:03:04.000`. */
function windowsTime(time: string): string {
  const [, days = '0', hours = '0', rest = '00:00'] = /^(?:(\d+)-)?(?:(\d+):)?(\d+:\d+)$/.exec(time) ?? []
  return `${String(Number(days) * 24 + Number(hours)).padStart(2, '0')}:${rest.padStart(5, '0')}.000`
}

/** Bytes as docker writes them: four digits, powers of 1000. */
export function humanSize(bytes: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB']
  let size = Number.isFinite(bytes) ? bytes : 0
  let unit = 0
  while (size >= 1000 && unit < units.length - 1) {
    size /= 1000
    unit++
  }
  return `${Number(size.toPrecision(4))}${units[unit]}`
}
