import { Refusal } from './refusal.ts'

/** The `filters` of a request: names and the values that each may have. */
export type Filters = Map<string, string[]>

/** Reads `filters`, in today's form (`{"label":["a"]}`) and the old one (`{"label":{"a":true}}`). A Refusal when it is neither. */
export function readFilters(query: URLSearchParams): Filters {
  const text = query.get('filters')
  const filters: Filters = new Map()
  if (text === null || text === '') return filters
  for (const [name, values] of Object.entries(parse(text))) {
    if (Array.isArray(values)) filters.set(name, values.map(String))
    else if (typeof values === 'object' && values !== null) filters.set(name, Object.keys(values))
    else throw invalid()
  }
  return filters
}

function parse(text: string): object {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    throw invalid()
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw invalid()
  return value
}

function invalid(): Refusal {
  return new Refusal('invalid filter')
}

/** The query with these filters in place of its own. */
export function withFilters(query: URLSearchParams, filters: Filters): URLSearchParams {
  const changed = new URLSearchParams(query)
  changed.delete('filters')
  if (filters.size > 0) changed.set('filters', JSON.stringify(Object.fromEntries(filters)))
  return changed
}

/** The query with one more label that is asked for, besides the client's own filters. */
export function withLabel(query: URLSearchParams, label: string): URLSearchParams {
  const filters = readFilters(query)
  filters.set('label', [...(filters.get('label') ?? []), label])
  return withFilters(query, filters)
}
