/** A user address space that is filled as it is touched: the page-fault handler of a kernel with memory to spare. */
import { LEVEL_BYTES } from "../../arch/isa/linear-address.ts";
import { PTE_ACCESSED, PTE_DIRTY, PTE_PAGE_SIZE, PTE_PRESENT, PTE_RW, PTE_USER } from "../../arch/isa/pte.ts";
import { FRAME_USER, GFP_KERNEL, NUMA_NO_NODE, PageTables } from "../../mm/index.ts";
import type { Kernel } from "../machine/kernel.ts";
import type { PageRules } from "./page-rules.ts";

const LEAF_ATTRIBUTES = PTE_PRESENT | PTE_RW | PTE_USER | PTE_ACCESSED;
/** Pages of 2 MiB are blocks of the page allocator; its largest blocks are of 4 MiB. */
const HUGE_ORDER = 9;
const LARGEST_ORDER = 10;
const GIGANTIC_LEVEL = 3;
const GIGANTIC_FRAMES = LEVEL_BYTES[GIGANTIC_LEVEL] / 4096;
const BLOCK_FRAMES = 2 ** LARGEST_ORDER;

/** Every page of it is readable, writable and executable. */
export class DemandPaging {
  readonly tables: PageTables;
  /** Bytes of memory given to the program. */
  sizeBytes = 0;
  private readonly kernel: Kernel;
  private readonly rules: PageRules;

  constructor(kernel: Kernel, rules: PageRules) {
    const { memory, loop } = kernel.machine;
    this.kernel = kernel;
    this.rules = rules;
    this.tables = new PageTables(memory, kernel.pages, kernel.faults, kernel.log, loop, 4);
  }

  /**
   * Maps the page of `la`, which has none; false when memory has run out. A page that is mapped for a write is dirty at once
   * (`do_anonymous_page`: `pte_mkwrite(pte_mkdirty(entry))`), so that the store need not set D.
   */
  handleFault(la: number, isWrite: boolean): boolean {
    const { tables } = this;
    const level = this.rules.levelOf(la);
    if (!tables.cursor.make(la, level)) return false;
    const frame = level === GIGANTIC_LEVEL ? this.giganticPage() : this.block(level === 1 ? 0 : HUGE_ORDER);
    if (frame === 0) return false;
    const sized = level > 1 ? LEAF_ATTRIBUTES | PTE_PAGE_SIZE : LEAF_ATTRIBUTES;
    tables.cursor.writeLeaf(frame, isWrite ? sized | PTE_DIRTY : sized, 0);
    this.sizeBytes += LEVEL_BYTES[level];
    return true;
  }

  private block(order: number): number {
    return this.kernel.pages.allocPages(0, order, FRAME_USER, GFP_KERNEL, NUMA_NO_NODE);
  }

  /**
   * The first frame of an aligned GiB, 0 when there is none: the largest blocks one after another until as many lie side by side, as
   * they do in memory that nobody has used yet. Blocks before them stay taken.
   */
  private giganticPage(): number {
    let first = 0;
    let end = -1;
    for (;;) {
      const frame = this.block(LARGEST_ORDER);
      if (frame === 0) return 0;
      if (frame !== end) first = -1;
      if (frame % GIGANTIC_FRAMES === 0) first = frame;
      end = frame + BLOCK_FRAMES;
      if (first >= 0 && end - first === GIGANTIC_FRAMES) return first;
    }
  }
}
