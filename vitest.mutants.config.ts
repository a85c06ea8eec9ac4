import { defineConfig } from "vitest/config";

/** For `npm run mutants`, which says which tests are to be run. */
export default defineConfig({
  test: {
    include: JSON.parse(process.env.MMULAB_MUTANT_TESTS ?? '["test/{arch,mm}/**/*.test.ts"]'),
    testTimeout: 120_000,
  },
});
