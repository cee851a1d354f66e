import { checkAborted } from '#lib/wait.ts'

/**
 * Does the work for all items, `atOnce` of them at a time, in their order. The first failure ends what is going on and is
 * thrown when all of it has ended.
 */
export async function inParallel<T>(
  items: readonly T[],
  atOnce: number,
  signal: AbortSignal,
  work: (item: T, signal: AbortSignal) => Promise<void>
): Promise<void> {
  const failed = new AbortController()
  const inner = AbortSignal.any([signal, failed.signal])
  const waiting = [...items]
  let failure: { error: unknown } | undefined
  const worker = async () => {
    for (;;) {
      const item = waiting.shift()
      if (item === undefined || inner.aborted) return
      try {
        await work(item, inner)
      } catch (error) {
        failure ??= { error }
        failed.abort()
      }
    }
  }
  await Promise.all(Array.from({ length: Math.min(atOnce, items.length) }, worker))
  checkAborted(signal)
  if (failure !== undefined) throw failure.error
}
