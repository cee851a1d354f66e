import { spawn } from 'node:child_process'
import { truncateSync, writeFileSync } from 'node:fs'
import { request } from 'node:http'
import { join } from 'node:path'
import { beforeAll, expect, test } from 'vitest'
import { agentPids, residentBytes } from '../support/agent.ts'
import { cleanEnv } from '../support/command.ts'
import { buildNodeImage, NODE_IMAGE } from '../support/node-image.ts'
import { useMachine } from '../support/oriel.ts'
import { waitFor } from '../support/wait.ts'

const GIBIBYTE = 1024 ** 3
const MOST_BYTES = 150 * 1024 ** 2

const windows = useMachine('streams')

beforeAll(() => buildNodeImage(windows), 300_000)

/** Does the work and gives the most resident memory that the host agent had meanwhile. */
async function agentPeak(work: () => Promise<unknown>): Promise<number> {
  const [pid = 0] = agentPids(windows.home)
  expect(pid).toBeGreaterThan(0)
  let peak = 0
  const timer = setInterval(() => {
    peak = Math.max(peak, residentBytes(pid))
  }, 50)
  try {
    await work()
  } finally {
    clearInterval(timer)
  }
  expect(peak).toBeGreaterThan(0)
  return peak
}

/** Runs docker, keeps none of its output, and gives its length in bytes. */
function outputBytes(args: readonly string[]): Promise<number> {
  const child = spawn('docker', ['--context', windows.context, ...args], {
    env: cleanEnv(windows.home.env),
    stdio: ['ignore', 'pipe', 'inherit']
  })
  let bytes = 0
  child.stdout.on('data', chunk => {
    bytes += chunk.length
  })
  return new Promise((resolve, reject) => {
    child.on('error', reject)
    child.on('close', code => (code === 0 ? resolve(bytes) : reject(new Error(`docker ${args.join(' ')}: ${code}`))))
  })
}

test('1 GiB through docker cp, both ways', async () => {
  const file = join(windows.home.root, 'big.bin')
  writeFileSync(file, '')
  truncateSync(file, GIBIBYTE)
  await windows.out(['create', '--name', 'copied', 'nanoserver', 'cmd'])
  const inwards = await agentPeak(() => windows.out(['cp', file, 'copied:C:\\big.bin'], { timeoutMs: 300_000 }))
  expect(inwards).toBeLessThan(MOST_BYTES)
  const outwards = await agentPeak(async () => {
    expect(await outputBytes(['cp', 'copied:C:\\big.bin', '-'])).toBeGreaterThan(GIBIBYTE)
  })
  expect(outwards).toBeLessThan(MOST_BYTES)
  await windows.out(['rm', 'copied'])
}, 600_000)

test('1 GiB through attach and through logs', async () => {
  const attached = await agentPeak(async () => {
    const bytes = await outputBytes(['run', '--name', 'poured', NODE_IMAGE, 'node', 'pour.mjs', '1024'])
    expect(bytes).toBe(GIBIBYTE)
  })
  expect(attached).toBeLessThan(MOST_BYTES)
  const logged = await agentPeak(async () => expect(await outputBytes(['logs', 'poured'])).toBe(GIBIBYTE))
  expect(logged).toBeLessThan(MOST_BYTES)
  await windows.out(['rm', 'poured'])
}, 600_000)

test('a client that reads slowly slows the program down and costs no memory', async () => {
  const peak = await agentPeak(async () => {
    const child = spawn(
      'docker',
      ['--context', windows.context, 'run', '--rm', NODE_IMAGE, 'node', 'pour.mjs', '512'],
      {
        env: cleanEnv(windows.home.env),
        stdio: ['ignore', 'pipe', 'inherit']
      }
    )
    await new Promise(resolve => setTimeout(resolve, 6000))
    child.stdout.resume()
    await new Promise(resolve => child.on('close', resolve))
  })
  expect(peak).toBeLessThan(MOST_BYTES)
}, 300_000)

test('the end of standard input goes through, and output comes after it', async () => {
  await windows.out(['run', '-d', '--name', 'closing', NODE_IMAGE])
  const text = 'a line\n'.repeat(100_000)
  const said = await windows.docker(['exec', '-i', 'closing', 'node', 'upper.mjs'], { input: text })
  expect(said.stdout.length).toBe(text.length)
  expect(said.stdout).toBe(text.toUpperCase())
  await windows.out(['rm', '-f', 'closing'])
})

test('wait answers with its headers before the container ends', async () => {
  await windows.out(['run', '-d', '-i', '--name', 'waited', 'nanoserver', 'cmd'])
  let status = 0
  let body = ''
  const call = request(
    { socketPath: windows.socket, method: 'POST', path: '/v1.41/containers/waited/wait' },
    response => {
      status = response.statusCode ?? 0
      response.on('data', chunk => {
        body += chunk
      })
    }
  )
  call.end()
  await waitFor(() => status === 200, 5000, 'headers of wait')
  expect(body).toBe('')
  await windows.docker(['attach', 'waited'], { input: 'exit 300\r\n' })
  await waitFor(() => body !== '', 10_000, 'body of wait')
  expect(JSON.parse(body).StatusCode).toBe(300)
})

test('events come one by one', async () => {
  const child = spawn(
    'docker',
    ['--context', windows.context, 'events', '--format', '{{.Action}} {{.Actor.Attributes.name}}'],
    {
      env: cleanEnv(windows.home.env),
      stdio: ['ignore', 'pipe', 'inherit']
    }
  )
  let said = ''
  child.stdout.on('data', chunk => {
    said += chunk
  })
  // The client gives no sign that it listens.
  await new Promise(resolve => setTimeout(resolve, 1000))
  await windows.out(['create', '--name', 'eventful', 'nanoserver', 'cmd', '/c', 'exit'])
  await waitFor(() => said.includes('create eventful'), 5000, 'the event of create')
  await windows.out(['start', 'eventful'])
  await waitFor(() => said.includes('start eventful'), 5000, 'the event of start')
  await waitFor(() => said.includes('die eventful'), 10_000, 'the event of die')
  child.kill()
})
