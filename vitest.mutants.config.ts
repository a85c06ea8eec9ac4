import { defineConfig, type Plugin } from "vitest/config";
import type { PlantedMutant } from "./bench/mutants/planted-mutant.ts";
import ShortestFirst from "./bench/mutants/test-sequence.ts";

/** Puts a mutant into what tests read of its file. */
function planting({ file, search, replacement }: PlantedMutant): Plugin {
  return {
    name: "planted mutant",
    enforce: "pre",
    transform(code, id) {
      if (!id.endsWith(`/${file}`)) return null;
      if (code.split(search).length !== 2) throw new Error(`${file}: expected this text once: ${search}`);
      return { code: code.replace(search, () => replacement), map: null };
    },
  };
}

const planted = process.env.MMULAB_PLANTED_MUTANT;

/** For `npm run mutants` and `npm run mutants:planted`, which say which tests are to be run. */
export default defineConfig({
  plugins: planted === undefined ? [] : [planting(JSON.parse(planted))],
  test: {
    include: JSON.parse(process.env.MMULAB_MUTANT_TESTS ?? '["test/{arch,mm}/**/*.test.ts"]'),
    testTimeout: 120_000,
    sequence: { sequencer: ShortestFirst },
  },
});
