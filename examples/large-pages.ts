/**
 * The same 4 MiB with small and with large pages: the kernel's page tables as its page_tables file shows them, the tables that
 * they take, and the page walks of one pass over the memory.
 *
 *     $ npx jiti examples/large-pages.ts
 *     vmalloc: 4 new tables
 *       ---[ vmalloc() Area ]---
 *       0xffffc90000000000-0xffffc90000400000           4M     RW                 GLB NX pte
 *       1024 loads: 1024 page walks, 52602 cycles
 *     vmallocHuge: 2 new tables
 *       ---[ vmalloc() Area ]---
 *       0xffffc90000000000-0xffffc90000400000           4M     RW         PSE     GLB NX pmd
 *       1024 loads: 2 page walks, 676 cycles
 */
import { bootKernel } from "mmulab";
import { counterDifference } from "mmulab/arch";
import { dumpPageTables } from "mmulab/mm";

/** Its 1024 page pointers take two pages, which vmalloc maps as well, in a PTE table of their own. */
const SIZE_BYTES = 4 * 2 ** 20;

for (const kind of ["vmalloc", "vmallocHuge"] as const) {
  const kernel = bootKernel({ cpus: 1, memoryBytes: 2 ** 30 });
  const [cpu] = kernel.machine.cpus;
  const tablesBefore = kernel.tables.tablePages;
  const address = kernel[kind](SIZE_BYTES);
  console.log(`${kind}: ${kernel.tables.tablePages - tablesBefore} new tables`);
  for (const line of dumpPageTables(kernel.tables, address, address + SIZE_BYTES)) console.log(`  ${line}`);
  const before = cpu.counters();
  for (let page = 0; page < SIZE_BYTES / 4096; page++) cpu.load(address + page * 4096, 4);
  const counted = counterDifference(before, cpu.counters());
  const walks = counted["dtlb_load_misses.walk_completed"];
  console.log(
    `  ${counted["dTLB-loads"]} loads: ${walks} page walks, ${counted["dtlb_load_misses.walk_active"]} cycles`,
  );
}
