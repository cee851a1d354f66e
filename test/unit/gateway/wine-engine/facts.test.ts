import { expect, test, vi } from 'vitest'
import { Engine } from '#docker/engine.ts'
import { engineFacts } from '#gateway/wine-engine/facts.ts'

/** An engine whose `/version` is what the test says, and the times that it was asked. */
function engineOf(answers: (object | Error)[]): { engine: Engine; asked: () => number } {
  const engine = new Engine({ kind: 'unix', path: '/nowhere' })
  let count = 0
  vi.spyOn(engine, 'json').mockImplementation(async () => {
    const answer = answers[Math.min(count, answers.length - 1)]
    count += 1
    if (answer instanceof Error) throw answer
    return answer
  })
  return { engine, asked: () => count }
}

const first = { Version: '1', ApiVersion: '1.41', MinAPIVersion: '1.12' }
const second = { Version: '2', ApiVersion: '1.99', MinAPIVersion: '1.44' }

test('are asked for once, and anew when they are old, without a wait', async () => {
  const { engine, asked } = engineOf([first, second])
  let time = 0
  const facts = engineFacts(engine, () => time)
  const [a, b] = await Promise.all([facts(), facts()])
  expect([a, b]).toEqual([a, a])
  expect(a).toEqual({ version: '1', apiVersion: '1.41', minApiVersion: '1.12' })
  time = 29_999
  await facts()
  expect(asked()).toBe(1)
  time = 30_000
  expect(await facts()).toMatchObject({ version: '1' })
  await vi.waitFor(async () => expect(await facts()).toMatchObject({ version: '2', apiVersion: '1.51' }))
})

test('an engine that is gone is asked again', async () => {
  const { engine } = engineOf([new Error('gone'), first, new Error('gone')])
  let time = 0
  const facts = engineFacts(engine, () => time)
  await expect(facts()).rejects.toThrow('gone')
  expect(await facts()).toMatchObject({ version: '1' })
  time = 60_000
  expect(await facts()).toMatchObject({ version: '1' })
})
