import { expect, test } from 'vitest'
import { run } from '../support/command.ts'
import { useMachine } from '../support/oriel.ts'
import { waitFor } from '../support/wait.ts'

const windows = useMachine('containers')

/** What a person with a Windows daemon never sees. */
const BEHIND_THE_CURTAIN = /\/oriel|wine|drive_c|\/var\/lib|"\/c\/|linux/i

/** Starts a prompt that waits for input until it is stopped. */
async function waiting(name: string, ...options: string[]): Promise<void> {
  await windows.out(['run', '-d', '-i', '--name', name, ...options, 'nanoserver', 'cmd'])
}

test('create, start, ps and inspect tell what a Windows daemon would', async () => {
  const id = await windows.out([
    'create',
    '--name',
    'first',
    '-l',
    'colour=red',
    'nanoserver',
    'cmd',
    '/c',
    'echo hello'
  ])
  expect(id).toMatch(/^[0-9a-f]{64}$/)
  expect(await windows.out(['ps', '-a', '--format', '{{.Names}} {{.Status}}'])).toContain('first Created')
  expect(await windows.out(['start', '-a', 'first'])).toBe('hello')

  const listed = await windows.out(['ps', '-a', '--no-trunc', '--filter', 'name=first', '--format', '{{json .}}'])
  expect(listed).not.toMatch(BEHIND_THE_CURTAIN)
  expect(JSON.parse(listed)).toMatchObject({ Image: 'nanoserver', State: 'exited', Labels: 'colour=red' })
  expect(JSON.parse(listed).Command).toMatch(/cmd \/c .*echo hello/)

  const inspected = await windows.out(['inspect', 'first'])
  expect(inspected).not.toMatch(BEHIND_THE_CURTAIN)
  const [container] = JSON.parse(inspected)
  expect(container).toMatchObject({
    Id: id,
    Name: '/first',
    Path: 'cmd',
    Args: ['/c', 'echo hello'],
    Platform: 'windows',
    State: { Status: 'exited', ExitCode: 0 },
    Config: { Image: 'nanoserver', Cmd: ['cmd', '/c', 'echo hello'], Labels: { colour: 'red' } },
    HostConfig: { Isolation: 'process' }
  })
  expect(Object.keys(container.NetworkSettings.Networks)).toEqual(['nat'])
})

test('exit codes have all 32 bits in inspect, wait and events', async () => {
  const since = String(Math.floor(Date.now() / 1000) - 1)
  const { code } = await windows.docker(['run', '--name', 'three-hundred', 'nanoserver', 'cmd', '/c', 'exit 300'])
  expect(code).toBe(300 & 255)
  expect((await windows.inspectContainer('three-hundred')).State.ExitCode).toBe(300)
  expect(await windows.out(['wait', 'three-hundred'])).toBe('300')
  expect(await windows.out(['ps', '-a', '--filter', 'name=three-hundred', '--format', '{{.Status}}'])).toMatch(
    /^Exited \(300\)/
  )
  const until = String(Math.floor(Date.now() / 1000) + 1)
  const events = await windows.out(['events', '--since', since, '--until', until, '--format', '{{json .}}'])
  const die = events
    .split('\n')
    .map(line => JSON.parse(line))
    .find(event => event.Action === 'die' && event.Actor.Attributes.name === 'three-hundred')
  expect(die.Actor.Attributes).toMatchObject({ exitCode: '300', image: 'nanoserver' })
  expect(JSON.stringify(die)).not.toMatch(BEHIND_THE_CURTAIN)
})

test('wait answers when the container ends', async () => {
  await waiting('awaited')
  const waited = windows.out(['wait', 'awaited'])
  await windows.docker(['attach', 'awaited'], { input: 'exit 1000\r\n' })
  expect(await waited).toBe('1000')
})

test('run --rm leaves nothing behind', async () => {
  expect((await windows.docker(['run', '--rm', '--name', 'brief', 'nanoserver', 'cmd', '/c', 'exit 5'])).code).toBe(5)
  const gone = async () => (await windows.out(['ps', '-aq', '--filter', 'name=brief'])) === ''
  await waitFor(gone, 10_000, 'the container is removed')
})

test('standard output and standard error stay apart', async () => {
  const said = await windows.docker(['run', '--rm', 'nanoserver', 'cmd', '/c', 'echo out& echo err>&2'])
  expect(said.stdout.trim()).toBe('out')
  expect(said.stderr.trim()).toBe('err')
})

test('logs, with --follow, --tail and --timestamps', async () => {
  await windows.out(['run', '-d', '-i', '--name', 'talker', 'nanoserver', 'cmd', '/q', '/k', 'prompt $_'])
  const followed = windows.docker(['logs', '-f', 'talker'])
  await windows.docker(['attach', 'talker'], { input: 'echo one\r\necho two\r\necho three\r\nexit\r\n' })
  expect((await followed).stdout).toMatch(/one[\s\S]*two[\s\S]*three/)
  expect((await windows.out(['logs', 'talker'])).match(/^(one|two|three)$/gm)).toEqual(['one', 'two', 'three'])
  expect(await windows.out(['logs', '--tail', '1', 'talker'])).not.toContain('one')
  expect(await windows.out(['logs', '-t', 'talker'])).toMatch(/^\d{4}-\d\d-\d\dT\S+ one/m)
})

test('stop ends a waiting program within two seconds, kill at once', async () => {
  await waiting('stopped')
  const before = Date.now()
  await windows.out(['stop', 'stopped'])
  expect(Date.now() - before).toBeLessThan(2000)
  const { State } = await windows.inspectContainer('stopped')
  expect(State).toMatchObject({ Running: false, Status: 'exited' })

  await waiting('killed')
  await windows.out(['kill', 'killed'])
  expect((await windows.inspectContainer('killed')).State.Running).toBe(false)
})

test('pause and unpause', async () => {
  await waiting('paused')
  await windows.out(['pause', 'paused'])
  expect((await windows.inspectContainer('paused')).State.Status).toBe('paused')
  await windows.out(['unpause', 'paused'])
  expect((await windows.inspectContainer('paused')).State.Status).toBe('running')
  await windows.out(['rm', '-f', 'paused'])
})

test('rename and update', async () => {
  await waiting('old-name')
  await windows.out(['rename', 'old-name', 'new-name'])
  expect((await windows.docker(['inspect', 'old-name'])).code).toBe(1)
  await windows.out(['update', '--restart', 'on-failure:3', 'new-name'])
  expect((await windows.inspectContainer('new-name')).HostConfig.RestartPolicy).toEqual({
    Name: 'on-failure',
    MaximumRetryCount: 3
  })
  await windows.out(['rm', '-f', 'new-name'])
})

test('top and stats have the columns of Windows', async () => {
  await waiting('watched')
  const shown = async () => {
    const said = await windows.out(['top', 'watched'])
    return /^cmd\.exe\s/m.test(said) ? said : ''
  }
  const top = await waitFor(shown, 5000, 'cmd.exe is shown')
  expect(top.split('\n')[0]).toMatch(/^Name\s+PID\s+CPU\s+Private Working Set/)
  expect(top).not.toMatch(BEHIND_THE_CURTAIN)

  const stats = await windows.out(['stats', '--no-stream', 'watched'])
  expect(stats).toContain('PRIV WORKING SET')
  expect(stats).toMatch(/watched\s+\d+\.\d+%\s+[1-9]\d*(\.\d+)?[KM]iB/)
  await windows.out(['rm', '-f', 'watched'])
})

test('diff shows what the program changed, as Windows paths', async () => {
  const command = 'md C:\\made& echo x> C:\\made\\File.txt'
  await windows.out(['run', '--name', 'changed', 'nanoserver', 'cmd', '/c', command])
  const diff = await windows.out(['diff', 'changed'])
  expect(diff).not.toMatch(BEHIND_THE_CURTAIN)
  expect(diff.split('\n')).toEqual(expect.arrayContaining(['A C:\\made', 'A C:\\made\\File.txt']))
})

test('restart keeps files and the registry', async () => {
  await waiting('kept')
  const exec = (...command: string[]) => windows.out(['exec', 'kept', ...command])
  await exec('reg', 'add', 'HKLM\\Software\\Oriel Test', '/v', 'Answer', '/t', 'REG_DWORD', '/d', '42', '/f')
  await exec('cmd', '/c', 'echo still here> C:\\note.txt')
  await windows.out(['restart', 'kept'])
  expect(await exec('reg', 'query', 'HKLM\\Software\\Oriel Test', '/v', 'Answer')).toMatch(/REG_DWORD\s+0x2a/)
  expect(await exec('cmd', '/c', 'type C:\\note.txt')).toBe('still here')
  await windows.out(['rm', '-f', 'kept'])
})

test('twenty containers started at once all run', async () => {
  const names = Array.from({ length: 20 }, (_, index) => `one-of-twenty-${index}`)
  await Promise.all(
    names.map(name =>
      windows.out(['run', '-d', '--name', name, 'nanoserver', 'cmd', '/c', `echo ${name}& ping -n 300 127.0.0.1`])
    )
  )
  for (const name of names) {
    await waitFor(async () => (await windows.out(['logs', name])).startsWith(name), 20_000, `the output of ${name}`)
  }
  expect(
    (await windows.out(['ps', '--filter', 'name=one-of-twenty', '--format', '{{.Names}}'])).split('\n')
  ).toHaveLength(20)
  // One after the other: containers of Docker 20.10 that end at the same moment can deadlock its network code for good
  // (getSvcRecords against processEndpointDelete), whoever started them.
  for (const name of names) await windows.out(['rm', '-f', name])
})

test('prune removes what has ended here, and nothing of anyone else on the engine', async () => {
  const engine = (...args: string[]) => run('docker', ['-H', windows.engine, ...args])
  const linux = (await engine('create', 'debian:trixie-slim', 'true')).stdout.trim()
  await windows.out(['run', '--name', 'ended', 'nanoserver', 'cmd', '/c', 'exit'])
  await waiting('alive')
  expect(await windows.out(['ps', '-a', '--format', '{{.ID}}'])).not.toContain(linux.slice(0, 12))
  await windows.out(['container', 'prune', '-f'])
  const names = (await windows.out(['ps', '-a', '--format', '{{.Names}}'])).split('\n')
  expect(names).toContain('alive')
  expect(names).not.toContain('ended')
  expect((await engine('rm', linux)).code).toBe(0)
  await windows.out(['rm', '-f', 'alive'])
})
