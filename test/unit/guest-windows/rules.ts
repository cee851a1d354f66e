import {
  assignedTo,
  type Command,
  commandsOf,
  entriesOf,
  functionsOf,
  lineOf,
  type Node,
  type Piece,
  type Script,
  type Signature
} from './script.ts'

/** `guest/windows/cmdlets.json`: what the scripts may use of Windows, and since which Windows Server it is there. */
export interface Inventory {
  commonParameters: string[]
  cmdlets: Record<string, { since: string; module: string; parameters?: string[]; switches?: string[]; source: string }>
  programs: Record<string, { since: string; source: string }>
}

/** `FILE:LINE: what is wrong`. */
export type Finding = string

export type Rule = (scripts: readonly Script[], inventory: Inventory) => Finding[]

function finding(script: Script, line: number, says: string): Finding {
  return `${script.name}:${line}: ${says}`
}

const parses: Rule = scripts =>
  scripts.flatMap(script => faultsBelow(script.root).map(node => finding(script, lineOf(node), 'does not parse')))

function faultsBelow(node: Node): Node[] {
  if (node.isError || node.isMissing) return [node]
  return node.hasError ? node.children.flatMap(faultsBelow) : []
}

/** Windows PowerShell takes a file without a byte order mark for one in the code page of the system. */
const isAscii: Rule = scripts =>
  eachLine(scripts, line => (/^[\x20-\x7e]*$/.test(line) ? undefined : 'a byte that is not printable ASCII'))

/** A blank after such a backtick ends the command without a word. */
const hasNoContinuation: Rule = scripts =>
  eachLine(scripts, line => (/`\s*$/.test(line) ? 'a backtick continues the line' : undefined))

function eachLine(scripts: readonly Script[], judge: (line: string) => string | undefined): Finding[] {
  return scripts.flatMap(script =>
    script.text.split('\n').flatMap((line, index) => {
      const says = judge(line)
      return says === undefined ? [] : [finding(script, index + 1, says)]
    })
  )
}

/** `a && b` parses, since the grammar is that of PowerShell 7; `?:`, `??` and `?.` do not. */
const isFiveOne: Rule = scripts =>
  scripts.flatMap(script =>
    script.root
      .descendantsOfType('pipeline_chain_tail')
      .map(node => finding(script, lineOf(node), `${node.text.trim()} is syntax of PowerShell 7`))
  )

const FORBIDDEN_COMMANDS = new Map([
  ['invoke-expression', 'runs text as code'],
  ['invoke-webrequest', 'downloads'],
  ['invoke-restmethod', 'downloads'],
  ['start-bitstransfer', 'downloads'],
  ['install-module', 'downloads'],
  ['install-packageprovider', 'downloads'],
  ['add-windowscapability', 'downloads'],
  ['write-host', 'writes to the stdout that guest.ps1 keeps for its line'],
  ['write-output', 'writes to the stdout that guest.ps1 keeps for its line'],
  ['start-transcript', 'would keep whatever a command prints'],
  ['curl.exe', 'downloads'],
  ['bitsadmin.exe', 'downloads'],
  ['certutil.exe', 'downloads']
])

/** Even when somebody puts it on the list: the guest is provisioned without a network, and code is not text. */
const usesNothingForbidden: Rule = scripts =>
  scripts.flatMap(script => {
    const commands = commandsOf(script).flatMap(command =>
      [command.name, ...programsOf(command, [script])].flatMap(name => {
        const why = FORBIDDEN_COMMANDS.get(name.toLowerCase())
        return why === undefined ? [] : [finding(script, lineOf(command.node), `${name} ${why}`)]
      })
    )
    const types = script.root
      .descendantsOfType(['type_literal', 'generic_token', 'invokation_expression'])
      .filter(node => /^\[?(System\.)?Net\.(WebClient|Http|WebRequest)|^\[ScriptBlock\]::Create/i.test(node.text))
      .map(node => finding(script, lineOf(node), `${node.text} downloads, or runs text as code`))
    return [...commands, ...types]
  })

/**
 * Only functions of the scripts and cmdlets of the list, with parameters of theirs, by whole name and never by position.
 * An alias is not on the list, so it falls here, too.
 */
const usesKnownCommands: Rule = (scripts, inventory) => {
  const signatures = signaturesOf(scripts, inventory)
  return scripts.flatMap(script =>
    commandsOf(script).flatMap(command => {
      const says =
        command.operator === '' ? judgeCall(command, signatures, inventory) : judgeInvocation(command, scripts)
      return says.map(words => finding(script, lineOf(command.node), words))
    })
  )
}

function signaturesOf(scripts: readonly Script[], inventory: Inventory): Map<string, Signature> {
  const signatures = new Map<string, Signature>()
  for (const [name, cmdlet] of Object.entries(inventory.cmdlets)) {
    const values = (cmdlet.parameters ?? []).map(parameter => [parameter, 'value'] as const)
    const switches = (cmdlet.switches ?? []).map(parameter => [parameter, 'switch'] as const)
    signatures.set(name, new Map([...values, ...switches]))
  }
  for (const script of scripts) for (const [name, signature] of functionsOf(script)) signatures.set(name, signature)
  return signatures
}

function judgeCall(command: Command, signatures: Map<string, Signature>, inventory: Inventory): string[] {
  const signature = signatures.get(command.name)
  if (!signature) return [`${command.name} is no function of the scripts and not in cmdlets.json`]
  const { parameters, stray } = bind(command, signature)
  const unknown = parameters.filter(name => !signature.has(name) && !inventory.commonParameters.includes(name))
  return [
    ...unknown.map(name => `${command.name} has no parameter -${name} in cmdlets.json or its function`),
    ...stray.map(words => `${command.name} gets ${words}`)
  ]
}

/** The parameters that a call names, and its pieces that no parameter takes. */
function bind(command: Command, signature: Signature): { parameters: string[]; stray: string[] } {
  const parameters: string[] = []
  const stray: string[] = []
  let open = false
  for (const piece of command.pieces) {
    if (piece.kind === 'parameter') {
      parameters.push(piece.name)
      open = signature.get(piece.name) !== 'switch'
    } else if (piece.kind === 'splat') {
      const keys = splattedKeys(command.script, piece.name)
      if (keys.length === 0) stray.push(`@${piece.name}, which is no hash of literal keys in ${command.script.name}`)
      parameters.push(...keys)
    } else if (open || piece.joined) {
      open = false
    } else {
      stray.push(`${piece.node.text} by position`)
    }
  }
  return { parameters, stray }
}

function splattedKeys(script: Script, name: string): string[] {
  return assignedTo(script, name).flatMap(value =>
    value.type === 'hash_literal_expression' ? entriesOf(value).map(entry => entry.key) : []
  )
}

/** `.` may read a script of ours; `&` is for the runners of lib.ps1, where an action or a program comes by parameter. */
function judgeInvocation(command: Command, scripts: readonly Script[]): string[] {
  if (command.operator === '.') {
    const file = /^"\$PSScriptRoot\\([\w-]+\.ps1)"$/.exec(command.name)?.[1]
    return file !== undefined && scripts.some(script => script.name === file)
      ? []
      : [`. reads ${command.name}, which is none of the scripts`]
  }
  return command.script.name === 'lib.ps1' ? [] : [`& ${command.name} is not run by Invoke-Native`]
}

/** Programs of Windows run by Invoke-Native, which looks at the exit code, and are on the list. */
const runsKnownPrograms: Rule = (scripts, inventory) =>
  scripts.flatMap(script =>
    commandsOf(script)
      .filter(command => command.name === 'Invoke-Native')
      .flatMap(command => {
        const programs = programsOf(command, scripts)
        const unknown = programs.filter(name => !Object.hasOwn(inventory.programs, name))
        if (programs.length === 0) unknown.push('a program without a literal name')
        return unknown.map(name => finding(script, lineOf(command.node), `${name} is not in cmdlets.json`))
      })
  )

/** The file names that Invoke-Native's -Program can be, a variable being looked up in all scripts. */
function programsOf(command: Command, scripts: readonly Script[]): string[] {
  if (command.name !== 'Invoke-Native') return []
  const value = argumentOf(command, 'Program')
  if (value === undefined) return []
  const variable = /^\$(\w+)$/.exec(value)?.[1]
  const texts = variable === undefined ? [value] : scripts.flatMap(script => assignedTo(script, variable)).map(textOf)
  return texts.map(text => text.replace(/^["']|["']$/g, '').replace(/^.*\\/, ''))
}

function textOf(node: Node): string {
  return node.text
}

function argumentOf(command: Command, parameter: string): string | undefined {
  const at = command.pieces.findIndex(piece => piece.kind === 'parameter' && piece.name === parameter)
  const next: Piece | undefined = at === -1 ? undefined : command.pieces[at + 1]
  return next?.kind === 'value' ? next.node.text : undefined
}

const LOUD = new Set(['Write-OrielLog', 'Send-OrielLine', 'Write-SerialLine', 'Invoke-Native', 'ConvertTo-AsciiJson'])

/**
 * Nothing that may hold a password is logged, sent, thrown or passed to a program: neither a variable or member of such
 * a name nor machine.json as a whole.
 */
const keepsSecrets: Rule = scripts =>
  scripts.flatMap(script => {
    const loud = commandsOf(script).filter(command => LOUD.has(command.name))
    const thrown = script.root.descendantsOfType('flow_control_statement').filter(node => /^throw\b/.test(node.text))
    return [...loud.map(command => command.node), ...thrown]
      .flatMap(node => node.descendantsOfType(['variable', 'member_name']))
      .filter(node => /password|secret|credential/i.test(node.text) || isWholeMachine(node))
      .map(node => finding(script, lineOf(node), `${node.text} may hold a password and must not be told`))
  })

function isWholeMachine(node: Node): boolean {
  return /^\$Machine$/i.test(node.text) && node.parent?.type !== 'member_access'
}

/** Strict mode and Stop come first: lib.ps1 sets them, every script that is started reads it before anything else. */
const isStrict: Rule = scripts =>
  scripts.flatMap(script => {
    const missing: Finding[] = []
    if (!script.text.startsWith('#Requires -Version 5.1\n')) missing.push(finding(script, 1, 'no #Requires line'))
    const [first] = commandsOf(script).filter(command => !isInFunction(command.node))
    const strict = /^Set-StrictMode -Version Latest$/m.test(script.text)
    const stop = /^\$ErrorActionPreference = 'Stop'$/m.test(script.text)
    if (script.name === 'lib.ps1') {
      if (!strict || !stop) missing.push(finding(script, 1, 'does not set strict mode and Stop'))
    } else if (STARTED.has(script.name) && first?.name !== '"$PSScriptRoot\\lib.ps1"') {
      missing.push(finding(script, 1, 'does not begin with lib.ps1'))
    }
    return missing
  })

const STARTED = new Set(['setup.ps1', 'start.ps1', 'guest.ps1'])

function isInFunction(node: Node): boolean {
  return node.parent !== null && (node.parent.type === 'function_statement' || isInFunction(node.parent))
}

// Those of PowerShell itself that the scripts use.
const AUTOMATIC = new Set(['_', 'true', 'false', 'null', 'psscriptroot', 'lastexitcode', 'matches'])

/**
 * What a started script and the scripts that it reads use is also defined there. Strict mode would say the same of a
 * misspelt variable, but only in a guest, and only when the line is reached.
 */
const definesWhatItUses: Rule = scripts =>
  scripts
    .filter(script => STARTED.has(script.name))
    .flatMap(started => {
      const read = commandsOf(started).filter(command => command.operator === '.')
      const loaded = [started, ...scripts.filter(script => read.some(command => command.name.includes(script.name)))]
      const shared = new Set(loaded.flatMap(script => variablesSet(script, false)))
      const known = new Set(loaded.flatMap(script => [...functionsOf(script).keys()]))
      const anywhere = new Set(scripts.flatMap(script => [...functionsOf(script).keys()]))
      return loaded.flatMap(script => {
        const own = new Set(variablesSet(script, true))
        const variables = script.root
          .descendantsOfType('variable')
          .map(node => ({ node, name: variableName(node) }))
          .filter(({ name }) => !name.startsWith('env:') && !AUTOMATIC.has(name))
          .filter(({ name }) => !own.has(name) && !shared.has(name))
          .map(({ node }) => finding(script, lineOf(node), `${started.name} sets no ${node.text}`))
        const functions = commandsOf(script)
          .filter(({ name }) => anywhere.has(name) && !known.has(name))
          .map(({ node, name }) => finding(script, lineOf(node), `${started.name} reads no script with ${name}`))
        return [...variables, ...functions]
      })
    })

function variableName(node: Node): string {
  return node.text
    .trim()
    .replace(/^[$@]\{?|\}$/g, '')
    .toLowerCase()
}

/** The variables that a script sets: those of its functions and their parameters too, or only those that others see. */
function variablesSet(script: Script, local: boolean): string[] {
  const setters = script.root.descendantsOfType(['left_assignment_expression', 'script_parameter', 'foreach_statement'])
  return setters
    .filter(node => local || !isInFunction(node))
    .map(node => node.descendantsOfType('variable')[0])
    .filter(node => node !== undefined)
    .map(variableName)
}

/** The members that the scripts read of a variable, as in `$Machine.name`, in lower case. */
export function membersOf(scripts: readonly Script[], variable: string): string[] {
  const members = scripts.flatMap(script =>
    script.root
      .descendantsOfType('member_access')
      .filter(node => node.firstNamedChild?.text.trim() === `$${variable}`)
      .map(node => node.namedChildren[1]?.text ?? '')
  )
  return [...new Set(members)].sort()
}

/** A stage has Name, Test and Run, and says in a comment above Test how it knows that it is done. */
const explainsStages: Rule = scripts =>
  scripts.flatMap(script =>
    stageHashes(script).flatMap(hash => {
      const entries = entriesOf(hash)
      const test = entries.find(entry => entry.key === 'Test')
      const says: Finding[] = []
      if (entries.map(entry => entry.key).join() !== 'Name,Test,Run') {
        says.push(finding(script, lineOf(hash), 'a stage has Name, Test and Run, in this order'))
      }
      if (test && test.node.previousSibling?.type !== 'comment') {
        says.push(finding(script, lineOf(test.node), 'no comment above Test says how the stage knows that it is done'))
      }
      return says
    })
  )

function stageHashes(script: Script): Node[] {
  return STAGE_LISTS.flatMap(name => assignedTo(script, name)).flatMap(list =>
    list.descendantsOfType('hash_literal_expression').filter(node => enclosingHash(node, list) === undefined)
  )
}

function enclosingHash(node: Node, top: Node): Node | undefined {
  for (let parent = node.parent; parent && parent.id !== top.id; parent = parent.parent) {
    if (parent.type === 'hash_literal_expression') return parent
  }
  return undefined
}

const STAGE_LISTS = ['SetupStages', 'ApplyStages', 'EngineStages'] as const

/** The names in one of the scripts' lists of stages, in order. */
export function stageNames(scripts: readonly Script[], list: (typeof STAGE_LISTS)[number]): string[] {
  const hashes = scripts.flatMap(script =>
    assignedTo(script, list).flatMap(value =>
      value.descendantsOfType('hash_literal_expression').filter(node => enclosingHash(node, value) === undefined)
    )
  )
  return hashes.flatMap(hash =>
    entriesOf(hash)
      .filter(entry => entry.key === 'Name')
      .map(entry => entry.value.text.replace(/^'(.*)'$/, '$1'))
  )
}

/** The literal cases of the one switch in a script, without its default. */
export function switchCases(script: Script): string[] {
  return script.root
    .descendantsOfType('switch_clause_condition')
    .map(node => node.text.trim())
    .filter(text => text !== 'default')
    .map(text => text.replace(/^'(.*)'$/, '$1'))
}

/** What a list entry would be for if no script used it: nobody would notice that it is wrong. */
const listsNothingUnused: Rule = (scripts, inventory) => {
  const all = scripts.flatMap(commandsOf)
  const used = new Map<string, Set<string>>()
  const signatures = signaturesOf(scripts, inventory)
  for (const command of all) {
    const names = used.get(command.name) ?? new Set<string>()
    for (const name of bind(command, signatures.get(command.name) ?? new Map()).parameters) names.add(name)
    used.set(command.name, names)
  }
  const cmdlets = Object.entries(inventory.cmdlets).flatMap(([name, { parameters = [], switches = [] }]) => {
    const seen = used.get(name)
    if (!seen) return [`cmdlets.json: no script uses ${name}`]
    return [...parameters, ...switches]
      .filter(parameter => !seen.has(parameter))
      .map(parameter => `cmdlets.json: no script uses ${name} -${parameter}`)
  })
  const programs = new Set(all.flatMap(command => programsOf(command, scripts)))
  return [
    ...cmdlets,
    ...Object.keys(inventory.programs)
      .filter(name => !programs.has(name))
      .map(name => `cmdlets.json: no script runs ${name}`)
  ]
}

/** Every entry is in the oldest release that we install, and says where that can be read. */
const existsSinceOldest: Rule = (_scripts, inventory) =>
  [...Object.entries(inventory.cmdlets), ...Object.entries(inventory.programs)]
    .filter(
      ([, { since, source }]) =>
        since !== OLDEST_RELEASE || !/^https:\/\/(learn\.microsoft|docs\.docker)\.com\//.test(source)
    )
    .map(([name, { since }]) => `cmdlets.json: ${name} is there since ${since}, or without a source`)

const OLDEST_RELEASE = '2016'

export const RULES = {
  parses,
  isAscii,
  hasNoContinuation,
  isFiveOne,
  usesNothingForbidden,
  usesKnownCommands,
  runsKnownPrograms,
  keepsSecrets,
  isStrict,
  definesWhatItUses,
  explainsStages,
  listsNothingUnused,
  existsSinceOldest
} satisfies Record<string, Rule>
