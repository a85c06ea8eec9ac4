/** What lazy freeing saves, and when it ends. */
import type { Story } from "./story.ts";

const PAGES = 15;
const LAZY_MAX_PAGES = 64;

export const lazyPurge: Story = {
  name: "lazy-purge",
  title: "Lazy purge",
  summary: "Frees collect until lazy_max_pages is passed; then one flush pays for all of them.",
  machine: { cpus: 4, memoryBytes: 2 ** 28, vmalloc: { lazyMaxPages: LAZY_MAX_PAGES, vmapNodes: 1 } },
  steps: (kernel) => {
    const addresses: number[] = [];
    const free = (): string => {
      const before = kernel.vm.flushing.smp.sent;
      kernel.vfree(addresses.pop() ?? 0);
      kernel.runUntilIdle();
      const sent = kernel.vm.flushing.smp.sent - before;
      return `${kernel.vm.lazyNr} pages are lazily freed, of ${LAZY_MAX_PAGES} that may be; ${sent} interrupts were sent`;
    };
    return [
      {
        title: "Six areas of 15 pages",
        text: "Each takes 16 pages of addresses, its guard page included. This machine may have 64 lazily freed pages (lazy_max_pages; a real one has 8,192 times the logarithm of its CPUs, roughly).",
        act: () => {
          for (let i = 0; i < 6; i++) addresses.push(kernel.vmalloc(PAGES * 4096, "story+0x10/0x40"));
          for (const address of addresses) for (const cpu of kernel.machine.cpus) cpu.load(address, 4);
          return { found: "6 areas, used on all CPUs", view: "space", address: addresses[0], cpu: 0 };
        },
      },
      ...["first", "second", "third", "fourth"].map((nth) => ({
        title: `The ${nth} vfree`,
        text: "Its entries are cleared, its frames are free, its addresses wait. Nothing is flushed and nobody is interrupted: freeing costs no more than this.",
        act: () => ({ found: free(), view: "space" as const, address: addresses.at(-1) ?? 0 }),
      })),
      {
        title: "The fifth vfree",
        text: "That is more than lazy_max_pages. The drain work is queued, and it purges: all lazy lists are taken, their whole span is flushed once, on every CPU, and the areas go to the pools and the free tree.",
        act: () => ({ found: free(), view: "time" as const, address: addresses.at(-1) ?? 0 }),
      },
    ];
  },
};
