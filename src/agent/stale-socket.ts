import { lstat, unlink } from 'node:fs/promises'

/** Removes the socket that a killed process left at `path`. Anything but a socket stays and makes the later bind fail. */
export async function removeStaleSocket(path: string): Promise<void> {
  const found = await lstat(path).catch(() => undefined)
  if (found?.isSocket()) await unlink(path)
}
