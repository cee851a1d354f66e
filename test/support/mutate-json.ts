import type { Random } from './random.ts'

/** What somebody might write where something else is expected. Each has come from a bug of a parser, here or elsewhere. */
const ODD: readonly unknown[] = [
  null,
  true,
  0,
  -1,
  0.5,
  1e308,
  2 ** 53,
  '',
  ' ',
  '../../../etc/passwd',
  'C:\\Windows\0',
  'a'.repeat(5000),
  '\u0000\u001b[2J\ud800',
  [],
  {},
  [[]],
  [null],
  { toString: 1, valueOf: 1 },
  { length: 1e9, 0: 'x' },
  'sha256:../../../../tmp/evil',
  `sha256:${'A'.repeat(64)}`,
  `sha256:${'0'.repeat(63)}`,
  `sha512:${'0'.repeat(128)}`,
  `md5:${'0'.repeat(32)}`,
  `__proto__:${'0'.repeat(64)}`
]

const KEYS = [
  ...['__proto__', 'constructor', 'toString', 'hasOwnProperty', ''],
  ...['manifests', 'layers', 'config', 'mediaType', 'schemaVersion', 'fsLayers', 'urls', 'size', 'digest', 'rootfs']
]

/** The JSON text of `value` after a few changes to it; equal for equal numbers. Some of it is no JSON any more. */
export function mutatedJson(value: unknown, random: Random): string {
  const root = { value: structuredClone(value) }
  for (let change = 1 + random.below(4); change > 0; change--) mutateOnce(root, random)
  let text = JSON.stringify(root.value) ?? ''
  // A key that JSON.stringify() does not write for an object like any other.
  if (random.chance(10)) text = text.replace('{', `{"__proto__":${JSON.stringify(random.pick(ODD))},`)
  if (random.chance(5)) text = `${text.slice(0, random.below(text.length))}${random.pick(['', '\0', '}', '\ufeff'])}`
  if (random.chance(3)) {
    const depth = random.pick([90, 150, 20_000])
    text = text.replace(':', `:${'['.repeat(depth)}${']'.repeat(depth)},"x":`)
  }
  return text
}

function mutateOnce(root: { value: unknown }, random: Random): void {
  const places = placesOf(root)
  const { holder, key } = random.pick(places)
  const old = (holder as Record<string, unknown>)[key]
  const kind = random.below(6)
  if (kind === 0 && Array.isArray(holder)) holder.splice(Number(key), 1)
  else if (kind === 0 && holder !== root) delete (holder as Record<string, unknown>)[key]
  else if (kind === 1 && Array.isArray(old)) old.splice(0, random.pick([0, 1, 9]), ...old.slice(0, random.below(4)))
  else if (kind === 2 && Array.isArray(old)) {
    for (let more = random.pick([1, 1, 1, 1, 1, 1, 130, 2500]); more > 0; more--)
      old.push(structuredClone(old[0] ?? null))
  } else if (kind === 3 && !Array.isArray(holder)) {
    const name = random.pick(KEYS)
    Object.defineProperty(holder, name, { value: odd(random), enumerable: true, configurable: true, writable: true })
  } else if (kind === 4) (holder as Record<string, unknown>)[key] = structuredClone(random.pick(places).holder)
  else (holder as Record<string, unknown>)[key] = odd(random)
}

/** Of its own each time, since the next change may be made to it. */
function odd(random: Random): unknown {
  return structuredClone(random.pick(ODD))
}

/** Every value, by what holds it. */
function placesOf(holder: object): { holder: object; key: string }[] {
  return Object.entries(holder).flatMap(([key, value]) => [
    { holder, key },
    ...(typeof value === 'object' && value !== null ? placesOf(value) : [])
  ])
}
