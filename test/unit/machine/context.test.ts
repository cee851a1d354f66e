import { mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { currentContextName, readContext, useContext, writeContext } from '#docker/context-store.ts'
import { currentContext } from '#driver/wine/current-context.ts'
import { checkContext, contextTrouble, dropContext, ensureContext, switchContext } from '#machine/context.ts'

let config: string
let env: { DOCKER_CONFIG: string }
beforeEach(() => {
  config = mkdtempSync(join(tmpdir(), 'oriel-context-'))
  env = { DOCKER_CONFIG: config }
})
afterEach(() => rmSync(config, { recursive: true, force: true }))

const a = { name: 'a', sockets: ['/s', '/s/docker.sock', '/t/docker.sock'] }

const foreign = () => writeContext(config, { name: 'oriel-a', host: 'unix:///mine', description: 'mine', metadata: {} })

test('a context is made, found again, and corrected when it leads elsewhere', async () => {
  expect(await ensureContext(a, '/s/docker.sock', env)).toBe('oriel-a, made')
  expect(await ensureContext(a, '/s/docker.sock', env)).toBe('oriel-a, present')
  expect(await contextTrouble('a', '/s/docker.sock', env)).toBeUndefined()
  expect(await contextTrouble('a', '/t/docker.sock', env)).toContain('leads to unix:///s/docker.sock')
  expect(await ensureContext(a, '/t/docker.sock', env)).toBe('oriel-a, corrected')
  expect((await readContext(config, 'oriel-a'))?.host).toBe('unix:///t/docker.sock')
})

test("somebody else's context is neither overwritten nor removed", async () => {
  await foreign()
  await expect(checkContext(a, env)).rejects.toMatchObject({
    exitCode: 3,
    hint: expect.stringContaining('docker context rm oriel-a')
  })
  await expect(ensureContext(a, '/s', env)).rejects.toMatchObject({ exitCode: 3 })
  await dropContext(a, env)
  expect((await readContext(config, 'oriel-a'))?.host).toBe('unix:///mine')
  expect(await contextTrouble('a', '/s', env)).toContain("is not Oriel's")
})

test('a living machine of the same name in another home keeps its context', async () => {
  const socket = join(config, 'other.sock')
  const server = createServer(() => undefined).listen(socket)
  try {
    await ensureContext({ name: 'a', sockets: [socket] }, socket, env)
    await expect(ensureContext(a, '/s', env)).rejects.toMatchObject({
      exitCode: 3,
      message: expect.stringContaining(`another machine "a", at ${socket}`)
    })
    await dropContext(a, env)
    expect((await readContext(config, 'oriel-a'))?.host).toBe(`unix://${socket}`)
  } finally {
    await new Promise(resolve => server.close(resolve))
  }
  expect(await ensureContext(a, '/s', env)).toBe('oriel-a, corrected')
})

test('the current context changes only when asked, and goes back when its machine goes', async () => {
  await ensureContext(a, '/s', env)
  expect(await currentContextName(config, {})).toBe('default')
  await switchContext('a', env)
  expect(await currentContextName(config, {})).toBe('oriel-a')
  await dropContext(a, env)
  expect(await currentContextName(config, {})).toBe('default')
  expect(await readContext(config, 'oriel-a')).toBeUndefined()
  await dropContext(a, env)
})

test('the engine finder knows the current context, and which are ours', async () => {
  expect(await currentContext(env)).toBeUndefined()
  await writeContext(config, { name: 'colima', host: 'unix:///c', description: '', metadata: {} })
  await useContext(config, 'colima')
  expect(await currentContext(env)).toEqual({ name: 'colima', reference: { url: 'unix:///c' }, ours: false })
  await ensureContext(a, '/s', env)
  await switchContext('a', env)
  expect(await currentContext(env)).toMatchObject({ name: 'oriel-a', ours: true })
  await expect(currentContext({ ...env, DOCKER_CONTEXT: 'gone' })).rejects.toMatchObject({ exitCode: 4 })
})
