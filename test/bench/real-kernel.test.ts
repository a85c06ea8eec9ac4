import { expect, it } from "vitest";
import { readSummaries, timeRealKernel } from "../../bench/test-vmalloc/real-kernel.ts";

const LOG = `[    0.95] Run /init as init process
Summary: fix_size_alloc_test passed: 1 failed: 0 repeat: 1 loops: 100000 avg: 424200 usec
[   12.3] Summary: align_shift_alloc_test passed: 0 failed: 1 repeat: 1 loops: 100000 avg: 9 usec\r
Summary: pcpu_alloc_test passed: 1 failed: 0 repeat: 1 loops: 100000 avg: 700000 usec
All test took worker0=7912839286 cycles`;

it("the module's report is read out of a kernel's log, per loop that was really made", () => {
  expect([...readSummaries(LOG)]).toEqual([
    ["fix_size_alloc_test", 4.242],
    ["align_shift_alloc_test", 0.00009],
    ["pcpu_alloc_test", 20],
  ]);
});

it("the command gets the module's parameters, and one that prints no report is named", () => {
  const echo = "echo Summary: x_test passed: 1 failed: 0 repeat: 1 loops: 2 avg: 3 usec #";
  expect(timeRealKernel(echo, ["nr_pages=16"]).get("x_test")).toBe(1.5);
  expect(() => timeRealKernel("echo", ["nr_pages=16"])).toThrow(/of: echo nr_pages=16/);
});
