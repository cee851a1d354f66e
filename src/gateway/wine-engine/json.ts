/** A JSON object as the engine sends it: fields that nobody here knows stay in it. */
export type Json = Record<string, unknown>

/** The value when it is an object, otherwise an empty one: answers of engines differ in what they leave out. */
export function objectOf(value: unknown): Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Json) : {}
}

/** The objects of a list; an engine sends null for an empty one. */
export function objectsOf(value: unknown): Json[] {
  return Array.isArray(value) ? value.map(objectOf) : []
}

export function stringOf(value: unknown): string {
  return typeof value === 'string' ? value : ''
}

export function numberOf(value: unknown): number {
  return typeof value === 'number' ? value : 0
}

/** The texts of a list or of an object's values: labels, attributes. */
export function stringsOf(value: unknown): Record<string, string> {
  return Object.fromEntries(
    Object.entries(objectOf(value)).filter((entry): entry is [string, string] => typeof entry[1] === 'string')
  )
}

/** `object` without these fields. */
export function without(object: Json, names: readonly string[]): Json {
  return Object.fromEntries(Object.entries(object).filter(([name]) => !names.includes(name)))
}
