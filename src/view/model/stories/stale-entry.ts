/** A TLB entry that outlives its mapping. */
import type { Story } from "./story.ts";
import { hex, tryLoad } from "./story.ts";

export const staleEntry: Story = {
  name: "stale-entry",
  title: "One stale TLB entry",
  summary:
    "After vfree the page tables forget a page at once; the CPU that used it does not, until the kernel flushes.",
  machine: { cpus: 2, memoryBytes: 2 ** 28 },
  steps: (kernel) => {
    let address = 0;
    return [
      {
        title: "vmalloc of one page",
        text: "The kernel finds room in the vmalloc range, takes a frame and writes a page-table entry. A guard page follows the page. No TLB knows of it yet, and none needs a flush: what is not present is cached nowhere.",
        act: () => {
          address = kernel.vmalloc(4096, "story+0x10/0x40");
          return { found: `vmalloc gave ${hex(address)}`, view: "space", address, cpu: 0 };
        },
      },
      {
        title: "CPU 0 stores to it",
        text: "The first access misses every TLB. The walker reads four entries, sets A and D, and the translation goes into a TLB of CPU 0. CPU 1 has nothing.",
        act: () => {
          kernel.machine.cpus[0].store(address, 4, 42);
          return { found: tryLoad(kernel, 0, address), view: "tlbs", address, cpu: 0 };
        },
      },
      {
        title: "vfree",
        text: "The entry is cleared and the frame goes back to the allocator, but nothing is flushed: the area is lazily freed. The entry in the TLB of CPU 0 is stale now, and a flush of it is owed.",
        act: () => {
          kernel.vfree(address);
          return { found: `${kernel.vm.lazyNr} pages are lazily freed`, view: "tlbs", address, cpu: 0 };
        },
      },
      {
        title: "Both CPUs load",
        text: "CPU 0 still has the translation and uses it, as hardware would; it reads memory that may belong to somebody else by now. CPU 1 never had it: it walks, and faults. The kernel allows this because nobody may touch what was freed, and because it does not give the addresses out again before the flush.",
        act: () => ({
          found: `${tryLoad(kernel, 0, address)}; ${tryLoad(kernel, 1, address)}`,
          view: "tables",
          address,
          cpu: 1,
        }),
      },
      {
        title: "vm_unmap_aliases",
        text: "All lazily freed areas are purged: one flush of the whole span, on every CPU, by interrupts. Only now may the addresses be used again.",
        act: () => {
          kernel.vmUnmapAliases();
          return { found: tryLoad(kernel, 0, address), view: "time", address, cpu: 0 };
        },
      },
    ];
  },
};
