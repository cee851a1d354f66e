import { defineCommand } from '#cli/command.ts'
import type { Io } from '#cli/io.ts'
import { json } from '#cli/output/json.ts'
import { fields } from '#cli/output/table.ts'
import { Fault } from '#lib/fault.ts'
import { machineStatus, type StatusReport } from '#machine/status.ts'

export const status = (io: Io) =>
  defineCommand(io, 'status', [
    ['oriel status', 'the machine "default"'],
    ['oriel status work --json', 'for scripts; "state" is absent, stopped, starting, running, stopping or broken']
  ])
    .argument('[name]', 'name of the machine', 'default')
    .option('--json', 'print JSON')
    .action(async (name, options) => {
      const report = await machineStatus(name, io.env)
      if (options.json) io.out(json(report.status))
      else if (report.status.state === 'absent') {
        throw new Fault(`there is no machine called "${name}".`, {
          exitCode: 3,
          hint: 'See those that exist with: oriel ls'
        })
      } else io.out(statusText(report))
    })

export function statusText({ status: machine, why, engineUrl }: StatusReport): string {
  const { engine, windows } = machine
  const lines: [string, string][] = [
    ['driver', machine.driver ?? ''],
    ['context', machine.context]
  ]
  if (machine.socket !== null) lines.push(['socket', machine.socket])
  if (engine.version !== null)
    lines.push(['engine', `Docker ${engine.version}, API ${engine.apiVersion}, ${engine.os}/${engine.arch}`])
  const behind = engineUrl ?? machine.vm?.engine ?? undefined
  if (behind !== undefined) lines.push(['behind', behind])
  if (windows.release !== null) lines.push(['windows', `${windows.release}, build ${windows.build}`])
  if (machine.evaluation !== null) {
    const { daysLeft, rearmsLeft } = machine.evaluation
    const again = rearmsLeft === null ? '' : `, can be renewed ${rearmsLeft} times: oriel rearm ${machine.name}`
    lines.push(['evaluation', `${daysLeft} days left${again}`])
  }
  for (const { hostPort, guestPort } of machine.vm?.forwards ?? []) {
    lines.push(['forward', `127.0.0.1:${hostPort} to port ${guestPort} of the guest`])
  }
  const trouble = why === undefined ? '' : `: ${why}`
  const repair = machine.state === 'broken' ? `Repair it with: oriel up ${machine.name}\n` : ''
  return `${machine.name} is ${machine.state}${trouble}\n${fields(lines)}${repair}`
}
