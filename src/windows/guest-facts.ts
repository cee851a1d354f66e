import * as v from 'valibot'

// A guest is not trusted: texts are for people's eyes, so no control characters, and no long ones.
const text = v.pipe(v.string(), v.maxLength(200), v.regex(/^[^\p{C}]*$/u))
const count = v.pipe(v.number(), v.integer(), v.minValue(0))

const FactsSchema = v.object({
  product: text,
  build: count,
  revision: count,
  evaluation: v.boolean(),
  daysLeft: v.nullable(count),
  rearmsLeft: v.nullable(count),
  engine: text,
  time: v.pipe(v.string(), v.isoTimestamp())
})

/** What a guest tells of itself, over COM1 and over ssh (guest/windows/CONTRACT.md); `time` is that of its own clock. */
export type FactsAnswer = v.InferOutput<typeof FactsSchema>

/** Undefined when it is not what a guest of ours says. */
export function parseFacts(value: unknown): FactsAnswer | undefined {
  const result = v.safeParse(FactsSchema, value)
  return result.success ? result.output : undefined
}
