import { Fault } from '#lib/fault.ts'
import { existingMachine } from './store.ts'

export const SHELLS = ['bash', 'zsh', 'fish', 'powershell'] as const
export type Shell = (typeof SHELLS)[number]

/** Variables that would lead a docker client astray when DOCKER_HOST is a socket. */
const MISLEADING = ['DOCKER_CONTEXT', 'DOCKER_TLS_VERIFY', 'DOCKER_TLS', 'DOCKER_CERT_PATH']

/** Lines that make a shell's docker clients use the machine. Fault 3 when there is no such machine. */
export async function environment(name: string, shell: Shell, env: NodeJS.ProcessEnv): Promise<string[]> {
  const { paths } = await existingMachine(name, env)
  const set = exportLine(shell, 'DOCKER_HOST', `unix://${paths.dockerSocket}`)
  return [
    set,
    ...MISLEADING.filter(variable => env[variable] !== undefined).map(variable => unsetLine(shell, variable))
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
