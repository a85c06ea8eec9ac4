/** A large page cut into small ones and put together again, with the flushes in the wrong places. */
import { PMD_SIZE } from "../../../../arch/index.ts";
import { PTE_PAGE_SIZE } from "../../../../arch/isa/pte.ts";
import type { PageTableCursor } from "../../../../mm/page-tables/page-table-cursor.ts";
import { PAGE_KERNEL, PAGE_KERNEL_RO } from "../../../../mm/page-tables/protection.ts";
import type { Kernel } from "../../../machine/kernel.ts";
import { hex, type Story, tryLoad, tryStore } from "./story.ts";

const PAGE = 4096;
const ENTRIES = 512;

export const hugeSplit: Story = {
  name: "huge-split",
  title: "A large page is split, and a stale paging-structure cache",
  summary:
    "First the old large translation outlives the split; then, put together again, the old page table outlives its memory.",
  machine: { cpus: 2, memoryBytes: 2 ** 28, vmalloc: { vmapNodes: 1 } },
  provokes: /translates 0x|leads from 0x|page table|mapped/,
  steps: (kernel) => {
    const split = new Split(kernel);
    const look = (address: number) => ({ view: "tables", address, cpu: 0 }) as const;
    return [
      {
        title: "vmalloc_huge of 2 MiB",
        text: "One entry of the page directory, with PS set, maps all of it. CPU 0 reads the first page; one entry in its TLB covers 512 pages.",
        act: () => {
          split.allocate();
          return { found: `${hex(split.address)}: ${tryLoad(kernel, 0, split.address)}`, ...look(split.address) };
        },
      },
      {
        title: "The large page is split",
        text: "As set_memory_ro does for a part: a page table with 512 entries takes its place, the second page is read-only there. Nothing is flushed yet. CPU 0 still has the large translation and may go on using it: its store to the second page is not refused. CPU 1 walks, and faults.",
        act: () => {
          split.cutUp();
          const page = split.address + PAGE;
          return { found: `${tryStore(kernel, 0, page, 7)}; ${tryStore(kernel, 1, page, 8)}`, ...look(page) };
        },
      },
      {
        title: "INVLPG on CPU 0",
        text: "One INVLPG of any address in a large page drops all of it. From now on the new rights hold on CPU 0 as well. Its walk has put the entry of the page directory, which names the new table, into the PDE cache.",
        act: () => {
          kernel.machine.cpus[0].invlpg(split.address);
          const page = split.address + PAGE;
          return { found: `${tryStore(kernel, 0, page, 9)}; ${tryLoad(kernel, 0, page)}`, ...look(page) };
        },
      },
      {
        title: "Together again, and the table freed too early",
        text: "The large entry is written back, and the frame of the page table goes to somebody else at once, whose data happen to look like entries. (The kernel does not do that: pmd_free_pte_page flushes first.) Pages that CPU 0 has not used yet are in no TLB. It walks for the fourth one, but begins at what its PDE cache says: it takes an entry out of memory that is no page table any more, and reads what lies where that leads. CPU 1 walks from the top and finds what was stored there, 43.",
        act: () => {
          split.putTogether();
          const page = split.address + 3 * PAGE;
          return { found: `${tryLoad(kernel, 0, page)}; ${tryLoad(kernel, 1, page)}`, ...look(page) };
        },
      },
      {
        title: "The flush that was owed",
        text: "INVLPG of each page. It drops the entries of the paging-structure caches as well, of any address under the PCID that is loaded. Now CPU 0 walks from the top and finds the large page.",
        act: () => {
          split.finish();
          return { found: tryLoad(kernel, 0, split.address + 3 * PAGE), ...look(split.address + 3 * PAGE) };
        },
      },
    ];
  },
};

/** The large page of the story, and what is done to its entry behind vmalloc's back. */
class Split {
  address = 0;
  private readonly kernel: Kernel;
  private frame = 0;
  private table = 0;
  private others = 0;

  constructor(kernel: Kernel) {
    this.kernel = kernel;
  }

  allocate(): void {
    this.address = this.kernel.vmallocHuge(PMD_SIZE, "story+0x10/0x40");
    for (const page of [0, 1, 3]) this.kernel.machine.cpus[1].store(this.address + page * PAGE, 4, 40 + page);
    this.kernel.machine.cpus[1].flushTlbAll();
    this.frame = this.atDirectory().frame;
  }

  /** Replaces the large leaf by a table of small ones. */
  cutUp(): void {
    const { tables } = this.kernel;
    const cursor = this.atDirectory();
    const owed = tables.owed.owe(cursor.start, cursor.end);
    cursor.clearLeaf(owed);
    cursor.make(this.address, 1);
    this.table = cursor.table;
    for (let page = 0; page < ENTRIES; page++) {
      cursor.seek(this.address + page * PAGE);
      const { low, high } = page === 1 ? PAGE_KERNEL_RO : PAGE_KERNEL;
      cursor.writeLeaf(this.frame + page, low, high);
    }
    tables.owed.waive(owed);
  }

  /** The large leaf again; the table's frame gets another owner, whose data look like entries for a page of theirs. */
  putTogether(): void {
    const { tables, machine } = this.kernel;
    const { cursor } = tables;
    const owed = tables.owed.owe(this.address, this.address + PMD_SIZE);
    for (let page = 0; page < ENTRIES; page++) {
      cursor.seek(this.address + page * PAGE);
      cursor.clearLeaf(owed);
    }
    this.atDirectory().clearTable(owed);
    this.writeLarge();
    tables.owed.waive(owed);
    const [frame] = this.kernel.allocFrames(1);
    this.others = frame;
    machine.memory.writeWord(frame, 0, 666);
    for (let page = 0; page < ENTRIES; page++) {
      machine.memory.writeWord(this.table, 2 * page, (frame << 12) | PAGE_KERNEL.low);
      machine.memory.writeWord(this.table, 2 * page + 1, PAGE_KERNEL.high);
    }
  }

  /** Flushes both CPUs and gives the frames back. */
  finish(): void {
    const { tables, machine } = this.kernel;
    for (const cpu of machine.cpus) for (let page = 0; page < ENTRIES; page++) cpu.invlpg(this.address + page * PAGE);
    tables.freeTable(this.table, 1);
    this.kernel.freeFrames(Uint32Array.of(this.others));
  }

  private writeLarge(): void {
    const cursor = this.atDirectory();
    cursor.writeLeaf(this.frame, PAGE_KERNEL.low | PTE_PAGE_SIZE, PAGE_KERNEL.high);
  }

  private atDirectory(): PageTableCursor {
    const { cursor } = this.kernel.tables;
    cursor.seek(this.address, 2);
    return cursor;
  }
}
