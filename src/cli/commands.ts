import type { CommandUnknownOpts } from '@commander-js/extra-typings'
import type { Io } from './io.ts'
import type { CommandName } from './summaries.ts'

export type Define = (io: Io) => CommandUnknownOpts

/** How to load each command: only the one that was typed is. */
export const LOADERS: Record<CommandName, () => Promise<Define>> = {
  up: async () => (await import('./commands/up.ts')).up,
  stop: async () => (await import('./commands/stop.ts')).stop,
  restart: async () => (await import('./commands/restart.ts')).restart,
  rm: async () => (await import('./commands/rm.ts')).rm,
  ls: async () => (await import('./commands/ls.ts')).ls,
  status: async () => (await import('./commands/status.ts')).status,
  env: async () => (await import('./commands/env.ts')).env,
  logs: async () => (await import('./commands/logs.ts')).logs,
  doctor: async () => (await import('./commands/doctor.ts')).doctor,
  shell: async () => (await import('./commands/shell.ts')).shell,
  releases: async () => (await import('./commands/releases.ts')).releases,
  media: async () => (await import('./commands/media.ts')).media,
  suspend: async () => (await import('./commands/suspend.ts')).suspend,
  snapshot: async () => (await import('./commands/snapshot.ts')).snapshot,
  screenshot: async () => (await import('./commands/screenshot.ts')).screenshot,
  view: async () => (await import('./commands/view.ts')).view,
  forward: async () => (await import('./commands/forward.ts')).forward,
  certs: async () => (await import('./commands/certs.ts')).certs,
  rearm: async () => (await import('./commands/rearm.ts')).rearm,
  upgrade: async () => (await import('./commands/upgrade.ts')).upgrade,
  golden: async () => (await import('./commands/golden.ts')).golden,
  completion: async () => {
    const { completion } = await import('./commands/completion.ts')
    return io => completion(io, LOADERS)
  },
  version: async () => (await import('./commands/version.ts')).version
}
