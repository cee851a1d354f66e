import { defineCommand } from '#cli/command.ts'
import type { Io } from '#cli/io.ts'
import { progress } from '#cli/output/progress.ts'

export const up = (io: Io) =>
  defineCommand(io, 'up', [
    ['oriel up', 'the machine "default", on the Linux engine that is found'],
    ['oriel up --use', 'and make its context the current one of docker'],
    ['oriel up work --engine ssh://me@box', 'a second machine, on another engine'],
    ['oriel up --engine unix:///run/docker.sock', 'on the engine at this socket']
  ])
    .argument('[name]', 'name of the machine', 'default')
    .option('--engine <url>', 'Linux Docker engine to use: unix://, tcp:// or ssh://')
    .option('--driver <driver>', 'what makes the engine: wine (for a new machine)')
    .option('--use', "make the machine's context docker's current one")
    .option('-q, --quiet', 'print no progress')
    .action(async (name, { engine, driver, use, quiet }) => {
      const { up: bringUp } = await import('#machine/up.ts')
      const result = await bringUp({
        name,
        env: io.env,
        signal: io.signal,
        report: progress(io, quiet),
        ...(engine === undefined ? {} : { engine }),
        ...(driver === undefined ? {} : { driver }),
        ...(use === undefined ? {} : { use })
      })
      io.out(nextSteps(result, use === true))
    })

/** What to type now. */
export function nextSteps(machine: { name: string; context: string }, current: boolean): string {
  const docker = current ? 'docker' : `docker --context ${machine.context}`
  const named = machine.name === 'default' ? '' : ` ${machine.name}`
  return [
    `Machine "${machine.name}" is running. Try:`,
    `  ${docker} run --rm -it windowsservercore cmd`,
    ...(current ? [] : [`For tools that ignore docker contexts:`, `  eval "$(oriel env${named})"`]),
    ''
  ].join('\n')
}
