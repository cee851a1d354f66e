// @peculiar/x509 wires its parts with tsyringe, which asks for three functions of the metadata proposal on Reflect and
// refuses to load without. A package of its own for them would be larger than they are.
interface Metadata {
  getMetadata?: (key: unknown, target: object) => unknown
  getOwnMetadata?: (key: unknown, target: object) => unknown
  defineMetadata?: (key: unknown, value: unknown, target: object) => void
}

/** The X.509 library, loaded by the first who makes a certificate: it takes a tenth of a second. */
export async function loadX509(): Promise<typeof import('@peculiar/x509')> {
  provideMetadata(Reflect as Metadata)
  // Not its named exports: a bundle gives a CommonJS library as `default` only.
  return (await import('@peculiar/x509')).default
}

function provideMetadata(reflect: Metadata): void {
  if (reflect.getMetadata !== undefined) return
  const known = new WeakMap<object, Map<unknown, unknown>>()
  const own = (key: unknown, target: object) => known.get(target)?.get(key)
  reflect.getOwnMetadata = own
  reflect.getMetadata = (key, target) => {
    for (let at: object | null = target; at !== null; at = Object.getPrototypeOf(at)) {
      const value = own(key, at)
      if (value !== undefined) return value
    }
    return undefined
  }
  reflect.defineMetadata = (key, value, target) => {
    const values = known.get(target) ?? new Map<unknown, unknown>()
    known.set(target, values.set(key, value))
  }
}
