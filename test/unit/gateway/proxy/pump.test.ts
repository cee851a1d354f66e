import { PassThrough, Readable } from 'node:stream'
import { setImmediate } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { pump } from '#gateway/proxy/pump.ts'

test('a sender is read to its end, however much it has, when the receiver is gone', async () => {
  const from = Readable.from(Array.from({ length: 40 }, () => Buffer.alloc(100_000)))
  const to = new PassThrough()
  to.destroy()
  pump(from, to)
  for (let turn = 0; turn < 200 && !from.readableEnded; turn++) await setImmediate()
  expect(from.readableEnded).toBe(true)
})
