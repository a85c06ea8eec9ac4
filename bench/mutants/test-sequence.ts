import type { TestSpecification } from "vitest/node";
import { BaseSequencer } from "vitest/node";
/** Test files in the order that notices a mutant soonest: small ones first. */
export default class extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    return (await super.sort(files)).reverse();
  }
}
