import { type Lookup, lookupIn } from './expand.ts'
import { Growth } from './growth.ts'

/** Build arguments that need no ARG. */
const PREDEFINED = new Set(['HTTP_PROXY', 'HTTPS_PROXY', 'FTP_PROXY', 'NO_PROXY', 'ALL_PROXY'])

/** The `--build-arg`s of one build, and which of them an ARG named. */
export class BuildArguments {
  readonly #given: ReadonlyMap<string, string>
  readonly #used = new Set<string>()
  /** Of the whole build. */
  readonly growth = new Growth()
  /** ARGs before the first FROM, with their values. */
  readonly meta = new Map<string, string | undefined>()

  constructor(given: Readonly<Record<string, string | null>>) {
    this.#given = new Map(
      Object.entries(given).filter((entry): entry is [string, string] => typeof entry[1] === 'string')
    )
  }

  /** The value that a declared argument has: what was given, else its default. */
  declare(name: string, fallback: string | undefined): string | undefined {
    this.#used.add(name)
    return this.#given.get(name) ?? fallback
  }

  /** Proxy settings, which every RUN gets. */
  get proxies(): string[] {
    return [...this.#given].filter(([name]) => PREDEFINED.has(name.toUpperCase())).map(pair => pair.join('='))
  }

  /** Names that were given and that nothing declared. */
  get unused(): string[] {
    return [...this.#given.keys()].filter(name => !this.#used.has(name) && !PREDEFINED.has(name.toUpperCase())).sort()
  }

  /** The same lookup, but what it gives is counted: that is how text grows. */
  metered(lookup: Lookup): Lookup {
    return name => {
      const value = lookup(name)
      this.growth.add(value?.length ?? 0)
      return value
    }
  }

  /** For FROM and for the defaults of ARGs before it. */
  get metaLookup(): Lookup {
    return this.metered(lookupIn(entries(this.meta)))
  }
}

/** `NAME=value` of those that have a value. */
export function entries(values: ReadonlyMap<string, string | undefined>): string[] {
  return [...values].filter(([, value]) => value !== undefined).map(([name, value]) => `${name}=${value ?? ''}`)
}
