import { expect, it } from "vitest";
import { formatGfp } from "../../../mm/frames/warn-alloc.ts";
import { __GFP_DIRECT_RECLAIM, __GFP_ZERO, __vmalloc, asCode, GFP_KERNEL } from "../../../mm/index.ts";
import { bootKernel } from "../../../src/machine/kernel.ts";

it.each([
  // As logs of real kernels show them.
  [0x1_0dc2, "GFP_KERNEL|__GFP_HIGHMEM|__GFP_NORETRY|__GFP_ZERO"],
  [0xc42, "GFP_NOFS|__GFP_HIGHMEM"],
  [0xdc2, "GFP_KERNEL|__GFP_HIGHMEM|__GFP_ZERO"],
  [0x10_0cca, "GFP_HIGHUSER_MOVABLE"],
  [0xcc0, "GFP_KERNEL"],
  [0x820, "GFP_ATOMIC"],
  [0x2800, "GFP_NOWAIT"],
  [0x40_0cc0, "GFP_KERNEL_ACCOUNT"],
  // Several flags in one name only where all are there; a bit without a name at the end.
  [GFP_KERNEL & ~__GFP_DIRECT_RECLAIM, "__GFP_IO|__GFP_FS|__GFP_KSWAPD_RECLAIM"],
  [0x200 | __GFP_ZERO, "__GFP_ZERO|0x200"],
  [0, ""],
])("allocation flags 0x%x are %s", (gfp, names) => {
  expect(formatGfp(gfp)).toBe(names);
});

it("names the thread, and the NUMA nodes that are allowed", () => {
  const kernel = bootKernel({ cpus: 2, memoryBytes: 64 * 2 ** 20, numaNodes: 2 });
  kernel.spawn(
    "a-thread-of-a-long-name",
    1,
    asCode(() => __vmalloc(kernel.vm, 2 ** 40, GFP_KERNEL | __GFP_ZERO)),
  );
  kernel.runUntilIdle();
  expect(kernel.log.lines).toEqual([
    "a-thread-of-a-l: vmalloc error: size 1099511627776, exceeds total pages, " +
      "mode:0xdc0(GFP_KERNEL|__GFP_ZERO), nodemask=(null),cpuset=/,mems_allowed=0-1",
  ]);
});
