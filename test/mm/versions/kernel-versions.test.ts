import { describe, expect, it } from "vitest";
import { KERNEL_VERSIONS, kernelVersionByName, kernelVersionOfRelease } from "../../../mm/index.ts";

/** Properties in which versions differ: 6.1, 6.6, 6.12, 6.15, 7.3. */
const DIFFERENCES = {
  release: ["6.1.192", "6.6", "6.12.117", "6.15", "7.3.4"],
  isRecorded: [true, false, true, false, true],
  hasVmapNodes: [false, false, true, true, true],
  areaFlagsMask: [0, -1, -1, -1, -1],
  hasRequestedSize: [false, false, true, true, true],
  tiesVmUnderLock: [true, true, false, false, false],
  vfreeFindsFirst: [true, false, false, false, false],
  variablesLayout: ["locks together", "locks together", "locks apart", "locks apart", "locks apart"],
  mergesLazyAreas: [true, true, false, false, false],
  reclaimsLastFirst: [false, false, true, true, true],
  drainRepeats: [true, true, false, false, false],
  nowaitSkipsOverflow: [false, false, false, false, true],
  asksLargeOrdersFirst: [false, false, false, false, true],
  failedAreasFreedByWork: [false, false, false, false, true],
  vmallocUsedLags: [false, false, false, false, true],
  vreallocFreesTail: [false, false, false, false, true],
  zapDrainsLru: [true, true, true, false, false],
  lruAddPages: [15, 15, 31, 31, 31],
  lruReleasePages: [32, 32, 31, 31, 31],
  gatherEntriesKept: [0, 0, 1, 1, 1],
  gathersTablesWithPages: [true, true, true, false, false],
  hasPerVmaLock: [false, true, true, true, true],
  vmaLockNeedsAnonVma: [true, true, false, false, false],
  madviseLocksVma: [false, false, false, false, true],
  hasVmaRefcount: [false, false, false, true, true],
  usesInvlpgb: [false, false, false, true, true],
  hasSetMemoryRox: [false, true, true, true, true],
  joinsRoxPages: [false, false, false, true, true],
  hasExecmemCache: [false, false, false, false, true],
} as const;

const [LINUX_6_1, LINUX_6_6, LINUX_6_12, LINUX_6_15, LINUX_7_3] = KERNEL_VERSIONS;

describe("the versions of Linux", () => {
  it("are five, the oldest first", () => {
    expect(KERNEL_VERSIONS.map(({ name }) => name)).toEqual(["6.1", "6.6", "6.12", "6.15", "7.3"]);
  });

  it.each(Object.entries(DIFFERENCES))("differ in %s", (name, values) => {
    expect(KERNEL_VERSIONS.map((version) => version[name as keyof typeof DIFFERENCES])).toEqual(values);
  });

  it("file vmap blocks by address until 6.4, without a threshold, and look through their queues only", () => {
    expect(LINUX_6_1.blocks).toEqual({ hasPurgeThreshold: false, filedByCpu: false, aliasesScan: "free lists" });
    for (const { blocks } of [LINUX_6_6, LINUX_6_12, LINUX_6_15, LINUX_7_3]) {
      expect(blocks).toEqual({ hasPurgeThreshold: true, filedByCpu: true, aliasesScan: "all" });
    }
  });

  it("take a quarter of a pool when it decays: 6.12 all of one to three areas, 7.3 none", () => {
    const taken = (version: typeof LINUX_6_12, full: boolean): number[] =>
      [0, 1, 2, 3, 4, 7, 8, 100].map((length) => version.decayOf(length, full).areas);
    expect(taken(LINUX_6_12, false)).toEqual([0, 1, 2, 3, 1, 1, 2, 25]);
    expect(taken(LINUX_7_3, false)).toEqual([0, 0, 0, 0, 1, 1, 2, 25]);
    for (const version of [LINUX_6_12, LINUX_7_3]) {
      expect(taken(version, true)).toEqual([0, 1, 2, 3, 4, 7, 8, 100]);
    }
  });

  it("show a pool's length and what decays differently while all of it goes", () => {
    expect(LINUX_6_12.decayOf(10, true)).toEqual({ areas: 10, shownLength: 0, shownDecay: 0 });
    expect(LINUX_7_3.decayOf(10, true)).toEqual({ areas: 10, shownLength: 10, shownDecay: 10 });
    expect(LINUX_6_12.decayOf(10, false)).toEqual({ areas: 2, shownLength: 10, shownDecay: 2 });
    expect(LINUX_6_12.decayOf(3, false)).toEqual({ areas: 3, shownLength: 3, shownDecay: 0 });
    expect(LINUX_7_3.decayOf(10, false)).toEqual({ areas: 2, shownLength: 10, shownDecay: 2 });
  });

  it("look for an address among other nodes upwards in 6.12, downwards in 7.3, and round", () => {
    const ways = [LINUX_6_12, LINUX_7_3].map((version) =>
      [0, 1, 2, 3].map((node) => version.nextNodeToSearch(node, 4)),
    );
    expect(ways).toEqual([
      [1, 2, 3, 0],
      [3, 0, 1, 2],
    ]);
  });

  it("map large pages for a share of a NUMA machine's nodes in 6.12, for the whole in 7.3", () => {
    expect(KERNEL_VERSIONS.map((version) => version.hugeSizeOf(2 ** 23, 4))).toEqual([
      2 ** 21,
      2 ** 21,
      2 ** 21,
      2 ** 21,
      2 ** 23,
    ]);
  });

  it("are found by name, or the name is refused with those that there are", () => {
    for (const version of KERNEL_VERSIONS) expect(kernelVersionByName(version.name)).toBe(version);
    expect(() => kernelVersionByName("6.13")).toThrow(/kernel 6\.13: expected 6\.1, 6\.6, 6\.12, 6\.15, 7\.3/);
  });

  it("are found by a release: by its first two numbers, whatever follows", () => {
    expect(kernelVersionOfRelease("6.12.117-gt")).toBe(LINUX_6_12);
    expect(kernelVersionOfRelease("6.12-rc1")).toBe(LINUX_6_12);
    expect(kernelVersionOfRelease("6.1")).toBe(LINUX_6_1);
    expect(kernelVersionOfRelease("6.1.9")).toBe(LINUX_6_1);
    for (const other of ["6.13.1", "6.120.1", "6", "", "x6.12", "6.12x"])
      expect(kernelVersionOfRelease(other)).toBeNull();
  });
});
