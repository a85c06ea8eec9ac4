import { defineConfig } from "vitest/config";
import ShortestFirst from "./bench/mutants/test-sequence.ts";

/** For `npm run mutants`, which says which tests are to be run. */
export default defineConfig({
  test: {
    include: JSON.parse(process.env.MMULAB_MUTANT_TESTS ?? '["test/{arch,mm}/**/*.test.ts"]'),
    testTimeout: 120_000,
    sequence: { sequencer: ShortestFirst },
  },
});
