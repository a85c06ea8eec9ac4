import { expect, it } from "vitest";
import { readSummaries, timeRealKernel } from "../../bench/test-vmalloc/real-kernel.ts";

const LOG = `[    0.95] Run /init as init process
Summary: fix_size_alloc_test passed: 1 failed: 0 repeat: 1 loops: 100000 avg: 424200 usec
[   12.3] Summary: align_shift_alloc_test passed: 0 failed: 1 repeat: 1 loops: 100000 avg: 9 usec\r
Summary: pcpu_alloc_test passed: 1 failed: 0 repeat: 1 loops: 100000 avg: 700000 usec
All test took worker0=7912839286 cycles`;

it("the tests that passed are read out of a kernel's log, per loop that was really made", () => {
  expect([...readSummaries(LOG)]).toEqual([
    ["fix_size_alloc_test", 4.242],
    ["pcpu_alloc_test", 20],
  ]);
});

it("the command gets the module's parameters, and one that prints no report is named", () => {
  const printf = 'printf "Summary: %s passed: 1 failed: 0 repeat: 1 loops: 2 avg: 3 usec\\n"';
  expect([...timeRealKernel(printf, ["first", "second"])]).toEqual([
    ["first", 1.5],
    ["second", 1.5],
  ]);
  expect(() => timeRealKernel("echo", ["nr_pages=16"])).toThrow(/of: echo nr_pages=16/);
});
