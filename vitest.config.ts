import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    testTimeout: 120_000,
    // All of them: vitest leaves one idle otherwise, half of a machine of two.
    maxWorkers: "100%",
    // What runs in processes that a test starts (the command, worker threads) is not counted.
    coverage: {
      provider: "v8",
      include: ["arch/**", "mm/**", "src/**"],
      reporter: ["text", "html"],
      reportsDirectory: "coverage",
    },
  },
});
