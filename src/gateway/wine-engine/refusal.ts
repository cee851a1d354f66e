/**
 * A request that is refused, with the HTTP status of the answer. The proxy makes a Docker error of anything thrown that
 * carries a numeric `status`.
 */
export class Refusal extends Error {
  override readonly name = 'Refusal'
  readonly status: number

  constructor(message: string, status = 400) {
    super(message)
    this.status = status
  }
}

/**
 * The refusal of what Wine cannot do and a machine with a real Windows can. `what` continues "this machine cannot", e.g.
 * `run PowerShell`.
 */
export function cannot(what: string, driver: 'qemu' | 'fusion' = 'qemu'): Refusal {
  return new Refusal(
    `this machine runs Windows programs on Wine and cannot ${what}; a machine with a real Windows can: oriel up win --driver ${driver}`
  )
}
