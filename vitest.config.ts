import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    testTimeout: 120_000,
    // What runs in processes that a test starts (the command, worker threads) is not counted.
    coverage: {
      provider: "v8",
      include: ["arch/**", "mm/**", "src/**"],
      reporter: ["text", "html"],
      reportsDirectory: "coverage",
    },
  },
});
