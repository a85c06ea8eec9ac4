import { expect, it } from "vitest";
import { bootKernel, type Kernel } from "../../../src/machine/kernel.ts";
import { bootRecordedKernel, captureState } from "../../../src/recording/replay-kernel.ts";

const PAGE = 4096;
const CALLER = "big_user+0x10/0x20";

/** A kernel in the state of another, as a replay would restore it from a recording of that. */
function restored(kernel: Kernel): Kernel {
  const { config } = kernel.vm;
  return bootRecordedKernel(
    {
      smp: 1,
      num_online_cpus: 1,
      num_possible_cpus: 1,
      NR_CPUS: config.nrCpus,
      nr_vmap_nodes: config.vmapNodes,
      vmap_zone_size: config.zoneSizeBytes,
      lazy_max_pages: config.lazyMaxPages,
      tlb_single_page_flush_ceiling: kernel.mm.flushing.ceilingPages,
      vmap_bbmap_bits: config.blockPages,
      vmap_purge_threshold: config.purgeThresholdPages,
      vmap_allow_huge: config.allowHuge ? 1 : 0,
      ioremap_max_page_shift: config.ioremapMaxPageShift,
      pinned_cpu: 0,
    } as Parameters<typeof bootRecordedKernel>[0],
    captureState(kernel),
  );
}

it("large areas get their arrays of page pointers back, and free them with themselves", () => {
  const kernel = bootKernel({ cpus: 1 });
  // One array goes into a hole below its owner's like; two owners of one size and caller; one of another caller.
  const hole = kernel.vmalloc(2 * PAGE);
  kernel.vmalloc(PAGE);
  kernel.vfree(hole);
  kernel.vmUnmapAliases();
  const large = [530, 700, 530, 5000].map((pages) => kernel.vmalloc(pages * PAGE, CALLER));
  const other = kernel.vmalloc(530 * PAGE, "other+0x1/0x2");
  // An area that only looks like an array: of the right size, but of another caller.
  kernel.vmalloc(530 * 8);
  const copy = restored(kernel);
  expect(copy.vm.nrVmallocPages).toBe(kernel.vm.nrVmallocPages);
  expect(captureState(copy)).toEqual(captureState(kernel));
  expect(captureState(copy).vmallocinfo.filter((line) => line.includes("vpages"))).toHaveLength(5);
  for (const address of [large[1], other, large[3], large[0], large[2]]) {
    for (const each of [kernel, copy]) each.vfree(address);
    expect(captureState(copy)).toEqual(captureState(kernel));
  }
  expect(copy.verify()).toEqual([]);
});

it("mappings of devices keep their modes", () => {
  const kernel = bootKernel({ cpus: 1 });
  const device = kernel.ioremap(0xe000_0000, 3 * PAGE, "wc");
  const copy = restored(kernel);
  expect(captureState(copy)).toEqual(captureState(kernel));
  expect(copy.ioremap(0xe000_0000, PAGE, "wt")).toBe(0);
  copy.iounmap(device);
  expect(copy.ioremap(0xe000_0000, PAGE, "wt")).not.toBe(0);
  expect(copy.log.lines).toHaveLength(1);
});
