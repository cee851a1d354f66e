import { Fault } from '#lib/fault.ts'
import type { MachineRequest } from './machine-lock.ts'
import { existingMachine } from './store.ts'

export const SHELLS = ['bash', 'zsh', 'fish', 'powershell'] as const
export type Shell = (typeof SHELLS)[number]

/** Variables that would lead a docker client astray when DOCKER_HOST is a socket. */
const MISLEADING = ['DOCKER_CONTEXT', 'DOCKER_TLS_VERIFY', 'DOCKER_TLS', 'DOCKER_CERT_PATH']

/** Lines that make a shell's docker clients use the machine. Fault 3 when there is no such machine. */
export async function environment(name: string, shell: Shell, env: NodeJS.ProcessEnv): Promise<string[]> {
  const { paths } = await existingMachine(name, env)
  return lines(shell, { DOCKER_HOST: `unix://${paths.dockerSocket}` }, env)
}

/** As `environment`, for tools that cannot use a socket: the engine itself, by TCP and TLS. Fault 3 when it has no such way. */
export async function tlsEnvironment(request: MachineRequest, shell: Shell): Promise<string[]> {
  const { openVm } = await import('./vm.ts')
  const { vm, work } = await openVm(request)
  const { url, tlsFolder } = await vm.tls(work.place)
  const variables = { DOCKER_HOST: url, DOCKER_TLS_VERIFY: '1', DOCKER_CERT_PATH: tlsFolder ?? '' }
  return lines(shell, variables, request.env)
}

function lines(shell: Shell, variables: Record<string, string>, env: NodeJS.ProcessEnv): string[] {
  return [
    ...Object.entries(variables).map(([name, value]) => exportLine(shell, name, value)),
    ...MISLEADING.filter(name => env[name] !== undefined && !(name in variables)).map(name => unsetLine(shell, name))
  ]
}

/** The shell that a path such as `/usr/bin/fish` names; bash for all that speak its language. */
export function shellOf(path: string | undefined): Shell {
  const name = path?.split(/[\\/]/).pop() ?? ''
  if (name === 'pwsh' || name === 'powershell') return 'powershell'
  return SHELLS.find(shell => shell === name) ?? 'bash'
}

/** Fault 2 for a shell that Oriel does not know. */
export function parseShell(name: string): Shell {
  const shell = SHELLS.find(known => known === name)
  if (shell === undefined) {
    throw new Fault(`"${name}" is not a shell that Oriel knows.`, {
      exitCode: 2,
      hint: `Choose: ${SHELLS.join(', ')}.`
    })
  }
  return shell
}

function exportLine(shell: Shell, name: string, value: string): string {
  switch (shell) {
    case 'bash':
    case 'zsh':
      return `export ${name}='${value.replaceAll("'", "'\\''")}'`
    case 'fish':
      return `set -gx ${name} '${value.replace(/['\\]/g, '\\$&')}'`
    case 'powershell':
      return `$Env:${name} = '${value.replaceAll("'", "''")}'`
  }
}

function unsetLine(shell: Shell, name: string): string {
  switch (shell) {
    case 'bash':
    case 'zsh':
      return `unset ${name}`
    case 'fish':
      return `set -e ${name}`
    case 'powershell':
      return `Remove-Item Env:${name}`
  }
}
