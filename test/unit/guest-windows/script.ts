import { createRequire } from 'node:module'
import { Language, type Node, Parser } from 'web-tree-sitter'

export type { Node }

// As WebAssembly: the native parser would have to be compiled on some machines, and not all have a compiler.
await Parser.init()
const parser = new Parser()
const grammar = createRequire(import.meta.url).resolve('tree-sitter-powershell/tree-sitter-powershell.wasm')
parser.setLanguage(await Language.load(grammar))

/** A PowerShell script and its syntax tree. */
export interface Script {
  readonly name: string
  readonly text: string
  readonly root: Node
}

/** A piece of a command after its name; `joined` is a value written as `-Name:value`. */
export type Piece =
  | { readonly kind: 'parameter'; readonly name: string; readonly node: Node }
  | { readonly kind: 'value'; readonly joined: boolean; readonly node: Node }
  | { readonly kind: 'splat'; readonly name: string; readonly node: Node }

/** A command as it is written: `Get-Item -Path x`, `& $program`, `. "x.ps1"`. */
export interface Command {
  readonly node: Node
  readonly script: Script
  readonly operator: '' | '&' | '.'
  readonly name: string
  readonly pieces: readonly Piece[]
}

/** What a command takes, by parameter name; `switch` takes no value. */
export type Signature = ReadonlyMap<string, 'value' | 'switch'>

export function parseScript(name: string, text: string): Script {
  const tree = parser.parse(text)
  if (tree === null) throw new Error(`${name} was not parsed`)
  return { name, text, root: tree.rootNode }
}

/** 1-based, as editors count. */
export function lineOf(node: Node): number {
  return node.startPosition.row + 1
}

/** Every command of a script, also those inside strings and script blocks. */
export function commandsOf(script: Script): Command[] {
  return script.root.descendantsOfType('command').map(node => {
    const operator = node.children.find(child => child.type === 'command_invokation_operator')?.text.trim()
    return {
      node,
      script,
      operator: operator === '&' || operator === '.' ? operator : '',
      name: node.childForFieldName('command_name')?.text.trim() ?? '',
      pieces: piecesOf(node.childForFieldName('command_elements'))
    }
  })
}

function piecesOf(elements: Node | null): Piece[] {
  const pieces: Piece[] = []
  let joined = false
  for (const node of elements?.namedChildren ?? []) {
    if (node.type === 'command_argument_sep') {
      joined = node.text.includes(':')
    } else if (node.type === 'command_parameter') {
      pieces.push({ kind: 'parameter', name: node.text.replace(/^-/, ''), node })
    } else if (node.type !== 'redirection') {
      const name = /^@(\w+)$/.exec(node.text)?.[1]
      pieces.push(name === undefined ? { kind: 'value', joined, node } : { kind: 'splat', name, node })
    }
  }
  return pieces
}

/** The functions that a script defines, with their parameters. */
export function functionsOf(script: Script): Map<string, Signature> {
  const found = new Map<string, Signature>()
  for (const node of script.root.descendantsOfType('function_statement')) {
    const name = node.namedChildren.find(child => child.type === 'function_name')?.text ?? ''
    const block = node.namedChildren.find(child => child.type === 'script_block')
    const list = block?.namedChildren
      .find(child => child.type === 'param_block')
      ?.namedChildren.find(child => child.type === 'parameter_list')
    const signature = new Map<string, 'value' | 'switch'>()
    for (const parameter of list?.namedChildren ?? []) {
      const variable = parameter.namedChildren.find(child => child.type === 'variable')
      const type = parameter.namedChildren.find(child => child.type === 'attribute_list')?.text ?? ''
      if (variable) signature.set(variable.text.slice(1), /\[switch\]/i.test(type) ? 'switch' : 'value')
    }
    found.set(name, signature)
  }
  return found
}

/** What is assigned to `$name` anywhere in a script: the value's node, stripped of the expression levels around it. */
export function assignedTo(script: Script, name: string): Node[] {
  return script.root
    .descendantsOfType('assignment_expression')
    .filter(node => node.firstNamedChild?.text === `$${name}`)
    .map(node => node.childForFieldName('value'))
    .filter(value => value !== null)
    .map(stripped)
}

/** The grammar wraps a value in a level for each kind of expression that it could have been. */
export function stripped(node: Node): Node {
  const child = node.namedChildren[0]
  const wrapper = node.namedChildCount === 1 && child && child.text === node.text && !/^(string|hash)_/.test(child.type)
  if (wrapper) return stripped(child)
  return node.namedChildCount === 1 && child && child.text === node.text ? child : node
}

/** The entries of a hash literal, in order. */
export function entriesOf(hash: Node): { key: string; node: Node; value: Node }[] {
  const body = hash.namedChildren.find(child => child.type === 'hash_literal_body')
  const entries = body?.namedChildren.filter(child => child.type === 'hash_entry') ?? []
  return entries.map(node => {
    const [key, value] = node.namedChildren
    if (!key || !value) throw new Error(`an entry without a value: ${node.text}`)
    return { key: key.text.trim().replace(/^'(.*)'$/, '$1'), node, value: stripped(value) }
  })
}
