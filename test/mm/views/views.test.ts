import { describe, expect, it } from "vitest";
import { PAGE_SIZE } from "../../../arch/isa/linear-address.ts";
import {
  dumpPageTables,
  ftraceText,
  VM_IOREMAP,
  VMALLOC_DUMP_END,
  VMALLOC_START,
  vmalloc,
  vmallocinfo,
  vmallocMeminfo,
} from "../../../mm/index.ts";
import { bootKernel, type Kernel } from "../../../src/machine/kernel.ts";

/** Lines that ftrace prints while `work` runs. */
function traced(kernel: Kernel, showKernelFlushes: boolean, work: () => void): string[] {
  const lines: string[] = [];
  const options = { cyclesPerSecond: 1e9, showKernelFlushes };
  kernel.vm.events = ftraceText(kernel.machine.loop, options, (line) => lines.push(line));
  work();
  kernel.vm.events = null;
  return lines;
}

describe("tracepoints as ftrace text", () => {
  it("have the kernel's columns and payloads", () => {
    const kernel = bootKernel({ cpus: 2 });
    const lines = traced(kernel, false, () => {
      const address = kernel.vmalloc(PAGE_SIZE);
      kernel.vfree(address);
      kernel.vmUnmapAliases();
      kernel.getVmAreaRange(2 ** 30, VM_IOREMAP, VMALLOC_START, VMALLOC_START + PAGE_SIZE);
    });
    const line = /^ {12}sync-1000 {4}\[000\] \.{5} {5}0\.\d{6}: (.*)$/;
    const payloads = lines.map((each) => line.exec(each)?.[1]);
    const end = "vend=0xffffe8ffffffffff";
    expect(payloads.slice(0, 3)).toEqual([
      `alloc_vmap_area: va_start: 18446683600570023936 size=8192 align=1 vstart=0xffffc90000000000 ${end} failed=0`,
      "free_vmap_area_noflush: va_start=0xffffc90000000000 nr_lazy=2 nr_lazy_max=16384",
      "purge_vmap_area_lazy: start=0xffffc90000000000 end=0xffffc90000002000 num_purged=1",
    ]);
    expect(payloads[3]).toMatch(/^alloc_vmap_area: va_start: 18446683600570028032 .* failed=1$/);
    expect(payloads[4]).toBe("purge_vmap_area_lazy: start=0xffffffffffffffff end=0x0 num_purged=0");
  });

  it("leave kernel-range flushes out as Linux does, and show them on every CPU on request", () => {
    const work = (kernel: Kernel) => () => {
      kernel.vfree(kernel.vmalloc(PAGE_SIZE));
      kernel.vmUnmapAliases();
    };
    const blind = bootKernel({ cpus: 2 });
    expect(traced(blind, false, work(blind)).join("\n")).not.toMatch(/tlb_flush/);
    const seeing = bootKernel({ cpus: 2 });
    const flushes = traced(seeing, true, work(seeing)).filter((line) => line.includes("tlb_flush"));
    expect(flushes.map((line) => line.slice(line.indexOf("tlb_flush")))).toEqual([
      "tlb_flush: pages:2 reason:local shootdown (2)",
      "tlb_flush: pages:2 reason:remote shootdown (1)",
    ]);
  });
});

describe("/proc files", () => {
  it("print vmallocinfo's words, and nothing for an area that is being set up", () => {
    const kernel = bootKernel({ cpus: 1 });
    const frames = kernel.allocFrames(70);
    kernel.vmalloc(600 * PAGE_SIZE, "make_table+0x1/0x2");
    kernel.vmap(frames.subarray(0, 2), "map_two+0x1/0x2");
    kernel.vmMapRam(frames);
    kernel.ioremap(0xfed0_0123, 100, "uc-", "probe+0x1/0x2");
    const code = () => vmalloc(kernel.vm, PAGE_SIZE);
    kernel.vm.freeTreeLock.tryTake();
    expect(() => kernel.run(code)).toThrow(/still wait/);
    kernel.vm.freeTreeLock.release();
    const text = vmallocinfo(kernel.vm);
    expect(text).toEqual([
      "0xffffc90000000000-0xffffc90000259000 2461696 make_table+0x1/0x2 pages=600 vmalloc vpages",
      "0xffffc90000259000-0xffffc9000025c000   12288 make_table+0x1/0x2 pages=2 vmalloc",
      "0xffffc9000025c000-0xffffc9000025f000   12288 map_two+0x1/0x2 vmap",
      "0xffffc9000025f000-0xffffc900002a5000  286720 vm_map_ram",
      "0xffffc900002a5000-0xffffc900002a7000    8192 probe+0x1/0x2 phys=0x00000000fed00000 ioremap",
    ]);
    expect(vmallocMeminfo(kernel.vm)[1]).toBe("VmallocUsed:        2408 kB");
  });

  it("show in vmstat a whole flush as received on every CPU, and single pages one by one", () => {
    const kernel = bootKernel({ cpus: 4 });
    kernel.vfree(kernel.vmalloc(PAGE_SIZE));
    kernel.vmUnmapAliases();
    kernel.vfree(kernel.vmalloc(100 * PAGE_SIZE));
    kernel.vmUnmapAliases();
    expect(kernel.mm.flushing.vmstat.lines()).toEqual([
      "nr_tlb_remote_flush 0",
      "nr_tlb_remote_flush_received 4",
      "nr_tlb_local_flush_all 0",
      "nr_tlb_local_flush_one 8",
    ]);
  });

  it("dump page tables by runs of equal entries, each level by its name", () => {
    const kernel = bootKernel({ cpus: 1 });
    kernel.vmallocHuge(2 ** 22);
    const small = kernel.vmalloc(2 * PAGE_SIZE);
    expect(small).toBe(VMALLOC_START + 2 ** 22 + 4 * PAGE_SIZE);
    expect(dumpPageTables(kernel.tables, VMALLOC_START, VMALLOC_DUMP_END)).toEqual([
      "---[ vmalloc() Area ]---",
      "0xffffc90000000000-0xffffc90000400000           4M     RW         PSE     GLB NX pmd",
      "0xffffc90000400000-0xffffc90000401000           4K                               pte",
      "0xffffc90000401000-0xffffc90000403000           8K     RW                 GLB NX pte",
      "0xffffc90000403000-0xffffc90000404000           4K                               pte",
      "0xffffc90000404000-0xffffc90000406000           8K     RW                 GLB NX pte",
      "0xffffc90000406000-0xffffc90000600000        2024K                               pte",
      "0xffffc90000600000-0xffffc90040000000        1018M                               pmd",
      "0xffffc90040000000-0xffffe90000000000       32767G                               pud",
      "0xffffe90000000000-0xffffea0000000000           1T                               pgd",
    ]);
    const direct = dumpPageTables(kernel.tables, 0, VMALLOC_START);
    expect(direct).toEqual([
      "---[ User Space ]---",
      "0x0000000000000000-0xffff800000000000    16777088T                               pgd",
      "---[ Kernel Space ]---",
      "0xffff800000000000-0xffff888000000000        8704G                               pgd",
      "---[ Low Kernel Mapping ]---",
      "0xffff888000000000-0xffff8880c0000000           3G     RW         PSE     GLB NX pud",
      "0xffff8880c0000000-0xffff888100000000           1G                               pud",
      "0xffff888100000000-0xffff888140000000           1G     RW         PSE     GLB NX pud",
      "0xffff888140000000-0xffff890000000000         507G                               pud",
      "0xffff890000000000-0xffffc90000000000          64T                               pgd",
    ]);
  });
});
