import * as v from 'valibot'
import { Document, isMap, parseDocument } from 'yaml'
import type { EngineReference } from '#driver/driver.ts'
import { Fault } from '#lib/fault.ts'

/** How to reach an engine. Keys stay where they are: `tlsFolder` holds ca.pem, cert.pem and key.pem. */
const EngineSpec = v.strictObject({
  url: v.pipe(
    v.string('must be text such as unix:///var/run/docker.sock'),
    v.regex(/^(unix|tcp|http|https|ssh):\/\/./, 'must begin with unix://, tcp:// or ssh://')
  ),
  tlsFolder: v.optional(v.pipe(v.string('must be the path of a folder'), v.minLength(1, 'must not be empty'))),
  skipVerify: v.optional(v.boolean('must be true or false'))
})

const MachineSpecSchema = v.strictObject({
  driver: v.optional(v.string('must be the name of a driver, such as wine'), 'wine'),
  engine: v.optional(EngineSpec)
})

/** What a person wants of a machine: the content of machine.yaml. */
export type MachineSpec = v.InferOutput<typeof MachineSpecSchema>

/** Reads machine.yaml. A Fault (3) lists every problem at once, each with its field and line. */
export function parseSpec(text: string, file: string): MachineSpec {
  const document = parseDocument(text)
  const broken = document.errors.map(error => error.message.split('\n')[0] ?? error.message)
  if (broken.length > 0) throw specFault(file, broken)
  const result = v.safeParse(MachineSpecSchema, document.toJS() ?? {})
  if (result.success) return result.output
  throw specFault(
    file,
    result.issues.map(issue => {
      const path = (issue.path ?? []).map(item => String(item.key))
      const node = document.getIn(path, true) as { range?: [number, number, number] } | undefined
      const at = node?.range === undefined ? '' : ` (line ${text.slice(0, node.range[0]).split('\n').length})`
      return `${path.join('.') || 'the file'}${at}: ${reasonOf(issue)}`
    })
  )
}

/** The text of machine.yaml for a spec. What is in `former` and still true keeps its comments. */
export function formatSpec(spec: MachineSpec, machine: string, former = ''): string {
  const parsed: Document = parseDocument(former)
  const document = isMap(parsed.contents) ? parsed : new Document({})
  if (document !== parsed)
    document.commentBefore = ` Oriel machine "${machine}". After a change: oriel restart ${machine}`
  for (const [key, value] of Object.entries(spec)) {
    const present = document.get(key)
    const plain = isMap(present) ? present.toJSON() : present
    if (JSON.stringify(plain) !== JSON.stringify(value)) document.set(key, document.createNode(value))
  }
  return document.toString()
}

/** The engine of a spec; valibot writes absent keys as undefined. */
export function recordedEngine(engine: NonNullable<MachineSpec['engine']>): EngineReference {
  return {
    url: engine.url,
    ...(engine.tlsFolder === undefined ? {} : { tlsFolder: engine.tlsFolder }),
    ...(engine.skipVerify === undefined ? {} : { skipVerify: engine.skipVerify })
  }
}

function reasonOf(issue: v.BaseIssue<unknown>): string {
  if (issue.type === 'strict_object') {
    return issue.expected === 'never' ? 'is not a setting that Oriel knows' : `must be a ${issue.expected ?? 'mapping'}`
  }
  return `${issue.message}, not ${issue.received}`
}

function specFault(file: string, problems: string[]): Fault {
  return new Fault(`${file} is not valid:\n${problems.map(problem => `  ${problem}`).join('\n')}`, {
    exitCode: 3,
    hint: 'Correct the file, or remove the machine with: oriel rm --force NAME'
  })
}
