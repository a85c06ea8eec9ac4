/** A user address space that is filled as it is touched: the page-fault handler of a kernel with memory to spare. */
import { PMD_SIZE } from "../../arch/isa/linear-address.ts";
import { PTE_ACCESSED, PTE_DIRTY, PTE_PAGE_SIZE, PTE_PRESENT, PTE_RW, PTE_USER } from "../../arch/isa/pte.ts";
import { FRAME_USER, GFP_KERNEL, NUMA_NO_NODE, PageTables } from "../../mm/index.ts";
import type { Kernel } from "../machine/kernel.ts";

/** Size of the pages that memory is given in. */
export type UserPageSize = "4K" | "2M";

const LEAF_ATTRIBUTES = PTE_PRESENT | PTE_RW | PTE_USER | PTE_ACCESSED;
const HUGE_ORDER = 9;

/** Every page of it is readable, writable and executable. */
export class DemandPaging {
  readonly tables: PageTables;
  /** Pages given so far, of the size asked for. */
  pages = 0;
  private readonly kernel: Kernel;
  private readonly pageSize: UserPageSize;

  constructor(kernel: Kernel, pageSize: UserPageSize) {
    const { memory, loop } = kernel.machine;
    this.kernel = kernel;
    this.pageSize = pageSize;
    this.tables = new PageTables(memory, kernel.pages, kernel.faults, kernel.log, loop, 4);
  }

  /**
   * Maps the page of `la`, which has none; false when memory has run out. A page that is mapped for a write is dirty at once
   * (`do_anonymous_page`: `pte_mkwrite(pte_mkdirty(entry))`), so that the store need not set D.
   */
  handleFault(la: number, isWrite: boolean): boolean {
    const { tables, kernel } = this;
    const isHuge = this.pageSize === "2M";
    const level = isHuge ? 2 : 1;
    const order = isHuge ? HUGE_ORDER : 0;
    if (!tables.cursor.make(la, level)) return false;
    const frame = kernel.pages.allocPages(0, order, FRAME_USER, GFP_KERNEL, NUMA_NO_NODE);
    if (frame === 0) return false;
    const sized = isHuge ? LEAF_ATTRIBUTES | PTE_PAGE_SIZE : LEAF_ATTRIBUTES;
    tables.cursor.writeLeaf(frame, isWrite ? sized | PTE_DIRTY : sized, 0);
    this.pages++;
    return true;
  }

  /** Bytes of memory given to the program. */
  get sizeBytes(): number {
    return this.pages * (this.pageSize === "2M" ? PMD_SIZE : 4096);
  }
}
