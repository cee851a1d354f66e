import { createServer, type Server, type Socket } from 'node:net'
import { join } from 'node:path'
import { afterEach, describe, expect, test } from 'vitest'
import { Qmp, QmpError, runJob, withQmp } from '#driver/qemu/qmp.ts'
import { startVm } from '#driver/qemu/vm-process.ts'
import { Fault } from '#lib/fault.ts'
import { smallVm, temporaryFolder } from './vm.ts'

const GREETING = { QMP: { version: { qemu: { major: 9, minor: 1, micro: 2 }, package: '' }, capabilities: ['oob'] } }

interface Request {
  execute: string
  arguments?: Record<string, unknown>
  id: string
}

const servers: Server[] = []
afterEach(() => {
  for (const server of servers.splice(0)) server.close()
})

/** Plays QEMU: greets, and lets `answer` say what to send for each command. */
async function fakeQemu(
  answer: (request: Request, socket: Socket) => unknown,
  greet = (socket: Socket) => void socket.write(`${JSON.stringify(GREETING)}\r\n`)
): Promise<string> {
  const path = join(temporaryFolder(), 'qmp.sock')
  const server = createServer(socket => {
    greet(socket)
    let text = ''
    socket.on('error', () => undefined)
    socket.setEncoding('utf8').on('data', (piece: string) => {
      const lines = (text + piece).split('\n')
      text = lines.pop() ?? ''
      for (const line of lines) {
        const request = JSON.parse(line) as Request
        const sent = request.execute === 'qmp_capabilities' ? { return: {} } : answer(request, socket)
        if (sent !== undefined) socket.write(`${JSON.stringify({ ...(sent as object), id: request.id })}\r\n`)
      }
    })
  })
  servers.push(server)
  await new Promise<void>(resolve => server.listen(path, resolve))
  return path
}

async function errorOf(promise: Promise<unknown>): Promise<QmpError> {
  const error = await promise.catch((thrown: unknown) => thrown)
  expect(error).toBeInstanceOf(QmpError)
  expect(error).toBeInstanceOf(Fault)
  return error as QmpError
}

describe('a connection', () => {
  test('knows the version of QEMU and gives answers', async () => {
    const path = await fakeQemu(({ execute, arguments: args }) => ({ return: { execute, args: args ?? null } }))
    const qmp = await Qmp.connect(path)
    expect(qmp.version).toEqual([9, 1, 2])
    expect(await qmp.execute('query-status')).toEqual({ execute: 'query-status', args: null })
    expect(await qmp.human('info network')).toEqual({
      execute: 'human-monitor-command',
      args: { 'command-line': 'info network' }
    })
    qmp.close()
  })

  test('matches answers to commands whatever their order', async () => {
    const late: (() => void)[] = []
    const path = await fakeQemu(({ execute, id }, socket) => {
      if (execute === 'first') {
        late.push(() => void socket.write(`${JSON.stringify({ return: 1, id })}\n`))
        return undefined
      }
      setTimeout(() => late.pop()?.(), 20)
      return { return: 2 }
    })
    await withQmp(path, async qmp => {
      expect(await Promise.all([qmp.execute('first'), qmp.execute('second')])).toEqual([1, 2])
    })
  })

  test('joins lines that come in pieces, splits those that come at once, and skips what is not JSON', async () => {
    const big = 'ä'.repeat(300_000)
    const path = await fakeQemu(({ id }, socket) => {
      const bytes = Buffer.from(
        `${JSON.stringify({ event: 'RESET', data: { guest: true } })}\r\nrubbish\n\n${JSON.stringify({ return: big, id })}\r\n${JSON.stringify({ event: 'STOP' })}\n`
      )
      // An odd size, which also cuts letters of two bytes.
      for (let at = 0; at < bytes.length; at += 7919) socket.write(bytes.subarray(at, at + 7919))
      return undefined
    })
    await withQmp(path, async qmp => {
      const events: string[] = []
      qmp.on('RESET', ({ event, data }) => events.push(`${event} ${data.guest}`))
      const stopped = qmp.waitFor('STOP', { timeoutMs: 5000 })
      expect(await qmp.execute('big')).toBe(big)
      expect((await stopped).data).toEqual({})
      expect(events).toEqual(['RESET true'])
    })
  })

  test("gives QEMU's class and words for a refusal", async () => {
    const path = await fakeQemu(() => ({ error: { class: 'DeviceNotFound', desc: "Device 'x' not found" } }))
    await withQmp(path, async qmp => {
      const error = await errorOf(qmp.execute('eject', { id: 'x' }))
      expect([error.command, error.errorClass]).toEqual(['eject', 'DeviceNotFound'])
      expect(error.message).toContain("Device 'x' not found")
    })
  })

  test('fails commands and waits when QEMU ends, and later ones', async () => {
    const path = await fakeQemu((_, socket) => void socket.destroy())
    const qmp = await Qmp.connect(path)
    const waiting = errorOf(qmp.waitFor('SHUTDOWN', { timeoutMs: 5000 }))
    expect((await errorOf(qmp.execute('quit'))).errorClass).toBe('Closed')
    expect((await waiting).errorClass).toBe('Closed')
    await qmp.closed
    expect((await errorOf(qmp.execute('query-status'))).errorClass).toBe('Closed')
  })

  test('gives up on a command that gets no answer, and goes on', async () => {
    const path = await fakeQemu(({ execute }) => (execute === 'slow' ? undefined : { return: 'ok' }))
    await withQmp(path, async qmp => {
      expect((await errorOf(qmp.execute('slow', {}, { timeoutMs: 50 }))).errorClass).toBe('Timeout')
      expect(await qmp.execute('fast')).toBe('ok')
    })
  })

  test('stops to wait when the signal fires', async () => {
    const path = await fakeQemu(() => undefined)
    await withQmp(path, async qmp => {
      const waiting = qmp.waitFor('STOP', { timeoutMs: 5000, signal: AbortSignal.timeout(20) })
      await expect(waiting).rejects.toMatchObject({ exitCode: 130 })
    })
    const silent = await fakeQemu(
      () => undefined,
      () => undefined
    )
    await expect(Qmp.connect(silent, { signal: AbortSignal.timeout(20) })).rejects.toMatchObject({ exitCode: 130 })
  })

  test('is refused by nobody, by somebody who hangs and by a stranger', async () => {
    const nobody = await errorOf(Qmp.connect(join(temporaryFolder(), 'none.sock'), { timeoutMs: 200 }))
    expect(nobody.errorClass).toBe('Absent')
    const silent = await fakeQemu(
      () => undefined,
      () => undefined
    )
    expect((await errorOf(Qmp.connect(silent, { timeoutMs: 100 }))).errorClass).toBe('Timeout')
    const stranger = await fakeQemu(
      () => undefined,
      socket => void socket.write('{"hello": "world"}\n')
    )
    expect((await errorOf(Qmp.connect(stranger))).message).toContain('is not QEMU')
    const closing = await fakeQemu(
      () => undefined,
      socket => void socket.end()
    )
    expect((await errorOf(Qmp.connect(closing))).errorClass).toBe('Closed')
  })
})

describe('a job', () => {
  test('ends well, or with its own error, and is dismissed', async () => {
    for (const error of [undefined, 'No space left']) {
      const seen: string[] = []
      let job = ''
      const path = await fakeQemu(({ execute, arguments: args }, socket) => {
        seen.push(execute)
        if (execute === 'snapshot-save') {
          job = String(args?.['job-id'])
          for (const [id, status] of [
            ['other', 'concluded'],
            [job, 'running'],
            [job, 'concluded']
          ]) {
            socket.write(`${JSON.stringify({ event: 'JOB_STATUS_CHANGE', data: { id, status } })}\n`)
          }
          return { return: {} }
        }
        return { return: execute === 'query-jobs' ? [{ id: job, status: 'concluded', error }] : {} }
      })
      const done = withQmp(path, qmp => runJob(qmp, 'snapshot-save', { tag: 'a' }))
      if (error === undefined) await done
      else expect((await errorOf(done)).message).toBe('snapshot-save failed: No space left')
      expect(seen).toEqual(['snapshot-save', 'query-jobs', 'job-dismiss'])
    }
  })

  test('fails with the command that would start it', async () => {
    const path = await fakeQemu(() => ({ error: { class: 'CommandNotFound', desc: 'no such command' } }))
    const error = await errorOf(withQmp(path, qmp => runJob(qmp, 'snapshot-save', {})))
    expect(error.errorClass).toBe('CommandNotFound')
  })
})

test('with the QEMU of this host a second client waits for the first', async () => {
  const spec = await smallVm()
  await startVm(spec, `${spec.files.com1}.qemu`)
  const first = await Qmp.connect(spec.files.qmp)
  const order: string[] = []
  const others = ['second', 'third', 'fourth'].map(async name => {
    await withQmp(spec.files.qmp, async qmp => {
      order.push(name)
      expect(await qmp.human('info status')).toMatch(/paused/)
    })
  })
  expect((await errorOf(Qmp.connect(spec.files.qmp, { timeoutMs: 300 }))).errorClass).toBe('Timeout')
  expect((await errorOf(first.execute('no-such-command'))).errorClass).toBe('CommandNotFound')
  order.push('first')
  first.close()
  await Promise.all(others)
  expect(order[0]).toBe('first')
  expect(order).toHaveLength(4)
})
