import { lineTransform, pipeAnswer } from '#gateway/proxy/respond.ts'
import { joinTarget, type Route } from '#gateway/routes.ts'
import type { WineContext } from './context.ts'
import { type Json, numberOf, objectOf, objectsOf, stringOf, without } from './json.ts'
import { findContainer } from './record.ts'

export function statsRoutes(context: WineContext): Route[] {
  return [
    {
      method: 'GET',
      template: '/containers/{id}/stats',
      action: ({ params, query, version }) => ({
        kind: 'handle',
        handler: async (_request, response) => {
          const { id } = await findContainer(context, params.id ?? '')
          const gone = new AbortController()
          response.once('close', () => gone.abort())
          const answer = await context.engine.request('GET', joinTarget(version, `/containers/${id}/stats`, query), {
            signal: gone.signal
          })
          const through = lineTransform(line => {
            if (line.trim() === '') return line
            return JSON.stringify(answer.status === 200 ? windowsStats(objectOf(JSON.parse(line))) : JSON.parse(line))
          })
          await pipeAnswer(answer, response, { through })
        }
      })
    }
  ]
}

/** One reading of a Linux engine in the shape that a Windows daemon gives, from which its clients work out their columns. */
export function windowsStats(stats: Json): Json {
  const memory = objectOf(stats.memory_stats)
  const details = objectOf(memory.stats)
  const usage = numberOf(memory.usage)
  // What the kernel could take back at once is no working set. cgroup v1 says total_inactive_file, v2 inactive_file.
  const idle = numberOf(details.total_inactive_file ?? details.inactive_file)
  const cpu = objectOf(stats.cpu_stats)
  const perProcessor = objectOf(cpu.cpu_usage).percpu_usage
  const processors = numberOf(cpu.online_cpus) || (Array.isArray(perProcessor) ? perProcessor.length : 0)
  const blocks = objectOf(stats.blkio_stats)
  const running = usage > 0
  return {
    ...without(stats, ['pids_stats', 'blkio_stats', 'memory_stats', 'networks', 'network']),
    pids_stats: {},
    blkio_stats: emptyBlocks(),
    num_procs: processors,
    storage_stats: running
      ? {
          read_count_normalized: sum(blocks.io_serviced_recursive, 'read'),
          read_size_bytes: sum(blocks.io_service_bytes_recursive, 'read'),
          write_count_normalized: sum(blocks.io_serviced_recursive, 'write'),
          write_size_bytes: sum(blocks.io_service_bytes_recursive, 'write')
        }
      : {},
    cpu_stats: windowsCpu(cpu),
    precpu_stats: windowsCpu(objectOf(stats.precpu_stats)),
    memory_stats: running
      ? {
          commitbytes: usage,
          commitpeakbytes: Math.max(numberOf(memory.max_usage), usage),
          privateworkingset: Math.max(0, usage - idle)
        }
      : {},
    ...('networks' in stats ? { networks: windowsAdapters(objectOf(stats.networks)) } : {}),
    ...('os_type' in stats ? { os_type: 'windows' } : {})
  }
}

/** Windows counts processor time in units of 100 ns. */
function windowsCpu(cpu: Json): Json {
  const usage = objectOf(cpu.cpu_usage)
  const units = (name: string): number => Math.floor(numberOf(usage[name]) / 100)
  return {
    cpu_usage: {
      total_usage: units('total_usage'),
      usage_in_kernelmode: units('usage_in_kernelmode'),
      usage_in_usermode: units('usage_in_usermode')
    },
    throttling_data: { periods: 0, throttled_periods: 0, throttled_time: 0 }
  }
}

function emptyBlocks(): Json {
  const names = ['service_bytes', 'serviced', 'queue', 'service_time', 'wait_time', 'merged', 'time']
  return Object.fromEntries([...names.map(name => [`io_${name}_recursive`, null]), ['sectors_recursive', null]])
}

function sum(entries: unknown, operation: string): number {
  return objectsOf(entries)
    .filter(entry => stringOf(entry.op).toLowerCase() === operation)
    .reduce((total, entry) => total + numberOf(entry.value), 0)
}

function windowsAdapters(networks: Json): Json {
  return Object.fromEntries(
    Object.entries(networks).map(([name, value]) => {
      const index = Number(/^eth(\d+)$/.exec(name)?.[1] ?? Number.NaN)
      if (Number.isNaN(index)) return [name, value]
      return [index === 0 ? 'Ethernet' : `Ethernet ${index + 1}`, value]
    })
  )
}
