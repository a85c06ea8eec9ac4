/** `mmulab explore`: the same result whatever the number of worker threads; all tests in one run. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { EXPLORE_TESTS } from "../../../src/explore/tests/index.ts";
import { mmulab, resultIn } from "../run-cli.ts";

/** Searches that fail late in an exhaustive one, fail in a drawn one, and end without a failure and with schedules left out. */
const SEARCHES: readonly (readonly [what: string, args: readonly string[]])[] = [
  ["an exhaustive search that fails", ["mremap-against-truncate", "--bug", "mremapReleasesBeforeFlush"]],
  [
    "a random walk that fails",
    ["switch-against-munmap", "--bug", "cpumaskAfterGeneration", "--strategy", "random", "--schedules", "3000"],
  ],
  ["a search to the end", ["lazy-against-freed-tables", "--preemptions", "1"]],
];

describe("the number of worker threads", () => {
  it.each(SEARCHES)("changes nothing in %s", (_what, args) => {
    const runs = ["1", "2", "3"].map((jobs) => mmulab("explore", ...args, "--jobs", jobs, "--json"));
    const [one, two, three] = runs.map(({ stdout }) => resultIn(stdout));
    // Counts, the failure, its schedule as short as it gets, and the story.
    expect(two).toEqual(one);
    expect(three).toEqual(one);
    const fails = args.includes("--bug");
    expect(runs.map(({ status }) => status)).toEqual(fails ? [1, 1, 1] : [0, 0, 0]);
    expect(one.schedule !== null).toBe(fails);
    expect(one.found.isComplete).toBe(!fails);
    expect(one.found.redundant > 0).toBe(!fails);
  });
});

describe("explore --all", () => {
  it("runs every test, and goes on after one that fails", () => {
    const few = ["--strategy", "random", "--schedules", "2", "--jobs", "1"];
    const { stdout, status } = mmulab("explore", "--all", ...few, "--bug", "munmapFreesBeforeFlush", "--json");
    expect(status).toBe(1);
    const { tests } = resultIn(stdout);
    expect(tests.map(({ test }: { test: string }) => test)).toEqual(EXPLORE_TESTS.map(({ name }) => name));
    const failed = tests.filter(({ failure }: { failure: object | null }) => failure !== null);
    expect(failed.length).toBeGreaterThan(0);
    expect(failed.length).toBeLessThan(tests.length);
    expect(failed[0].failure.schedule).toMatch(/^(-|\d+\.\d+(-\d+\.\d+)*)$/);
  });

  it("names what does not go together", () => {
    for (const args of [["two-purges"], ["--schedule", "-"], ["--timeline", "t.json"]]) {
      const { stderr, status } = mmulab("explore", "--all", ...args);
      expect(status).toBe(2);
      expect(stderr).toContain("--all");
    }
  });
});

describe("the machine of a test", () => {
  it("is of the version and microarchitecture that are asked for, and the line to run it again says so", () => {
    const set = ["tlbs.0.ways=4", "kernel.callCycles=99"];
    const machine = ["--kernel", "7.3", "--preset", "zen3", ...set.flatMap((word) => ["--set", word])];
    const search = ["double-vfree", "--bug", "removeVmAreaFindsTwice", ...machine, "--jobs", "1"];
    const { stdout, status } = mmulab("explore", ...search);
    expect(status).toBe(1);
    const again = /again: mmulab (explore double-vfree .*)$/m.exec(stdout)?.[1] ?? "";
    expect(again).toContain(
      " --bug removeVmAreaFindsTwice --kernel 7.3 --preset zen3 --set tlbs.0.ways=4 --set kernel.callCycles=99 --schedule ",
    );
    const replayed = mmulab(...again.split(" "), "--json");
    expect(replayed.status).toBe(1);
    expect(resultIn(replayed.stdout)).toMatchObject({ preset: "zen3", kernel: "7.3", set, found: null });
  });

  it.each([
    ["tlbs.0.way=4", "unknown figure 'tlbs.0.way' (did you mean tlbs.0.ways?)"],
    ["kernel.callCycles=-4", "--set kernel.callCycles -4: expected a number from 0 to 2^32"],
    ["hypervisor.icr=4", "--set hypervisor.icr=4: what a hypervisor costs decides nothing here"],
  ])("has no figure %s", (word, message) => {
    const { stderr, status } = mmulab("explore", "double-vfree", "--set", word);
    expect(status).toBe(2);
    expect(stderr).toContain(message);
  });

  it("is not one that nobody knows", () => {
    const { stderr, status } = mmulab("explore", "double-vfree", "--preset", "zen33");
    expect(status).toBe(2);
    expect(stderr).toMatch(/^mmulab: unknown preset 'zen33'.*\n$/);
  });
});

/** The test of one's own that a page shows: its first TypeScript that has threads. */
function shownTest(page: string): string {
  const blocks = readFileSync(page, "utf8").matchAll(/```ts\n(.*?)```/gs);
  for (const [, code] of blocks) if (code.includes("threads: [")) return code;
  throw new Error(`${page} shows no test`);
}

describe("a test of one's own", () => {
  it.each(["README.md", "docs/explore.md"])("is as %s shows it, and does what is said of it", (page) => {
    const folder = mkdtempSync(join(tmpdir(), "mmulab-explore-"));
    try {
      const file = join(folder, "use-after-free.ts");
      const timeline = join(folder, "timeline.json");
      writeFileSync(file, shownTest(page));
      const found = mmulab("explore", file, "--timeline", timeline, "--jobs", "2", "--json");
      expect(found.stderr).toBe("");
      expect(found.status).toBe(1);
      expect(resultIn(found.stdout).failure.kind).toBe("fault");
      expect(JSON.parse(readFileSync(timeline, "utf8")).traceEvents.length).toBeGreaterThan(0);
      const other = mmulab("explore", file, "--schedule", "0.1");
      expect(other.status).toBe(0);
      expect(other.stdout).toContain("nothing is wrong");
      const impossible = mmulab("explore", file, "--schedule", "0.1-99.1");
      expect(impossible.status).toBe(2);
      expect(impossible.stderr).toMatch(
        /^mmulab: --schedule 0.1-99.1: expected choices that this test has \(\d+ in all\); .* 0.1\n$/,
      );
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });
});
