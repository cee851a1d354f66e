/** Every command and what it does, in the order of the help. Kept apart from the commands so that help loads none of them. */
export const SUMMARIES = {
  up: 'make a machine if need be, start it, and wait until docker answers',
  stop: "stop a machine's containers or its guest, and its host agent",
  restart: 'stop a machine and start it again',
  rm: 'remove a machine and all that belongs to it',
  ls: 'list the machines',
  status: 'show what a machine is doing',
  env: 'print the variables for shells and tools that ignore docker contexts',
  logs: 'show the log of a host agent',
  doctor: 'check what this host needs, and say what to do',
  shell: 'open a Windows prompt in a new container',
  releases: 'list the Windows releases that machines can be made of',
  media: 'fetch, inspect and remove installation discs',
  suspend: "write a virtual machine's memory to disk and end it; up goes on from there",
  snapshot: 'keep, restore, list and remove states of a virtual machine',
  screenshot: "save a picture of a virtual machine's screen",
  view: "show where a VNC client finds a virtual machine's screen",
  forward: 'open a port of this host that leads into a virtual machine',
  certs: "show or renew the certificates of a virtual machine's engine",
  rearm: "renew the evaluation period of a virtual machine's Windows",
  upgrade: 'replace the Docker Engine in a virtual machine',
  golden: 'list and remove the installed Windows that machines are made of',
  completion: 'print a script that completes oriel commands in a shell',
  version: 'print the version'
} as const

export type CommandName = keyof typeof SUMMARIES

export const COMMAND_NAMES = Object.keys(SUMMARIES) as CommandName[]
