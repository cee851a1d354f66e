import { readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { baseImage, knownBase } from '#image/bases.ts'
import { type Translation, translate } from '#image/dockerfile/translate.ts'
import type { WindowsImage } from '#image/windows-config.ts'
import { Fault } from '#lib/fault.ts'
import { Random } from '../../../support/random.ts'

const FIXTURES = join(import.meta.dirname, '..', '..', '..', 'fixtures', 'dockerfiles')
const REAL = readdirSync(FIXTURES, { recursive: true, encoding: 'utf8' })
  .filter(name => name.endsWith('Dockerfile') && statSync(join(FIXTURES, name)).isFile())
  .sort()
  .map(name => readFileSync(join(FIXTURES, name), 'utf8'))

/** Every name is an image: of a registry, so that it may say anything of itself. */
function imageOf(random: Random): WindowsImage {
  const base = knownBase('windowsservercore')
  if (base === undefined || base === 'unknownTag') throw new Error('there is no base')
  const image = baseImage(base)
  return {
    ...image,
    config: {
      ...image.config,
      WorkingDir: random.pick(['', 'C:\\app', '..\\..\\x', 'D:\\x', 'C:\\a\nRUN evil', '/etc']),
      Env: ['A=b', `PATH=${'C:\\x;'.repeat(3)}`, 'X'],
      OnBuild: random.chance(10)
        ? [random.pick(['RUN a', 'COPY . .', 'MAINTAINER a\nRUN evil', 'bad', '', 'FROM x'])]
        : null
    },
    folders: random.chance(50) ? [] : ['app', 'app/Lib'],
    history: random.chance(50) ? [] : [{ created_by: 'cmd /S /C x', empty: false }]
  }
}

async function plan(text: string, random: Random, options: object = {}): Promise<Translation> {
  const lookup = async (reference: string) => ({ reference: `found-${reference.length}`, image: imageOf(random) })
  return await translate(text, { lookup, ...options })
}

/** Fails unless each line is one of those that a translation consists of, and leads to the drive alone. */
function expectInDrive(made: Translation): void {
  for (const line of made.dockerfile.trimEnd().replaceAll('\\\n', '').split('\n')) {
    const [, keyword = '', rest = ''] = /^(FROM|RUN|COPY|ADD|WORKDIR|LABEL|MAINTAINER)(?: (.*))?$/s.exec(line) ?? []
    if (keyword === '') throw new Error(`a line of nobody's: ${JSON.stringify(line.slice(0, 300))}`)
    if (keyword === 'RUN') expect((JSON.parse(rest) as string[])[0]).toBe('/oriel/init')
    if (keyword === 'WORKDIR') expectBelow(rest)
    if (keyword === 'COPY' || keyword === 'ADD') {
      const words = JSON.parse(rest.slice(rest.indexOf('['))) as string[]
      const target = words.at(-1) ?? ''
      if (!/^\/oriel\/anchor\/[0-9a-f]{16}\/?$/.test(target)) expectBelow(target)
      if (rest.startsWith('--from=')) for (const source of words.slice(0, -1)) expectBelow(source)
    }
    // Whatever ends so takes in the next line.
    expect(line.endsWith('\\'), line).toBe(false)
  }
}

function expectBelow(path: string): void {
  expect(path).toMatch(/^\/c\/drive_c(\/|$)/)
  expect(path.split('/')).not.toContain('..')
  expect(path).not.toMatch(/[\0\r\n]/)
}

/** True for a plan. Fails for anything that is neither a plan nor a Fault with words. */
async function isPlan(text: string, random: Random, how: string): Promise<boolean> {
  const options = {
    buildArgs: { D: random.pick(['C:/a', '..\\..\\..', 'C:/a\nRUN evil', '$D', '\0']), V: '1' },
    labels: random.chance(20) ? { a: 'b\nRUN evil', ['__proto__']: 'x' } : {},
    target: random.chance(5) ? random.pick(['build', '0', '99', '']) : ''
  }
  try {
    expectInDrive(await plan(text, random, options))
    return true
  } catch (error) {
    if (error instanceof Fault && error.message !== '') return false
    throw new Error(`${how}: ${String(error)}\n${JSON.stringify(text.slice(0, 3000))}`, { cause: error })
  }
}

const WORDS = [
  ...[
    'C:\\app',
    'c:/app/',
    'app',
    '.',
    '..',
    '..\\..\\..\\x',
    '/',
    '\\',
    'C:',
    'D:\\x',
    '\\\\server\\share',
    'C:\\a\\..\\..\\b'
  ],
  ...[
    '$A',
    `\${A}`,
    `\${A:-b}`,
    `\${A:+\${B:-c}}`,
    `\${A:?no}`,
    `\${`,
    '$',
    `\${A:=x}`,
    `\${!}`,
    '$D',
    `\${D}\\..\\..`
  ],
  ...['"', "'", '`', '\\ ', '`"', '[', '["a","b"]', '["a", 1]', '["C:\\\\x", "..\\\\.."]', '{}', '[]', ']'],
  ...[
    'a=b',
    'A="b c"',
    '=',
    '__proto__=x',
    'PATH=C:\\x;%PATH%',
    'x'.repeat(300),
    'é日本',
    '\u202e',
    '\ud800',
    '\0',
    '\r',
    '\u00a0'
  ],
  ...['--from=0', '--from=build', '--from=x', '--chown=a', '--platform=windows', '--mount=x', '--', '--x', '--from=$A'],
  ...[
    '80',
    '80/udp',
    '1-3',
    '99999',
    '80:90',
    'ContainerUser',
    'root',
    'NONE',
    'CMD',
    '--interval=1s',
    '--retries=x',
    'SIGTERM'
  ],
  ...[
    '<<EOF',
    '<<-"X"',
    'powershell',
    'cmd /c powershell -x',
    'dism /enable-feature',
    '&&',
    '|',
    'AS',
    'build',
    'https://x/y',
    '#'
  ]
]
const KEYWORDS =
  'ADD ARG CMD COPY ENTRYPOINT ENV EXPOSE FROM HEALTHCHECK LABEL MAINTAINER ONBUILD RUN SHELL STOPSIGNAL USER VOLUME WORKDIR'.split(
    ' '
  )

/** Instructions that are one by one as Docker's grammar has them, more or less, with words that are not. */
function randomDockerfile(random: Random): string {
  const lines: string[] = []
  if (random.chance(40))
    lines.push(random.pick(['# escape=`', '#escape=\\', '# escape=x', '# syntax=a', '# check=skip']))
  if (random.chance(20)) lines.push('ARG A=1')
  if (random.chance(95))
    lines.push(random.pick(['FROM windowsservercore', 'FROM x AS build', 'FROM $A', 'from a as B']))
  for (let count = random.below(9); count > 0; count--) {
    const words = Array.from({ length: random.below(4) }, () => random.pick(WORDS))
    const keyword = random.chance(90)
      ? random.pick(KEYWORDS)
      : random.pick(['run', 'Copy', 'BAD', 'constructor', '__proto__'])
    lines.push(
      `${keyword}${random.pick([' ', '  ', '\t', ' \\\n', ' `\n', ''])}${words.join(random.pick([' ', ' ', '']))}`
    )
  }
  return lines.join(random.pick(['\n', '\n', '\r\n'])) + random.pick(['', '\n', '\\', '`\n'])
}

function mutated(text: string, random: Random): string {
  const lines = text.split('\n')
  for (let change = 1 + random.below(4); change > 0; change--) {
    const at = random.below(lines.length)
    const line = lines[at] ?? ''
    const cut = random.below(line.length + 1)
    const kind = random.below(6)
    if (kind === 0) lines.splice(at, 1 + random.below(3))
    else if (kind === 1) lines[at] = line.slice(0, cut)
    else if (kind === 2) lines[at] = `${line.slice(0, cut)}${random.pick(WORDS)}${line.slice(cut)}`
    else if (kind === 3)
      lines[at] = `${line.slice(0, cut)}${String.fromCharCode(random.below(256))}${line.slice(cut + 1)}`
    else if (kind === 4) lines.splice(at, 0, random.pick(lines.length > 0 ? lines : ['']))
    else lines[at] = `${line} ${random.pick(WORDS)}`
  }
  return lines.join('\n')
}

test('any Dockerfile is a plan that stays on the drive, or a Fault', async () => {
  expect(REAL.length).toBeGreaterThan(11)
  let plans = 0
  const rounds = 3000
  for (let seed = 1; seed <= rounds; seed++) {
    const random = new Random(seed)
    const text = random.chance(60) ? randomDockerfile(random) : mutated(random.pick(REAL), random)
    if (await isPlan(text, random, `seed ${seed}`)) plans += 1
  }
  expect(plans).toBeGreaterThan(rounds / 10)
  expect(plans).toBeLessThan(rounds * 0.8)
}, 60_000)

const F = 'FROM windowsservercore\n'
const many = (text: string, times = 100_000) => text.repeat(times)
const long = many('a ', 30_000)

/** What takes the square of such lengths takes minutes. */
const MOST_SECONDS = 10

describe('time and memory stay in proportion', () => {
  test.each<[string, string]>([
    ['spaces of a directive', `# escape=${many(' ')}x`],
    ['spaces in a directive', `# escape=a${many(' ')}b`],
    ['a comment', `#${many(' ')}=${many(' ')}`],
    ['backslashes', `${F}RUN ${many('\\ ', 30_000)}`],
    ['backticks', `# escape=\`\n${F}RUN ${many('` ', 30_000)}x`],
    ['continued lines', `${F}RUN ${many('a \\\n')}b`],
    ['continued lines of spaces', `${F}RUN ${many(`${' '.repeat(1000)}\\\n`, 200)}b`],
    ['dollars', `${F}ENV A=${many('$', 60_000)}`],
    ['quotes', `${F}ENV A=${many('"', 60_000)}`],
    ['single quotes', `${F}LABEL ${many("'", 59_999)}`],
    ['nested substitutions', `${F}ENV A=${many(`\${a:-`, 12_000)}x${many('}', 3000)}`],
    ['nested quotes', `${F}ENV A=${many(`"\${a:-`, 9000)}`],
    ['nested over many lines', `${F}ENV A=${many(`\${a:-\\\n`, 40_000)}`],
    ['a value that doubles', `${F}ENV A=${'x'.repeat(1000)}\n${many('ENV A=$A$A\n', 40)}`],
    ['an argument that doubles', `ARG A=${'x'.repeat(1000)}\n${many('ARG A=$A$A\n', 40)}${F}`],
    ['a label that doubles', `${F}ARG A=${'x'.repeat(1000)}\n${many('ARG A=$A$A\nLABEL B=$A\n', 40)}`],
    ['pairs of an ENV', `${F}ENV ${Array.from({ length: 8000 }, (_, at) => `a${at}=$b`).join(' \\\n')}`],
    ['pairs of a LABEL', `${F}LABEL ${Array.from({ length: 8000 }, (_, at) => `a${at}=$b`).join(' \\\n')}`],
    ['words of an ARG', `${F}ARG ${Array.from({ length: 8000 }, (_, at) => `a${at}=$b`).join(' \\\n')}`],
    ['words of a first ARG', `ARG ${Array.from({ length: 8000 }, (_, at) => `a${at}=$b`).join(' \\\n')}\n${F}`],
    ['ports', `${F}EXPOSE ${many('0-65535 ', 8000)}`],
    ['other ports', `${F}EXPOSE ${Array.from({ length: 6000 }, (_, at) => `${at}-65535`).join(' ')}`],
    ['volumes', `${F}VOLUME ${many('C:\\a ', 12_000)}`],
    ['a deep WORKDIR', `${F}WORKDIR C:/${many('a/', 30_000)}`],
    ['a deep COPY', `${F}COPY a C:/${many('a/', 30_000)}`],
    ['a deep source', `${F}COPY --from=x ${many('a/', 30_000)} C:/x/`],
    ['many sources', `${F}COPY ${long}C:/x/`],
    ['dots', `${F}COPY a ${many('.', 60_000)}`],
    ['dots and slashes', `${F}COPY a ${many('..\\', 20_000)}`],
    ['brackets', `${F}CMD ${many('[', 60_000)}`],
    ['parentheses', `${F}RUN ${many('(', 60_000)}`],
    ['parentheses over lines', `${F}RUN ${many('((((((((((\\\n', 10_000)}`],
    ['starts', `${F}RUN ${many('start /a ', 7000)}`],
    ['calls', `${F}RUN ${many('call ', 12_000)}`],
    ['cmds over lines', `${F}RUN ${many('cmd /c /c \\\n', 10_000)}`],
    ['features', `${F}RUN ${many('dism ', 12_000)}`],
    ['features over lines', `${F}RUN ${many('dism dism \\\n', 10_000)}`],
    ['pipes and spaces', `${F}RUN ${many('|', 30_000)}${many(' ', 30_000)}`],
    ['heredocs', `${F}RUN ${many('<<a ', 15_000)}`],
    ['a long heredoc', `${F}RUN <<${many('a', 60_000)}"`],
    ['a duration', `${F}HEALTHCHECK --interval=${many('1h', 30_000)}x CMD a`],
    ['a duration of digits', `${F}HEALTHCHECK --interval=${many('1', 60_000)} CMD a`],
    ['a duration over lines', `${F}HEALTHCHECK --interval=${many('1h1.5m\\\n', 30_000)} CMD a`],
    ['retries', `${F}HEALTHCHECK --retries=${many('9', 60_000)} CMD a`],
    ['flags', `${F}COPY ${many('--from=a ', 7000)}a b`],
    ['names of stages', `FROM a ${many('AS ', 20_000)}`],
    [
      'stages',
      many('FROM windowsservercore AS a\n', 1) + Array.from({ length: 2000 }, (_, at) => `FROM a AS b${at}\n`).join('')
    ],
    ['a signal', `${F}STOPSIGNAL ${many('SIG', 20_000)}`],
    ['a user', `${F}USER ${many('.\\', 30_000)}`],
    ['a line that is too long', `${F}RUN ${many('x', 200_000)}`],
    ['empty lines', `${F}${many('\n')}`],
    ['bytes of nothing', many('\0')],
    ['byte order marks', many('\ufeff')],
    ['many instructions', `${F}${many('RUN a\n', 3000)}`],
    ['many folders', `${F}${Array.from({ length: 2000 }, (_, at) => `WORKDIR C:/a${at}/b/c\n`).join('')}`]
  ])(
    '%s',
    async (_name, text) => {
      expect(await secondsOf(() => isPlan(text, new Random(1), 'large'))).toBeLessThan(MOST_SECONDS)
    },
    60_000
  )
})

test('a long target stage', async () => {
  const text = `FROM a ${many(' AS', 20_000)}${many('x', 30_000)} y`
  const work = () => expect(plan(text, new Random(1), { target: 'x' })).rejects.toThrow(Fault)
  expect(await secondsOf(work)).toBeLessThan(MOST_SECONDS)
})

/** Of the processor, since others may keep it busy. */
async function secondsOf(work: () => Promise<unknown>): Promise<number> {
  const begin = process.cpuUsage()
  await work()
  const { user, system } = process.cpuUsage(begin)
  return (user + system) / 1e6
}
