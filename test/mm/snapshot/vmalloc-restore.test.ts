import { describe, expect, it } from "vitest";
import {
  dumpPageTables,
  KERNEL_VERSIONS,
  parseVmallocinfoLine,
  VMALLOC_DUMP_END,
  VMALLOC_START,
  vmallocinfo,
  vmallocMeminfo,
} from "../../../mm/index.ts";
import type { Kernel } from "../../../src/machine/kernel.ts";
import { busyKernel, record, restored } from "./recorded-kernel.ts";

const PAGE = 4096;

/** All that a kernel shows of vmalloc. */
function shown(kernel: Kernel): object {
  return {
    state: record(kernel),
    vmallocinfo: vmallocinfo(kernel.vm),
    tables: dumpPageTables(kernel.tables, VMALLOC_START, VMALLOC_DUMP_END),
    meminfo: vmallocMeminfo(kernel.vm),
    memoryTypes: kernel.mm.memoryTypes,
  };
}

describe.each(KERNEL_VERSIONS.map(({ name }) => name))("a kernel of %s brought into a recorded state", (version) => {
  const kernel = busyKernel(version);
  const recorded = record(kernel);

  it("shows all of it again, and is sound", () => {
    const other = restored(version, recorded);
    expect(shown(other)).toEqual(shown(kernel));
    expect(other.verify()).toEqual([]);
    expect(recorded.snapshot.blocks.length).toBeGreaterThan(1);
    expect(recorded.snapshot.lazy.length).toBeGreaterThan(0);
    if (version >= "6.12" || version === "7.3")
      expect(recorded.snapshot.pool.length > 0).toBe(kernel.mm.version.hasVmapNodes);
  });

  it("has areas whose callers are not known where the recording does not say them", () => {
    const { details } = recorded;
    const unnamed = details.filter(({ caller }) => caller.startsWith("caller_"));
    const other = restored(version, { ...recorded, details: details.filter((each) => !unnamed.includes(each)) });
    const lineOf = (start: number): string =>
      vmallocinfo(other.vm).find((line) => parseVmallocinfoLine(line).start === start) ?? "";
    expect(unnamed.length).toBeGreaterThan(3);
    for (const { start } of unnamed) expect(parseVmallocinfoLine(lineOf(start)).caller).toBe("");
  });

  it("goes on as the recorded one: the same calls get the same addresses", () => {
    const other = restored(version, recorded);
    const calls = (on: Kernel): number[] => {
      const frames = on.allocFrames(64);
      const got: number[] = [];
      const { start } = recorded.details.find(({ caller }) => caller.startsWith("caller_3+")) ?? { start: 0 };
      for (let i = 1; i < 40; i++) {
        got.push(on.vmalloc(i * PAGE), on.vmMapRam(frames.subarray(0, 1 + (i % 20))));
        if (i % 7 === 0) on.vfree(got[i - 1]);
      }
      on.vmUnmapAliases();
      on.vfree(start);
      got.push(on.vmallocAlign(3 * PAGE, 16 * PAGE), on.vmalloc(900 * PAGE));
      return got;
    };
    expect(calls(other)).toEqual(calls(kernel));
    expect(record(other).snapshot).toEqual(record(kernel).snapshot);
    expect(other.verify()).toEqual([]);
  });
});
