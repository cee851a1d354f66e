import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import type { Io } from '#cli/io.ts'
import { main } from '#cli/main.ts'
import { COMMAND_NAMES } from '#cli/summaries.ts'
import { machinePaths } from '#machine/paths.ts'

let home: string
beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), 'oriel-cli-'))
})
afterEach(() => rmSync(home, { recursive: true, force: true }))

interface Said {
  code: number
  out: string
  err: string
}

async function oriel(args: string[], more: Partial<Io> = {}): Promise<Said> {
  let out = ''
  let err = ''
  const io: Io = {
    out: text => {
      out += text
    },
    err: text => {
      err += text
    },
    env: { ORIEL_HOME: home, DOCKER_CONFIG: join(home, 'docker'), HOME: home, PATH: process.env.PATH },
    signal: new AbortController().signal,
    terminal: { in: false, out: false, err: false, columns: 100 },
    ask: async () => '',
    exitCode: 0,
    ...more
  }
  const code = await main(args, io)
  return { code, out, err }
}

function makeMachine(name: string, state: object = {}): void {
  const { folder, spec, state: file, dockerSocket } = machinePaths(name, { ORIEL_HOME: home })
  mkdirSync(folder, { recursive: true })
  writeFileSync(spec, 'driver: wine\n')
  const windows = { release: 'ltsc2022', build: 20348 }
  writeFileSync(file, JSON.stringify({ driver: 'wine', wanted: 'stopped', socket: dockerSocket, windows, ...state }))
}

test.each([[[]], [['--help']], [['help']], [['-h']]])('%j prints the help as a result', async args => {
  const { code, out, err } = await oriel(args)
  expect({ code, err }).toEqual({ code: 0, err: '' })
  for (const name of COMMAND_NAMES) expect(out).toMatch(new RegExp(`^  ${name} `, 'm'))
})

test.each(COMMAND_NAMES)('%s --help shows examples, as does help %s', async name => {
  const { code, out } = await oriel([name, '--help'])
  expect(code).toBe(0)
  expect(out).toMatch(new RegExp(`Usage: oriel ${name}`))
  expect(out).toMatch(/Examples:\n {2}\S/)
  expect((await oriel(['help', name])).out).toBe(out)
})

test.each([
  [['stauts'], "oriel: unknown command 'stauts'.\nDid you mean status?\n"],
  [['nonsense-command'], "oriel: unknown command 'nonsense-command'.\nSee: oriel --help\n"],
  [['--bogus'], "oriel: unknown option '--bogus'.\nSee: oriel --help\n"],
  [['up', '--ues'], "oriel: unknown option '--ues'.\nDid you mean --use?\n"],
  [['up', '--engine'], "oriel: option '--engine <url>' argument missing.\nSee: oriel up --help\n"],
  [['status', 'a', 'b'], 'oriel: too many arguments'],
  [['completion'], "oriel: missing required argument 'shell'."],
  [['completion', 'tcsh'], 'oriel: there is no completion for "tcsh".\nChoose: bash, zsh, fish.\n'],
  [['status', 'Bad Name'], 'oriel: "Bad Name" is not a machine name.\n'],
  [['up', '../x'], 'oriel: "../x" is not a machine name.\n'],
  [['rm', '--force', '.'], 'oriel: "." is not a machine name.\n'],
  [['logs', '-n', 'many'], 'oriel: "many" is not a number of lines.\n'],
  [['env', '--shell', 'tcsh'], 'oriel: "tcsh" is not a shell that Oriel knows.\n'],
  [['up', '--engine', 'nonsense'], 'Not an address of a Docker engine: "nonsense"'],
  [['up', '--cpus', 'many'], 'oriel: "many" is not a number of processors.\n'],
  [['up', '--windows', '2025'], 'oriel: the wine driver has no --windows.\n'],
  [['snapshot'], 'Usage: oriel snapshot'],
  [['snapshot', 'creat', 'a', 'b'], "oriel: unknown command 'creat'.\n"],
  [['snapshot', 'create'], "oriel: missing required argument 'name'.\nSee: oriel snapshot create --help\n"],
  [['snapshot', 'create', 'a', '../b'], 'oriel: "../b" is not a name for a snapshot.\n'],
  [['forward'], 'oriel: no port was given.\n'],
  [['forward', 'a'], 'oriel: "a" is not [HOSTPORT:]GUESTPORT.\n'],
  [['forward', 'a', '0:80'], 'oriel: "0" is not a port.\n'],
  [['forward', 'a', '80', '--rm', '80'], 'oriel: --rm takes no ports'],
  [['forward', 'a', '--rm', '70000'], 'oriel: "70000" is not a port.\n'],
  [['certs', 'a', 'burn'], 'oriel: "burn" is nothing to do with certificates.\n'],
  [['upgrade', 'a'], "oriel: required option '--engine <version>' not specified.\n"],
  [['upgrade', 'a', '--engine', 'new'], 'oriel: "new" is not a version of Docker Engine.\n'],
  [['up', '--driver', 'bochs'], 'oriel: there is no driver called "bochs".\n']
])('%j is wrong usage', async (args, words) => {
  const { code, out, err } = await oriel(args)
  expect(err).toContain(words)
  expect(out).toBe('')
  expect(code).toBe(2)
})

test.each(['stop', 'restart', 'rm', 'status', 'env', 'logs', 'shell'])(
  '%s of a machine that is not there ends with 3',
  async verb => {
    const { code, out, err } = await oriel([verb, 'ghost'])
    expect(err).toMatch(/^oriel: there is no machine called "ghost"\.\n/)
    expect({ code, out }).toEqual({ code: 3, out: '' })
  }
)

const VM_VERBS = [
  ['suspend', 'a'],
  ['snapshot', 'create', 'a', 'x'],
  ['snapshot', 'restore', 'a', 'x'],
  ['snapshot', 'rm', 'a', 'x'],
  ['snapshot', 'ls', 'a'],
  ['screenshot', 'a'],
  ['view', 'a', '--print'],
  ['forward', 'a', '80'],
  ['forward', 'a', '--rm', '80'],
  ['forward', 'ls', 'a'],
  ['certs', 'a'],
  ['certs', 'a', 'renew'],
  ['rearm', 'a'],
  ['upgrade', 'a', '--engine', '29.7.2'],
  ['env', 'a', '--tls']
]

test.each(VM_VERBS.map(args => [args]))('%j is for virtual machines', async args => {
  expect(await oriel(args)).toMatchObject({ code: 3, err: expect.stringContaining('there is no machine called "a"') })
  makeMachine('a')
  expect(await oriel(args)).toMatchObject({
    code: 3,
    out: '',
    err: `oriel: machine "a" has no virtual machine: the wine driver runs its programs on a Linux engine.
A machine with one is made by: oriel up NAME --driver qemu
`
  })
})

test.each(['create', 'restore', 'ls', 'rm'])('snapshot %s --help is there', async verb => {
  expect(await oriel(['snapshot', verb, '--help'])).toMatchObject({
    code: 0,
    out: expect.stringContaining(`Usage: oriel snapshot ${verb}`)
  })
})

test('the help of up tells which driver an option is for', async () => {
  const { out } = await oriel(['up', '--help'])
  expect(out).toMatch(/--driver wine\):\n +--engine <url>/)
  expect(out).toMatch(/--driver qemu\):\n +--windows <release>/)
})

test('rm --force of a machine that is not there is content', async () => {
  expect(await oriel(['rm', '--force', 'ghost'])).toEqual({ code: 0, out: '', err: '' })
})

test('a driver of a later version is something missing', async () => {
  const { code, err } = await oriel(['up', '--driver', 'fusion'])
  expect(err).toContain('the fusion driver is not part of this version')
  expect(code).toBe(4)
})

test('an engine out of reach leaves no machine behind', async () => {
  const { code, err } = await oriel(['up', 'a', '--engine', 'unix:///no/such.sock'])
  expect(err).toContain('unix:///no/such.sock')
  expect(code).toBe(4)
  expect((await oriel(['ls', '--json'])).out).toBe('[]\n')
})

test('status --json of an absent machine is an answer', async () => {
  const { code, out } = await oriel(['status', 'ghost', '--json'])
  expect(code).toBe(0)
  expect(JSON.parse(out)).toMatchObject({ name: 'ghost', state: 'absent' })
})

test('status and ls show a stopped machine', async () => {
  makeMachine('a')
  const status = await oriel(['status', 'a'])
  expect(status).toMatchObject({ code: 0, err: '' })
  expect(status.out).toMatch(/^a is stopped\n {2}driver {3}wine\n/)
  const { out } = await oriel(['ls'])
  expect(out.split('\n').slice(0, 2)).toEqual([
    'NAME  STATE    DRIVER  WINDOWS   CONTEXT  ENGINE',
    'a     stopped  wine    ltsc2022  oriel-a'
  ])
  expect(JSON.parse((await oriel(['ls', '--json'])).out)).toHaveLength(1)
})

test('a broken machine says why, and what to type', async () => {
  makeMachine('a', { wanted: 'running', startedAt: new Date().toISOString() })
  expect((await oriel(['status', 'a'])).out).toMatch(/^a is broken: its host agent.*Repair it with: oriel up a\n$/s)
})

test('without machines, ls is empty on stdout', async () => {
  expect(await oriel(['ls'])).toEqual({
    code: 0,
    out: '',
    err: 'There is no machine yet. Make one with: oriel up\n'
  })
})

test('shell needs a running machine', async () => {
  makeMachine('a')
  expect(await oriel(['shell', 'a'])).toMatchObject({ code: 3, err: expect.stringContaining('machine "a" is stopped') })
})

test('rm asks, and does nothing without a yes or a terminal', async () => {
  makeMachine('a')
  const terminal = { in: true, out: true, err: true, columns: 80 }
  expect(await oriel(['rm', 'a'])).toMatchObject({ code: 2, err: expect.stringContaining('oriel rm --force a') })
  expect(await oriel(['rm', 'a'], { terminal, ask: async () => 'no' })).toMatchObject({ code: 1 })
  expect(JSON.parse((await oriel(['ls', '--json'])).out)).toHaveLength(1)
  expect(await oriel(['rm', 'a', '-q'], { terminal, ask: async () => 'Yes' })).toMatchObject({ code: 0, err: '' })
  expect((await oriel(['ls', '--json'])).out).toBe('[]\n')
})

test('a damaged machine.yaml is told with its problems, and rm --force removes it', async () => {
  makeMachine('a')
  writeFileSync(machinePaths('a', { ORIEL_HOME: home }).spec, 'colour: red\n')
  expect(await oriel(['up', 'a'])).toMatchObject({ code: 3, err: expect.stringContaining('colour (line 1)') })
  expect(await oriel(['rm', 'a', '-f', '-q'])).toMatchObject({ code: 0 })
  expect((await oriel(['ls', '--json'])).out).toBe('[]\n')
})

test('a stop of a stopped machine is no failure', async () => {
  makeMachine('a')
  expect(await oriel(['stop', 'a', '--quiet'])).toEqual({ code: 0, out: '', err: '' })
})

test('the log of an agent, for people and as it is', async () => {
  makeMachine('a')
  const { agentLog } = machinePaths('a', { ORIEL_HOME: home })
  const line = '{"time":"T","level":"info","message":"it serves","pid":7,"engine":"unix:///e"}'
  writeFileSync(`${agentLog}.1`, 'older\n')
  writeFileSync(agentLog, `${line}\nNode crashed\n`)
  expect((await oriel(['logs', 'a'])).out).toBe('older\nT info  it serves pid=7 engine=unix:///e\nNode crashed\n')
  expect((await oriel(['logs', 'a', '--json', '-n', '2'])).out).toBe(`${line}\nNode crashed\n`)
  expect((await oriel(['logs', 'a', '-n', '0'])).out).toBe('')
})

test('logs -f goes on until it is interrupted', async () => {
  makeMachine('a')
  const { agentLog } = machinePaths('a', { ORIEL_HOME: home })
  writeFileSync(agentLog, 'one\n')
  const controller = new AbortController()
  let out = ''
  const io = {
    signal: controller.signal,
    out: (text: string) => {
      out += text
    }
  }
  const following = oriel(['logs', 'a', '-f'], io)
  const soon = async (text: string) => expect.poll(() => out, { timeout: 3000 }).toBe(text)
  await soon('one\n')
  writeFileSync(agentLog, 'two\nhal', { flag: 'a' })
  await soon('one\ntwo\n')
  // A new agent starts the log afresh.
  writeFileSync(agentLog, 'x\n')
  await soon('one\ntwo\nhalx\n')
  controller.abort()
  expect((await following).code).toBe(130)
})

test('version is told in three ways', async () => {
  const { out } = await oriel(['--version'])
  expect(out).toMatch(/^oriel \d+\.\d+\.\d+ \(Node v/)
  expect((await oriel(['version'])).out).toBe(out)
  expect(JSON.parse((await oriel(['version', '--json'])).out)).toMatchObject({ node: process.version })
})

test('doctor says what to do and ends with 4 when something is missing', async () => {
  const io = {
    env: { ORIEL_HOME: home, HOME: home, DOCKER_CONFIG: home, PATH: '/nowhere', DOCKER_HOST: 'unix:///no.sock' }
  }
  const { code, out } = await oriel(['doctor'], io)
  expect(code).toBe(4)
  expect(out).toMatch(/^missing {2}docker client {2}docker is not installed/m)
  expect(out).toMatch(/^missing {2}engine .*unix:\/\/\/no\.sock/m)
  expect(out).toMatch(/^warning {2}DOCKER_HOST .*\n +→ unset DOCKER_HOST/m)
  const json = JSON.parse((await oriel(['doctor', '--json'], io)).out)
  expect(json).toContainEqual(expect.objectContaining({ name: 'engine', result: 'missing' }))
})
