import { readdirSync, readFileSync } from 'node:fs'
import type { Home } from './home.ts'

/** Process ids of the host agents that work for this home. Linux only: it reads /proc. */
export function agentPids(home: Home): number[] {
  return readdirSync('/proc')
    .filter(name => /^\d+$/.test(name))
    .filter(pid => read(pid, 'cmdline').includes('agent.js') && read(pid, 'environ').includes(home.env.ORIEL_HOME))
    .map(Number)
}

/** Resident memory of a process in bytes. */
export function residentBytes(pid: number): number {
  return Number(/^VmRSS:\s+(\d+) kB/m.exec(read(String(pid), 'status'))?.[1] ?? 0) * 1024
}

function read(pid: string, file: string): string {
  try {
    return readFileSync(`/proc/${pid}/${file}`, 'utf8')
  } catch {
    return ''
  }
}
