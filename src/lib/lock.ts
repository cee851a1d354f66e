import { mkdir, rm, writeFile } from 'node:fs/promises'
import { dirname } from 'node:path'
import { lock } from 'proper-lockfile'
import { Fault } from './fault.ts'
import { holderPath, type LockHolder, lockHolder, STALE_MS } from './lock-holder.ts'
import { formatDuration } from './size.ts'
import { poll } from './wait.ts'

export interface LockOptions {
  /** What this process is about to do, told to others who wait. */
  doing: string
  limitMs: number
  signal?: AbortSignal
  /** Called once when somebody else has the lock. */
  onWait?: (holder: LockHolder | undefined) => void
}

/**
 * Does `work` while no other process that asks for the lock at `path` does its own. The signal given to `work` also fires
 * when the lock was lost (a laptop that slept). Fault 3 when the holder takes longer than `limitMs`.
 */
export async function withLock<T>(
  path: string,
  options: LockOptions,
  work: (signal: AbortSignal) => Promise<T>
): Promise<T> {
  await mkdir(dirname(path), { recursive: true, mode: 0o700 })
  const lost = new AbortController()
  let told = false
  const release = await poll(
    async () => {
      const taken = await tryLock(path, lost)
      if (taken === undefined && !told) {
        told = true
        options.onWait?.(await lockHolder(path))
      }
      return taken
    },
    { limitMs: options.limitMs, ...(options.signal === undefined ? {} : { signal: options.signal }) }
  )
  if (release === undefined) {
    const holder = await lockHolder(path)
    throw new Fault(
      `another command works on this machine${holder === undefined ? '' : `: ${holder.doing} (process ${holder.pid})`}; waited ${formatDuration(options.limitMs)}.`,
      { exitCode: 3, hint: 'Wait until it is done, or end it.' }
    )
  }
  const holder: LockHolder = { pid: process.pid, doing: options.doing, since: new Date().toISOString() }
  try {
    await writeFile(holderPath(path), JSON.stringify(holder), { mode: 0o600 })
    const signals = options.signal === undefined ? [lost.signal] : [options.signal, lost.signal]
    return await work(AbortSignal.any(signals))
  } finally {
    await rm(holderPath(path), { force: true })
    await release().catch(() => undefined)
  }
}

async function tryLock(path: string, lost: AbortController): Promise<(() => Promise<void>) | undefined> {
  try {
    return await lock(path, {
      stale: STALE_MS,
      update: 1000,
      realpath: false,
      onCompromised: () => lost.abort()
    })
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ELOCKED') return undefined
    throw error
  }
}
