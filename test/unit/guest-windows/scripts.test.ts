import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, test } from 'vitest'
import { type Inventory, membersOf, RULES, stageNames, switchCases } from './rules.ts'
import { parseScript } from './script.ts'

const GUEST = fileURLToPath(new URL('../../../guest/windows', import.meta.url))

function read(name: string): string {
  return readFileSync(join(GUEST, name), 'utf8')
}

const scripts = readdirSync(GUEST)
  .filter(name => name.endsWith('.ps1'))
  .map(name => parseScript(name, read(name)))
const inventory: Inventory = JSON.parse(read('cmdlets.json'))
const contract = read('CONTRACT.md')

/** The rows of the table of the contract whose first column is headed so. */
function table(markdown: string, heading: string): string[][] {
  const lines = markdown.split('\n')
  const start = lines.findIndex(line => line.startsWith(`| ${heading} |`))
  if (start === -1) throw new Error(`CONTRACT.md has no table of ${heading}`)
  const rows: string[][] = []
  for (const line of lines.slice(start + 2)) {
    if (!line.startsWith('|')) break
    rows.push(
      line
        .slice(1, -1)
        .split('|')
        .map(cell => cell.trim())
    )
  }
  return rows
}

function quoted(text: string): string[] {
  return [...text.matchAll(/`([^`]+)`/g)].map(match => match[1] ?? '')
}

test('the guest has its scripts', () => {
  expect(scripts.map(script => script.name)).toEqual([
    'engine.ps1',
    'facts.ps1',
    'guest.ps1',
    'lib.ps1',
    'setup.ps1',
    'stages-machine.ps1',
    'stages-setup.ps1',
    'start.ps1'
  ])
})

test.each(Object.entries(RULES))('every script keeps to the rule %s', (_name, rule) => {
  expect(rule(scripts, inventory)).toEqual([])
})

test('the stages are those of the contract, in its order', () => {
  const phases = new Map(table(contract, 'phase').map(([phase = '', stages = '']) => [phase, quoted(stages)]))
  const engine = stageNames(scripts, 'EngineStages')
  expect(stageNames(scripts, 'SetupStages')).toEqual(phases.get('setup'))
  expect([...stageNames(scripts, 'ApplyStages'), ...engine]).toEqual(phases.get('machine'))
  expect(engine).toEqual(phases.get('later starts'))
  expect([...phases.keys()]).toEqual(['setup', 'machine', 'later starts'])
})

test('guest.ps1 has the verbs of the contract', () => {
  const verbs = table(contract, 'verb').map(([verb = '']) => quoted(verb)[0]?.split(' ')[0])
  const guest = scripts.filter(script => script.name === 'guest.ps1')
  expect(guest.flatMap(switchCases)).toEqual(verbs)
})

test('the scripts read all of machine.json, and nothing that is not in it', () => {
  const example = /^\{ "version": 1, "id": [\s\S]*?\}$/m.exec(contract)?.[0] ?? ''
  const version = membersOf(scripts, 'read').filter(name => name === 'version')
  // The name is for people who look at the disc.
  const read = ['name', ...version, ...membersOf(scripts, 'Machine')]
  expect(read.sort()).toEqual(Object.keys(JSON.parse(example)).sort())
})

test('the command of the first logon is short enough for Windows to run it, and its script exists', () => {
  const command = /^`(cmd\.exe \/c for .*)`$/m.exec(contract)?.[1]
  // A longer one is left out without a word: the commands are kept in the registry's RunOnce.
  expect(command?.length).toBeLessThan(260)
  expect(command).toContain('-File %d:\\oriel\\setup.ps1')
})

describe('a checker that can fail', () => {
  const lib = `#Requires -Version 5.1
Set-StrictMode -Version Latest
$ErrorActionPreference = 'Stop'
function Invoke-Native {
  param([string]$Program, [string[]]$Arguments = @())
  & $Program @Arguments
}
function Write-OrielLog {
  param([string]$Text, [switch]$Loud)
}
`
  const small: Inventory = {
    commonParameters: ['ErrorAction'],
    cmdlets: {
      'Set-StrictMode': {
        since: '2016',
        module: 'x',
        parameters: ['Version'],
        source: 'https://learn.microsoft.com/x'
      },
      'Move-Item': {
        since: '2016',
        module: 'x',
        parameters: ['Path', 'Destination'],
        switches: ['Force'],
        source: 'https://learn.microsoft.com/x'
      }
    },
    programs: { 'sc.exe': { since: '2016', source: 'https://learn.microsoft.com/x' } }
  }
  const good = "Move-Item -Path a -Destination b -Force\nInvoke-Native -Program 'sc.exe' -Arguments @('query')\n"

  /** What a rule says of lib.ps1 and a script of these lines, which is line 1 after its #Requires. */
  function judge(rule: keyof typeof RULES, lines: string, name = 'stage.ps1', list = small): string[] {
    return RULES[rule]([parseScript('lib.ps1', lib), parseScript(name, `#Requires -Version 5.1\n${lines}`)], list).map(
      finding => finding.replace(/^stage\.ps1:/, '')
    )
  }

  test.each(Object.keys(RULES) as (keyof typeof RULES)[])('%s finds nothing in a good script', rule => {
    expect(judge(rule, good)).toEqual([])
  })

  test.each<[keyof typeof RULES, string, string]>([
    ['parses', 'if ($a { }', 'does not parse'],
    ['parses', '$a = "no end', 'does not parse'],
    ['parses', '$a = $b ? 1 : 2', 'does not parse'],
    ['parses', '$a = $b ?? 2', 'does not parse'],
    ['parses', '$a ??= 2', 'does not parse'],
    ['parses', '$a = $b?.Name', 'does not parse'],
    ['isAscii', "$a = 'caf\u00e9'", '2: a byte that is not printable ASCII'],
    ['isAscii', '$a = 1\r', '2: a byte that is not printable ASCII'],
    ['hasNoContinuation', 'Move-Item `\n  -Path a', '2: a backtick continues the line'],
    ['isFiveOne', 'Move-Item -Path a && Move-Item -Path b', '2: && is syntax of PowerShell 7'],
    ['isFiveOne', 'Move-Item -Path a || Move-Item -Path b', '2: || is syntax of PowerShell 7'],
    ['usesNothingForbidden', 'Invoke-Expression -Command $a', '2: Invoke-Expression runs text as code'],
    ['usesNothingForbidden', "$a = @{ b = { invoke-webrequest -Uri 'x' } }", '2: invoke-webrequest downloads'],
    ['usesNothingForbidden', 'Write-Host $password', '2: Write-Host writes to the stdout'],
    ['usesNothingForbidden', "Invoke-Native -Program 'curl.exe'", '2: curl.exe downloads'],
    ['usesNothingForbidden', '$a = New-Object -TypeName System.Net.WebClient', 'System.Net.WebClient downloads'],
    ['usesNothingForbidden', "$a = [ScriptBlock]::Create('b')", 'downloads, or runs text as code'],
    ['usesKnownCommands', 'mv -Path a -Destination b', '2: mv is no function of the scripts'],
    ['usesKnownCommands', '1 | % { $_ }', '2: % is no function of the scripts'],
    ['usesKnownCommands', 'Get-Nothing', '2: Get-Nothing is no function of the scripts'],
    ['usesKnownCommands', '$a = "x $(Get-Nothing)"', '2: Get-Nothing is no function of the scripts'],
    ['usesKnownCommands', 'Move-Item -Path a -Dest b', '2: Move-Item has no parameter -Dest'],
    ['usesKnownCommands', 'Write-OrielLog -Texts a', '2: Write-OrielLog has no parameter -Texts'],
    ['usesKnownCommands', 'Move-Item a -Destination b', '2: Move-Item gets a by position'],
    ['usesKnownCommands', 'Move-Item -Force a -Destination b', '2: Move-Item gets a by position'],
    ['usesKnownCommands', 'Write-OrielLog -Loud a', '2: Write-OrielLog gets a by position'],
    ['usesKnownCommands', '$a = @{ Paths = 1 }\nMove-Item @a', '3: Move-Item has no parameter -Paths'],
    ['usesKnownCommands', 'Move-Item @a', '2: Move-Item gets @a, which is no hash of literal keys'],
    ['usesKnownCommands', '. "$PSScriptRoot\\other.ps1"', 'which is none of the scripts'],
    ['usesKnownCommands', "& 'sc.exe'", "& 'sc.exe' is not run by Invoke-Native"],
    ['runsKnownPrograms', "Invoke-Native -Program 'net.exe'", '2: net.exe is not in cmdlets.json'],
    ['runsKnownPrograms', "$p = 'C:\\x\\net.exe'\nInvoke-Native -Program $p", '3: net.exe is not in cmdlets.json'],
    ['runsKnownPrograms', 'Invoke-Native -Program $q', '2: a program without a literal name is not in cmdlets.json'],
    ['keepsSecrets', 'Write-OrielLog -Text $password', '2: $password may hold a password'],
    ['keepsSecrets', 'Write-OrielLog -Text "set to $($Machine.password)"', '2: password may hold a password'],
    ['keepsSecrets', "Invoke-Native -Program 'net.exe' -Arguments @('user', $Machine.password)", 'password may hold'],
    ['keepsSecrets', 'throw "not $secretText"', '2: $secretText may hold a password'],
    ['keepsSecrets', 'Write-OrielLog -Text $Machine', '2: $Machine may hold a password'],
    [
      'explainsStages',
      "$SetupStages = @(\n@{\nName = 'a'\nTest = { 1 }\nRun = { 1 }\n}\n)",
      '5: no comment above Test'
    ],
    ['explainsStages', "$ApplyStages = @(\n@{\nName = 'a'\nRun = { 1 }\n}\n)", '3: a stage has Name, Test and Run']
  ])('%s fails for %s', (rule, lines, words) => {
    expect(judge(rule, lines).join('\n')).toContain(words)
  })

  test('a started script has to begin with lib.ps1, and lib.ps1 to be strict', () => {
    expect(judge('isStrict', good, 'start.ps1')).toEqual(['start.ps1:1: does not begin with lib.ps1'])
    expect(judge('isStrict', `. "$PSScriptRoot\\lib.ps1"\n${good}`, 'start.ps1')).toEqual([])
    const lax = [parseScript('lib.ps1', lib.replace("'Stop'", "'Continue'")), parseScript('facts.ps1', '$a = 1\n')]
    expect(RULES.isStrict(lax, small)).toEqual([
      'lib.ps1:1: does not set strict mode and Stop',
      'facts.ps1:1: no #Requires line'
    ])
  })

  test('a misspelt variable and a function of a script that is not read are found', () => {
    const start = `#Requires -Version 5.1\n. "$PSScriptRoot\\lib.ps1"\n`
    const other = parseScript(
      'other.ps1',
      '#Requires -Version 5.1\n$shared = 1\nfunction Get-Other {\n$hidden = 1\n}\n'
    )
    const find = (lines: string) =>
      RULES.definesWhatItUses([parseScript('lib.ps1', lib), other, parseScript('start.ps1', start + lines)], small)
    expect(find('$a = 1\n$b = "$a $c"')).toEqual(['start.ps1:4: start.ps1 sets no $c'])
    expect(find('$a = $shared\nGet-Other')).toEqual([
      'start.ps1:3: start.ps1 sets no $shared',
      'start.ps1:4: start.ps1 reads no script with Get-Other'
    ])
    expect(find('. "$PSScriptRoot\\other.ps1"\n$a = $shared\nGet-Other')).toEqual([])
    expect(find('. "$PSScriptRoot\\other.ps1"\n$a = $hidden')).toEqual(['start.ps1:4: start.ps1 sets no $hidden'])
  })

  test('an entry of the list that nobody uses, or that an older release lacks, is found', () => {
    expect(judge('listsNothingUnused', 'Move-Item -Path a -Destination b')).toEqual([
      'cmdlets.json: no script uses Move-Item -Force',
      'cmdlets.json: no script runs sc.exe'
    ])
    const list = structuredClone(small)
    list.programs['new.exe'] = { since: '2025', source: 'https://learn.microsoft.com/x' }
    list.programs['odd.exe'] = { since: '2016', source: '' }
    expect(judge('existsSinceOldest', good, 'stage.ps1', list)).toEqual([
      'cmdlets.json: new.exe is there since 2025, or without a source',
      'cmdlets.json: odd.exe is there since 2016, or without a source'
    ])
  })

  test('stages and verbs are read from the tree', () => {
    const script = parseScript(
      'a.ps1',
      "$EngineStages = @(\n@{ Name = 'b'; Run = { $x = @{ Name = 'inner' } } }\n@{ Name = 'a' }\n)\n" +
        "$y = switch ($v) {\n'one' { 1 }\n'two' { 2 }\ndefault { 3 }\n}\n"
    )
    expect(stageNames([script], 'EngineStages')).toEqual(['b', 'a'])
    expect(switchCases(script)).toEqual(['one', 'two'])
    expect(membersOf([parseScript('b.ps1', '$a = "$($M.b) $($M.c.d())"')], 'M')).toEqual(['b', 'c'])
    expect(() => table('no table', 'verb')).toThrow('no table of verb')
  })
})
