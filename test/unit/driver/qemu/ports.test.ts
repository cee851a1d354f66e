import { createServer } from 'node:net'
import { describe, expect, test } from 'vitest'
import { allocatePorts, isFree, portHolder } from '#driver/qemu/ports.ts'

async function listening<T>(port: number, work: () => Promise<T>): Promise<T> {
  const server = createServer()
  await new Promise<void>(resolve => server.listen(port, '127.0.0.1', resolve))
  try {
    return await work()
  } finally {
    await new Promise(resolve => server.close(resolve))
  }
}

describe('ports', () => {
  test('are free, differ, and are none that others have', async () => {
    const taken = new Set(Array.from({ length: 6000 }, (_, index) => 20_000 + index * 2))
    const ports = await allocatePorts(50, taken)
    expect(new Set(ports).size).toBe(50)
    for (const port of ports) {
      expect(taken.has(port)).toBe(false)
      // QEMU counts VNC displays from 5900 on; from 32768 on Linux gives ports to outgoing connections.
      expect(port).toBeGreaterThanOrEqual(20_000)
      expect(port).toBeLessThan(32_768)
    }
  })

  test('run out', async () => {
    await expect(
      allocatePorts(
        1,
        Array.from({ length: 12_768 }, (_, index) => 20_000 + index)
      )
    ).rejects.toThrow(/free/)
  })

  test('have a holder', async () => {
    const [port = 0] = await allocatePorts(1)
    expect(await isFree(port)).toBe(true)
    expect(await portHolder(port)).toBeUndefined()
    await listening(port, async () => {
      expect(await isFree(port)).toBe(false)
      expect(await portHolder(port)).toContain(`(process ${process.pid})`)
    })
  })
})
