import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import {
  type BuildMessage,
  BuildProgress,
  type ProgressOptions,
  withoutLinuxPaths
} from '#gateway/wine-engine/build-progress.ts'
import type { Step, Translation } from '#image/dockerfile/translate.ts'

type Recording = Pick<Translation, 'steps' | 'lines' | 'unusedArgs'> & { stream: string[]; shown: string }

// Streams of dockerd 20.10.24's classic builder for Dockerfiles that Oriel had translated, and what a client is to see.
const recordings = JSON.parse(
  readFileSync(new URL('../../../fixtures/build-streams.json', import.meta.url), 'utf8')
) as Record<string, Recording>

async function show(
  recording: Pick<Recording, 'steps' | 'lines' | 'unusedArgs'> & { stream: (string | BuildMessage)[] },
  options: Partial<ProgressOptions> = {}
): Promise<BuildMessage[]> {
  const translation = { ...recording, dockerfile: '' } as unknown as Translation
  const progress = new BuildProgress({ translation, rm: true, runEnd: async () => undefined, ...options })
  const shown: BuildMessage[] = []
  for (const line of recording.stream) {
    shown.push(...(await progress.next(typeof line === 'string' ? (JSON.parse(line) as BuildMessage) : line)))
  }
  return shown
}

function text(messages: readonly BuildMessage[]): string {
  return messages.map(({ stream, ...other }) => stream ?? `${JSON.stringify(other)}\n`).join('')
}

function get(name: string): Recording {
  const recording = recordings[name]
  if (recording === undefined) throw new Error(`no recording ${name}`)
  return recording
}

test.each(Object.keys(recordings))('shows the recorded build "%s" as the person wrote it', async name => {
  const end = name === 'large' ? { code: 3221225477 } : undefined
  expect(text(await show(get(name), { runEnd: async () => end }))).toBe(get(name).shown)
})

test('a code that init cannot tell and nobody can read is told as such', async () => {
  const last = (await show(get('large'))).at(-1)
  expect(last?.error).toBe(
    "The command 'cmd /S /C big' returned a non-zero code: 240 (or a higher one, which could not be read)"
  )
  expect(last?.errorDetail?.code).toBe(240)
})

test('a program that could not be started is told in the words of Windows', async () => {
  const runEnd = async (container: string): Promise<{ error: number; text: string }> => {
    expect(container).toMatch(/^[0-9a-f]{12}$/)
    return { error: 2, text: 'The system cannot find the file specified.' }
  }
  const last = (await show(get('large'), { runEnd })).at(-1)
  expect(last?.error).toMatch(
    /^container [0-9a-f]{12} encountered an error during hcs::System::CreateProcess: cmd \/S \/C big: failure in a Windows system call: The system cannot find the file specified\. \(0x2\)$/
  )
})

test('without rm nobody reads that containers are removed', async () => {
  const shown = text(await show(get('plain'), { rm: false }))
  expect(shown).toContain('Running in')
  expect(shown).not.toContain('Removing intermediate container')
})

const id = '0123456789ab'
const step = (line: string, command?: string): Step => ({
  text: line,
  hasImage: true,
  warnings: [],
  ...(command === undefined ? {} : { command })
})

test('a helper that fails is told as the step that it helps', async () => {
  const steps = [step('FROM x'), step('ENV A=b'), step('COPY a D')]
  const lines = [
    { text: 'FROM x AS s', step: 0, shown: true },
    { text: 'RUN ["anchor"]', step: 2, shown: false },
    { text: 'COPY a', step: 2, shown: true },
    { text: 'LABEL', step: 2, shown: false }
  ]
  const message = "The command '/oriel/init anchor' returned a non-zero code: 1"
  const shown = await show({
    steps,
    lines,
    unusedArgs: [],
    stream: [
      { stream: 'Step 1/4 : FROM x AS s' },
      { stream: '\n' },
      { stream: ` ---> ${id}\n` },
      { stream: 'Step 2/4 : RUN ["anchor"]' },
      { stream: '\n' },
      { stream: ` ---> Running in ${id}\n` },
      { stream: 'noise\n/c/drive_c/a is not a directory\n' },
      { error: message, errorDetail: { code: 1, message } }
    ]
  })
  expect(text(shown)).toBe(
    `Step 1/3 : FROM x\n ---> ${id}\nStep 2/3 : ENV A=b\n ---> ${id}\nStep 3/3 : COPY a D\n` +
      '{"error":"COPY failed: C:\\\\a is not a directory","errorDetail":{"code":1,"message":"COPY failed: C:\\\\a is not a directory"}}\n'
  )
})

test('warnings and arguments that were not used are shown in their places', async () => {
  const warned = { ...step('CMD ["a"]'), warnings: [' ---> [Warning] mixed\n'] }
  const shown = await show({
    steps: [step('FROM x'), warned],
    lines: [
      { text: 'FROM x', step: 0, shown: true },
      { text: 'LABEL', step: 1, shown: false }
    ],
    unusedArgs: ['A', 'B'],
    stream: [
      { stream: 'Step 1/2 : FROM x' },
      { stream: '\n' },
      { stream: ` ---> ${id}\n` },
      { stream: 'Step 2/2 : LABEL' },
      { stream: '\n' },
      { stream: ' ---> Using cache\n' },
      { stream: ' ---> ba9876543210\n' },
      { aux: { ID: 'sha256:ba9876543210' } },
      { stream: 'Successfully built ba9876543210\n' },
      { stream: 'Successfully tagged a:b\n' }
    ]
  })
  expect(text(shown)).toBe(
    'Step 1/2 : FROM x\n ---> ba9876543210\nStep 2/2 : CMD ["a"]\n ---> [Warning] mixed\n ---> ba9876543210\n' +
      '{"aux":{"ID":"sha256:ba9876543210"}}\n[Warning] One or more build-args [A B] were not consumed\n' +
      'Successfully built ba9876543210\nSuccessfully tagged a:b\n'
  )
})

test('messages of another kind, and fields that nobody knows, pass', async () => {
  const stream = [
    { status: 'Pulling', id: 'a', progressDetail: {} },
    { error: 'x', errorDetail: { message: 'x' }, y: 1 }
  ]
  expect(
    await show({ steps: [step('FROM x')], lines: [{ text: 'F', step: 0, shown: true }], unusedArgs: [], stream })
  ).toEqual(stream)
})

test('Linux paths in a message become Windows paths', () => {
  expect(withoutLinuxPaths('open /c/drive_c/app/a.txt: no such file; "/c/drive_d"')).toBe(
    'open C:\\app\\a.txt: no such file; "D:\\"'
  )
})
