import { Fault } from '#lib/fault.ts'

/** A Dockerfile that Docker would refuse too; the message is Docker's own. */
export class DockerfileFault extends Fault {}

/** A Dockerfile that a real Windows could build. `what` continues "this machine cannot", e.g. `run PowerShell`. */
export class BeyondWine extends Fault {
  readonly what: string
  readonly line: number
  /** The instruction as written, continuations joined. */
  readonly instruction: string

  constructor(what: string, where: { line: number; original: string }) {
    super(`Dockerfile line ${where.line}: ${where.original}: Wine cannot ${what}`)
    this.what = what
    this.line = where.line
    this.instruction = where.original
  }
}

/** Docker's words for an instruction that is wrong in itself. */
export function parseFault(line: number, what: string): DockerfileFault {
  return new DockerfileFault(`dockerfile parse error line ${line}: ${what}`)
}
