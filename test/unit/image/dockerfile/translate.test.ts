import { describe, expect, test } from 'vitest'
import { baseImage, knownBase } from '#image/bases.ts'
import { BeyondWine } from '#image/dockerfile/fault.ts'
import { type Translation, translate } from '#image/dockerfile/translate.ts'
import { type Launch, readLaunch } from '#image/launch.ts'
import { IMAGE_LABEL, type WindowsImage } from '#image/windows-config.ts'

const images: Record<string, Partial<WindowsImage>> = {}

async function lookup(reference: string): Promise<{ reference: string; image: WindowsImage }> {
  const base = knownBase(reference)
  if (base !== undefined && base !== 'unknownTag') return { reference, image: baseImage(base) }
  const core = await lookup('windowsservercore')
  const own = images[reference]
  if (own === undefined) throw new Error(`No such image: ${reference}`)
  return { reference, image: { ...core.image, ...own } }
}

const build = (text: string, options: object = {}): Promise<Translation> => translate(text, { lookup, ...options })
const from = (text: string, options: object = {}): Promise<Translation> =>
  build(`FROM windowsservercore\n${text}`, options)

/** The Linux lines between FROM and the closing LABEL. */
const middle = ({ dockerfile }: Translation): string[] => dockerfile.trimEnd().split('\n').slice(1, -1)

/** The launches of its RUNs. */
function launches({ lines }: Translation): Launch[] {
  return lines.flatMap(({ text }) => {
    if (!text.startsWith('RUN ')) return []
    const launch = readLaunch(JSON.parse(text.slice(4)) as string[])
    return launch === undefined ? [] : [launch]
  })
}

describe('config', () => {
  test.each<[string, object]>([
    ['ENV A=b', { Env: ['A=b'] }],
    ['ENV A b  c', { Env: ['A=b  c'] }],
    ['ENV A="b c" D=e\\ f G=\'$A\'', { Env: ['A=b c', 'D=e f', 'G=$A'] }],
    ['ENV A=1\nENV a=2', { Env: ['A=2'] }],
    [`ENV A=1 B=$A\nENV C=\${a}x\${none:-dflt}\${A:+set}`, { Env: ['A=1', 'B=', 'C=1xdfltset'] }],
    ['ENV PATH=C:\\\\x;$PATH', { Env: ['PATH=C:\\x;C:\\Windows\\system32;C:\\Windows'] }],
    ['LABEL a=b "c d"="e f"', { Labels: { a: 'b', 'c d': 'e f' } }],
    ['WORKDIR C:\\app', { WorkingDir: 'C:\\app' }],
    ['WORKDIR c:\\\\app', { WorkingDir: 'C:\\app' }],
    ['WORKDIR /app\nWORKDIR lib', { WorkingDir: 'C:\\app\\lib' }],
    ['WORKDIR C:/app\nWORKDIR ..\\\\x', { WorkingDir: 'C:\\x' }],
    ['WORKDIR app', { WorkingDir: 'C:\\app' }],
    ['ARG D=C:/a\nWORKDIR $D', { WorkingDir: 'C:\\a' }],
    ['USER ContainerUser', { User: 'ContainerUser' }],
    ['USER containeradministrator', { User: 'containeradministrator' }],
    ['EXPOSE 80 443/tcp 53/udp', { ExposedPorts: { '80/tcp': {}, '443/tcp': {}, '53/udp': {} } }],
    ['ENV P="80 81"\nEXPOSE $P', { ExposedPorts: { '80/tcp': {}, '81/tcp': {} } }],
    ['EXPOSE 8000-8002', { ExposedPorts: { '8000/tcp': {}, '8001/tcp': {}, '8002/tcp': {} } }],
    ['VOLUME C:\\data', { Volumes: { 'C:\\data': {} } }],
    ['VOLUME ["c:/a", "C:\\\\b c"]', { Volumes: { 'C:\\a': {}, 'C:\\b c': {} } }],
    ['CMD node server.js', { Cmd: ['cmd /S /C node server.js'], ArgsEscaped: true }],
    ['CMD ["node", "a b"]', { Cmd: ['node', 'a b'], ArgsEscaped: false }],
    ['ENTRYPOINT ["node"]\nCMD ["x"]', { Entrypoint: ['node'], Cmd: ['x'] }],
    ['ENTRYPOINT node', { Entrypoint: ['cmd /S /C node'], Cmd: null, ArgsEscaped: true }],
    ['CMD ["x"]\nENTRYPOINT ["node"]', { Entrypoint: ['node'], Cmd: ['x'] }],
    ['SHELL ["cmd", "/V:ON", "/C"]\nCMD echo !x!', { Cmd: ['cmd /V:ON /C echo !x!'], Shell: ['cmd', '/V:ON', '/C'] }],
    ['CMD echo "a" $b %c%', { Cmd: ['cmd /S /C echo "a" $b %c%'] }],
    ['CMD ["bad json', { Cmd: ['cmd /S /C ["bad json'], ArgsEscaped: true }],
    ['STOPSIGNAL SIGINT', { StopSignal: 'SIGINT' }],
    ['STOPSIGNAL 9', { StopSignal: '9' }],
    ['HEALTHCHECK NONE', { Healthcheck: { Test: ['NONE'] } }],
    [
      'HEALTHCHECK --interval=1m30s --timeout=500ms --retries=2 CMD curl localhost',
      { Healthcheck: { Test: ['CMD-SHELL', 'curl localhost'], Interval: 90e9, Timeout: 5e8, Retries: 2 } }
    ],
    ['HEALTHCHECK CMD ["curl", "x"]', { Healthcheck: { Test: ['CMD', 'curl', 'x'] } }],
    ['ONBUILD RUN echo x', { OnBuild: ['RUN echo x'] }],
    ['env a=b\ncmd x', { Env: ['a=b'], Cmd: ['cmd /S /C x'] }],
    ['ENV A=b \\\n  # a comment\n\n  C=d', { Env: ['A=b', 'C=d'] }]
  ])('%s', async (text, config) => {
    expect((await from(text)).image.config).toMatchObject(config)
  })

  test('a backtick as the escape character leaves backslashes alone', async () => {
    const { image, steps } = await build(
      '# escape=`\nFROM windowsservercore\nENV A=C:\\a`$x B=c:\\ C=1 `\n  D=2\nWORKDIR C:\\b\\c\\\nCMD a ^\n'
    )
    expect(image.config.Env).toEqual(['A=C:\\a$x', 'B=c:\\', 'C=1', 'D=2'])
    expect(image.config.WorkingDir).toBe('C:\\b\\c')
    expect(steps[1]?.text).toBe('ENV A=C:\\a`$x B=c:\\ C=1   D=2')
  })

  test('reads CRLF and a byte order mark', async () => {
    const { image } = await build('\uFEFF# escape=`\r\nFROM windowsservercore\r\nENV A=`\r\nb\r\nCMD x\r\n')
    expect(image.config).toMatchObject({ Env: ['A=b'], Cmd: ['cmd /S /C x'] })
  })

  test('a doubled escape at the end of a line does not continue it', async () => {
    const translation = await from('COPY a c:\\\\\nRUN dir c:\\')
    expect(translation.steps).toHaveLength(3)
  })

  test('keeps what the base has, and fields that nobody knows', async () => {
    images.own = { config: { Env: ['X=1'], Cmd: ['a'], Labels: { l: '1' }, Future: 7 } as object }
    const { image } = await build('FROM own\nENV Y=2\nLABEL m=2')
    expect(image.config).toEqual({
      Env: ['X=1', 'Y=2'],
      Cmd: ['a'],
      Labels: { l: '1', m: '2' },
      Future: 7,
      OnBuild: null
    })
  })
})

describe('arguments', () => {
  test.each<[string, Record<string, string | null>, string[]]>([
    ['FROM windowsservercore\nARG A=1\nENV X=$A', {}, ['X=1']],
    ['FROM windowsservercore\nARG A=1\nENV X=$A', { A: '2' }, ['X=2']],
    ['FROM windowsservercore\nARG A=1\nENV X=$A', { A: null }, ['X=1']],
    ['FROM windowsservercore\nENV X=$A\nARG A', { A: '2' }, ['X=']],
    ['FROM windowsservercore\nENV A=env\nARG A=arg\nENV X=$A', { A: '2' }, ['A=env', 'X=env']],
    ['ARG A=meta\nFROM windowsservercore\nENV X=$A', {}, ['X=']],
    ['ARG A=meta\nFROM windowsservercore\nARG A\nENV X=$A', {}, ['X=meta']],
    ['ARG A=meta\nFROM windowsservercore\nARG A\nENV X=$A', { A: 'cli' }, ['X=cli']],
    [`ARG A=1\nARG B=\${A}2\nFROM windowsservercore\nARG B\nENV X=$B`, {}, ['X=12']],
    ['FROM windowsservercore\nARG A=1 B=2\nENV X=$A$B', {}, ['X=12']]
  ])('%j with %j', async (text, buildArgs, env) => {
    expect((await build(text, { buildArgs })).image.config.Env).toEqual(env)
  })

  test('go into FROM', async () => {
    const { image } = await build(`ARG TAG=ltsc2019\nFROM mcr.microsoft.com/windows/nanoserver:\${TAG}`, {
      buildArgs: { TAG: 'ltsc2025' }
    })
    expect(image.release).toBe('ltsc2025')
  })

  test('that nothing declares are told, proxies excepted', async () => {
    const { unusedArgs } = await from('ARG A', { buildArgs: { A: '1', C: '2', B: '3', http_proxy: 'x', NULL: null } })
    expect(unusedArgs).toEqual(['B', 'C'])
  })
})

describe('RUN', () => {
  test('launches the command line as Windows would build it', async () => {
    const translation = await from(
      'ENV A=1 b=2\nARG B=3\nARG C=4\nUSER ContainerUser\nWORKDIR C:/app\nRUN echo "x" && exit /b 1\nRUN ["a b.exe", "c\\"d", "e"]',
      { buildArgs: { HTTP_PROXY: 'p' } }
    )
    const [shell, exec] = launches(translation)
    expect(shell).toEqual({
      commandLine: 'cmd /S /C echo "x" && exit /b 1',
      cwd: 'C:\\app',
      user: 'ContainerUser',
      env: ['HTTP_PROXY=p', 'B=2', 'C=4', 'A=1'],
      role: 'build',
      services: 'auto',
      state: '/oriel/run/build'
    })
    expect(exec?.commandLine).toBe('"a b.exe" "c\\"d" e')
    expect(translation.steps.map(({ command }) => command).filter(Boolean)).toEqual([
      'cmd /S /C echo "x" && exit /b 1',
      'a b.exe c"d e'
    ])
  })

  test('has an account also where none is named', async () => {
    expect(launches(await from('RUN x'))[0]?.user).toBe('ContainerAdministrator')
    expect(launches(await build('FROM nanoserver\nRUN x'))[0]?.user).toBe('ContainerUser')
  })

  test('breaks lines that Docker would find too long', async () => {
    const { dockerfile } = await from(`ENV A=${'x'.repeat(60_000)}\nENV B=${'y'.repeat(60_000)}\nRUN x`)
    expect(Math.max(...dockerfile.split('\n').map(line => line.length))).toBeLessThan(65_535)
  })

  test.each([
    ['RUN powershell -Command ls', 'PowerShell'],
    ['RUN cd x && C:\\\\Windows\\\\System32\\\\WindowsPowerShell\\\\v1.0\\\\PowerShell.exe -File a.ps1', 'PowerShell'],
    ['RUN ["powershell.exe", "ls"]', 'PowerShell'],
    ['RUN cmd /c powershell ls', 'PowerShell'],
    ['SHELL ["powershell", "-Command"]', 'PowerShell'],
    ['RUN dism /online /enable-feature /featurename:IIS-WebServer', 'features'],
    ['RUN pwsh -c Install-WindowsFeature Web-Server', 'features'],
    ['USER sqlserver', 'sqlserver']
  ])('%s fails at its line', async (text, what) => {
    const error: unknown = await from(`ENV A=b\n${text}`).catch((thrown: unknown) => thrown)
    expect(error).toBeInstanceOf(BeyondWine)
    expect(error).toMatchObject({ line: 3, instruction: text })
    expect((error as BeyondWine).what).toContain(what)
  })

  test.each(['RUN echo powershell', 'RUN mkdir C:\\\\powershell', 'RUN pwsh -c ls'])('%s is fine', async text => {
    await expect(from(text)).resolves.toBeDefined()
  })

  test.each(['RUN <<EOF', 'RUN cat <<"EOF"', 'COPY <<EOF C:/x', 'RUN <<-E2'])('%s is refused', async text => {
    await expect(from(text)).rejects.toThrow(/^dockerfile parse error line 2: a heredoc requires BuildKit/)
  })
})

describe('COPY and ADD', () => {
  test.each<[string, string[]]>([
    ['COPY a.txt "C:\\app\\"', ['COPY ["a.txt","/c/drive_c/app/"]']],
    ['COPY a.txt C:\\app\\b.txt', ['COPY ["a.txt","/c/drive_c/app/b.txt"]']],
    ['COPY . C:/', ['COPY [".","/c/drive_c/"]']],
    ['COPY dir\\\\a.txt /app/', ['COPY ["dir/a.txt","/c/drive_c/app/"]']],
    ['WORKDIR C:/app\nCOPY . .', ['WORKDIR /c/drive_c/app', 'COPY [".","/c/drive_c/app/"]']],
    ['WORKDIR C:/app\nCOPY a b', ['WORKDIR /c/drive_c/app', 'COPY ["a","/c/drive_c/app/b"]']],
    ['WORKDIR C:/App\nWORKDIR C:/aPP\nCOPY a C:/APP/', ['WORKDIR /c/drive_c/App', 'COPY ["a","/c/drive_c/App/"]']],
    ['COPY ["a b.txt", "c d", "C:\\\\e f\\\\"]', ['COPY ["a b.txt","c d","/c/drive_c/e f/"]']],
    ['COPY *.txt a?[bc] C:/x/', ['COPY ["*.txt","a?[bc]","/c/drive_c/x/"]']],
    ['COPY --chown=1:1 a C:/x/', ['COPY ["a","/c/drive_c/x/"]']],
    [`ENV N=v\nCOPY a-\${N} C:/$N/`, ['COPY ["a-v","/c/drive_c/v/"]']],
    ["COPY 'a$b' C:/x/", ['COPY ["a\\\\$b","/c/drive_c/x/"]']],
    ['ADD a.tar.gz C:\\', ['ADD ["a.tar.gz","/c/drive_c/"]']],
    ['ADD https://x.y/z.zip C:/dl/', ['ADD ["https://x.y/z.zip","/c/drive_c/dl/"]']],
    ['COPY a C:/WINDOWS/System32/', ['COPY ["a","/c/drive_c/windows/system32/"]']]
  ])('%s', async (text, lines) => {
    expect(middle(await from(text))).toEqual(lines)
  })

  test('a folder that a program may have made is looked up inside', async () => {
    const translation = await from('RUN mkdir TOOLS\nCOPY a C:/Tools/\nCOPY b C:/tools/x\nWORKDIR C:/other')
    const [, anchor = '', first = '', second = '', workdir] = middle(translation)
    const name = (JSON.parse(anchor.slice(4)) as string[])[2]
    expect(JSON.parse(anchor.slice(4))).toEqual(['/oriel/init', 'anchor', name, 'C:\\Tools\\'])
    expect(first).toBe(`COPY ["a","/oriel/anchor/${name}/"]`)
    // Its own file may be there in another case too.
    expect(second).toContain('"C:\\\\tools\\\\x"')
    expect(workdir).toContain('COPY ["b","/oriel/anchor/')
    expect(translation.lines.map(({ shown }) => shown)).toEqual([true, true, false, true, false, true, true, false])
  })

  test('a folder of the base that nobody listed is looked up inside', async () => {
    expect(middle(await from('COPY a C:/Windows/Fonts/'))[0]).toContain('"anchor"')
    expect(middle(await from('COPY a C:/Users/ContainerUser/AppData/'))[0]).toContain('"anchor"')
  })

  test('after a COPY of a whole folder its sub-folders are looked up', async () => {
    expect(middle(await from('COPY . C:/app\nCOPY a C:/app/Lib/'))[1]).toContain('"anchor"')
  })

  test('a base in which a program ran has folders that nobody knows', async () => {
    images.ran = { folders: ['app'], history: [{ created_by: 'cmd /S /C mkdir x', empty: false }] }
    expect(middle(await build('FROM ran\nCOPY a C:/X/'))[0]).toContain('"anchor"')
    expect(middle(await build('FROM ran\nCOPY a C:/APP/'))[0]).toBe('COPY ["a","/c/drive_c/app/"]')
  })

  test.each([
    ['COPY --chmod=755 a C:/x', 'the --chmod option requires BuildKit'],
    ['COPY a D:\\x', 'Windows does not support COPY with a destinations not on the system drive (C:)'],
    ['WORKDIR D:/x', 'not on the system drive'],
    ['COPY --from=2 a C:/x', 'invalid from flag value 2: index out of bounds'],
    ['COPY --from=nope a C:/x', 'No such image: nope'],
    ['VOLUME data', 'invalid volume specification']
  ])('%s is refused', async (text, message) => {
    await expect(from(text)).rejects.toThrow(message)
  })
})

describe('stages', () => {
  const two = 'FROM windowsservercore AS Build\nENV A=b\nRUN x\nFROM nanoserver\n'

  test('copy from one another by name, number and image', async () => {
    const { dockerfile } = await build(
      `${two}COPY --from=build C:\\Out\\ C:/a/\nCOPY --from=0 /o[a-z]*.t C:/b/\nCOPY --from=windowsservercore C:/windows/System32 C:/c/`
    )
    expect(dockerfile).toContain('COPY --from=oriel-stage-0 ["/c/drive_c/[oO][uU][tT]","/c/drive_c/a/"]')
    expect(dockerfile).toContain('COPY --from=oriel-stage-0 ["/c/drive_c/[oO][a-z]*.[tT]","/c/drive_c/b/"]')
    expect(dockerfile).toContain('COPY --from=windowsservercore ["/c/drive_c/windows/system32","/c/drive_c/c/"]')
  })

  test('begin with their own base, and only the last is labelled', async () => {
    const { image, dockerfile } = await build(`${two}ENV C=d`)
    expect(image.family).toBe('nanoserver')
    expect(image.config.Env).not.toContain('A=b')
    expect(dockerfile.match(/^LABEL/gm)).toHaveLength(1)
  })

  test('continue a stage with its config, labels and folders', async () => {
    const { image, dockerfile } = await build(
      'FROM windowsservercore AS a\nENV A=b\nLABEL l=m\nWORKDIR C:/App\nFROM a\nCOPY x C:/app/'
    )
    expect(image.config).toMatchObject({ Env: ['A=b'], Labels: { l: 'm' }, WorkingDir: 'C:\\App' })
    expect(dockerfile).toContain('FROM oriel-stage-0 AS oriel-stage-1\nCOPY ["x","/c/drive_c/App/"]\nLABEL "l"="m"')
  })

  test.each(['build', 'BUILD', '0'])('end at the target %s', async target => {
    const { steps, image } = await build(`${two}ENV C=d`, { target })
    expect(steps).toHaveLength(3)
    expect(image.config.Env).toEqual(['A=b'])
  })
})

test('ONBUILD triggers of the base run after FROM, and are gone then', async () => {
  images.trigger = { config: { OnBuild: ['ENV T=1', 'COPY . C:/t/'] } }
  const translation = await build('FROM trigger\nENV U=2')
  expect(translation.image.config).toMatchObject({ Env: ['T=1', 'U=2'], OnBuild: null })
  expect(middle(translation)).toEqual(['COPY [".","/c/drive_c/t/"]'])
  expect(translation.lines[1]?.step).toBe(0)
})

test('what is built on an image of a registry does not pass for that image at any step', async () => {
  const origin = { id: 'sha256:1', manifest: 'sha256:2', config: '{"a":"é"}' }
  images.pulled = { origin }
  const { lines, image } = await build('FROM pulled\nRUN a\nFROM pulled')
  const record = /"dev\.oriel\.image"="(.*)"$/.exec(lines[1]?.text ?? '')?.[1]?.replace(/\\(.)/g, '$1') ?? ''
  const { parent, ...rest } = JSON.parse(record) as WindowsImage
  expect([parent, rest.origin, lines[1]?.shown, lines[1]?.step]).toEqual([origin, undefined, false, 0])
  expect(lines.map(({ text }) => text.split(' ')[0])).toEqual(['FROM', 'LABEL', 'RUN', 'FROM', 'LABEL', 'LABEL'])
  expect(image).toMatchObject({ parent: origin })
})

test('the platform of the base goes along', async () => {
  const { dockerfile } = await translate('FROM x', {
    lookup: async reference => ({ ...(await lookup('windowsservercore')), reference, platform: 'linux/amd64' })
  })
  expect(dockerfile).toMatch(/^FROM --platform=linux\/amd64 x AS oriel-stage-0\n/)
})

test.each(['linux/amd64', 'linux', 'windows/arm64'])('FROM --platform=%s is refused', async platform => {
  await expect(build(`FROM --platform=${platform} windowsservercore`)).rejects.toThrow('invalid platform')
})

test('FROM scratch is what Windows has not', async () => {
  await expect(build('FROM scratch')).rejects.toThrow('Windows does not support FROM scratch')
})

test('labels of the command line come last, and Oriel keeps its own', async () => {
  const { image, steps, dockerfile } = await from('LABEL a=1', {
    labels: { b: '2', a: '3', 'dev.oriel.image': '{}', n: 'x\ny' }
  })
  expect(image.config.Labels).toEqual({ a: '3', b: '2', n: 'x\ny' })
  expect(steps.slice(2).map(({ text }) => text)).toEqual(['LABEL a=3', 'LABEL b=2', 'LABEL n=x\ny'])
  expect(dockerfile).toContain('LABEL "a"="3" "b"="2" "dev.oriel.image"="{')
})

describe('nothing that is put in becomes another line of the engine’s', () => {
  test.each(['WORKDIR $D', 'COPY a $D', 'COPY --from=windowsservercore $D C:/x/'])('%s', async text => {
    for (const D of ['C:/a\nRUN evil', 'C:/a\0', `C:/${'a/'.repeat(2000)}`]) {
      await expect(from(`ARG D\n${text}`, { buildArgs: { D } })).rejects.toThrow(
        /The filename(, directory name, or volume label syntax is incorrect| or extension is too long)/
      )
    }
  })

  test.each(['C:\\a|b', 'C:\\what?', 'C:\\a:stream', '"C:/<a>"'])('no folder is called %s', async path => {
    await expect(from(`WORKDIR ${path}`)).rejects.toThrow(/^The filename, directory name, or volume label syntax/)
    await expect(from(`COPY a ${path}`)).rejects.toThrow(/^The filename, directory name, or volume label syntax/)
  })

  test('MAINTAINER', async () => {
    expect(middle(await build('# escape=`\nFROM windowsservercore\nMAINTAINER me \\\\'))).toEqual(['MAINTAINER me'])
    images.author = { config: { OnBuild: ['MAINTAINER me\nRUN evil'] } }
    expect(middle(await build('FROM author'))).toEqual(['MAINTAINER me RUN evil'])
  })
})

test('a label may have any name', async () => {
  const { image, dockerfile } = await from('LABEL __proto__=x constructor=y')
  expect(Object.entries(image.config.Labels ?? {})).toEqual([
    ['__proto__', 'x'],
    ['constructor', 'y']
  ])
  expect(dockerfile).toContain('"__proto__"="x"')
})

test('an instruction does not see what it sets itself', async () => {
  expect((await from('ARG A=1\nARG A=2 B=$A\nENV C=$B')).image.config.Env).toEqual(['C=1'])
})

test('the history is worded as a Windows daemon words it', async () => {
  const { image } = await from('ENV A=b\nWORKDIR C:/x\nCOPY a b\nRUN dir\nCMD ["a","b"]\nEXPOSE 80\nUSER ContainerUser')
  expect(image.history).toEqual([
    { created_by: 'cmd /S /C #(nop)  ENV A=b', empty: true },
    { created_by: 'cmd /S /C #(nop) WORKDIR C:\\x', empty: false },
    { created_by: 'cmd /S /C #(nop) COPY a in C:\\x\\b ', empty: false },
    { created_by: 'cmd /S /C dir', empty: false },
    { created_by: 'cmd /S /C #(nop)  CMD ["a" "b"]', empty: true },
    { created_by: 'cmd /S /C #(nop)  EXPOSE 80/tcp', empty: true },
    { created_by: 'cmd /S /C #(nop)  USER ContainerUser', empty: true }
  ])
})

test('shell and exec form mixed draw a warning', async () => {
  const { steps } = await from('ENTRYPOINT a\nCMD ["b"]')
  expect(steps[2]?.warnings[0]).toContain('[Warning] Shell-form ENTRYPOINT and exec-form CMD')
})

test('the record is in the label', async () => {
  const { dockerfile } = await from('ENV A="$x" B=\\"q\\" C=\\\\ D=é')
  expect(dockerfile).toContain(`"${IMAGE_LABEL}"="{\\"config\\"`)
  expect(/[^\x20-\x7e\n]/.test(dockerfile)).toBe(false)
})
