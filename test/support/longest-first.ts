import { BaseSequencer, type TestSpecification } from 'vitest/node'

/** These take longer than all the rest: begun last, they would run on alone. */
const LONG = ['vm-failures.test.ts', 'vm.test.ts']

/** Begins with the longest tests, on a new machine too, where vitest has no times to go by. */
export class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const rank = ({ moduleId }: TestSpecification) => {
      const index = LONG.findIndex(name => moduleId.endsWith(`/${name}`))
      return index < 0 ? LONG.length : index
    }
    return (await super.sort(files)).toSorted((a, b) => rank(a) - rank(b))
  }
}
