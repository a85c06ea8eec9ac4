/**
 * Prints, as JSON, which places of the code each test of the explorer reaches while its threads run: `reach-sites.js SCHEDULES`. Run from a copy
 * in which each place sets its number in `globalThis.raceSites`.
 */
import { Explorer } from "../../src/explore/base/explorer.ts";
import { runShare } from "../../src/explore/base/plan.ts";
import { EXPLORE_TESTS } from "../../src/explore/tests/index.ts";

/** Numbers of places, by the name of the test that reaches them. */
export type ReachedSites = Readonly<Record<string, readonly number[]>>;

const place = globalThis as { raceSites?: Record<number, number> };

function reachedBy(schedules: number): ReachedSites {
  const reached: Record<string, readonly number[]> = {};
  for (const test of EXPLORE_TESTS) {
    const explorer = new Explorer(test);
    const sites: Record<number, number> = {};
    place.raceSites = sites;
    runShare(
      explorer,
      { strategy: "exhaustive", preemptions: 2, sleepSets: true, depth: 0, seed: 0 },
      { root: [], first: 0, count: schedules },
    );
    place.raceSites = {};
    reached[test.name] = Object.keys(sites).map(Number);
  }
  return reached;
}

process.stdout.write(JSON.stringify(reachedBy(Number(process.argv[2]))));
