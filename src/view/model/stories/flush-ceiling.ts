/** tlb_single_page_flush_ceiling, seen by a bystander. */
import type { Story } from "./story.ts";

const CEILING_PAGES = 33;

export const flushCeiling: Story = {
  name: "flush-ceiling",
  title: "Why 33 and 34 pages differ",
  summary: "A range of up to 33 pages is flushed page by page; one page more, and every translation of every CPU goes.",
  machine: { cpus: 2, memoryBytes: 2 ** 28, vmalloc: { vmapNodes: 1 } },
  steps: (kernel) => {
    const [cpu] = kernel.machine.cpus;
    let bystander = 0;
    let address = 0;
    const allocate = (pages: number) => {
      address = kernel.vmalloc((pages - 1) * 4096, "story+0x20/0x40");
      for (let page = 0; page < pages - 1; page++) cpu.load(address + page * 4096, 4);
      return { found: `an area of ${pages} pages with its guard page`, view: "tlbs" as const, address, cpu: 0 };
    };
    const purge = () => {
      kernel.vfree(address);
      kernel.vmUnmapAliases();
      const before = cpu.mmu.walkCycleCount;
      cpu.load(bystander, 4);
      const after = cpu.mmu.walkCycleCount;
      const found =
        after > before ? "the bystander's translation is gone: it was walked again" : "the bystander still hits";
      return { found, view: "tlbs" as const, address: bystander, cpu: 0 };
    };
    return [
      {
        title: "A bystander",
        text: "One page that has nothing to do with what follows. CPU 0 uses it and has its translation.",
        act: () => {
          bystander = kernel.vmalloc(4096, "bystander+0x10/0x40");
          cpu.load(bystander, 4);
          return { found: "CPU 0 has the bystander's translation", view: "tlbs", address: bystander, cpu: 0 };
        },
      },
      {
        title: `An area of ${CEILING_PAGES} pages, used`,
        text: "32 pages and their guard page. CPU 0 reads all of them.",
        act: () => allocate(CEILING_PAGES),
      },
      {
        title: "Freed and purged",
        text: "The range has 33 pages, which is tlb_single_page_flush_ceiling: each CPU runs INVLPG 33 times. It takes a while, but other translations stay.",
        act: purge,
      },
      {
        title: `An area of ${CEILING_PAGES + 1} pages, used`,
        text: "One page more.",
        act: () => allocate(CEILING_PAGES + 1),
      },
      {
        title: "Freed and purged",
        text: "34 pages are more than the ceiling: each CPU flushes its whole TLB, global entries too. That is quick; what it costs comes later, when everybody walks the page tables again.",
        act: purge,
      },
    ];
  },
};
