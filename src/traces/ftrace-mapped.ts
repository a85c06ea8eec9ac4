/** How much of an area of a trace is mapped. The tracepoints tell of address space alone; some of the rest follows from them. */
import { PAGE_SIZE } from "../../arch/isa/linear-address.ts";
import type { FtraceEvent } from "./ftrace-lines.ts";

/** Of an area of more pages than this, `vmalloc` allocates the array of page pointers as an area too, right after it. */
const PAGES_WITHOUT_ARRAY_MAX = 512;
const POINTER_BYTES = 8;
/** Allocations, of whichever CPU, among which the array of one is looked for. */
const ARRAY_WITHIN_ALLOCS = 16;

/** Of areas for which nothing is mapped because nothing shows that they had pages. */
export const WITHOUT_PAGES =
  "reserves more than 512 pages, and no array of page pointers follows, as it does in vmalloc: such an area is only reserved, " +
  "or vmap fills it, which the trace does not tell; nothing is mapped for it here";

type Alloc = FtraceEvent & { readonly event: "alloc" };

/** A large area whose array has not been seen yet. */
interface Waiting {
  /** Which of the trace's events it is. */
  readonly number: number;
  readonly arrayBytes: number;
  allocsLeft: number;
}

/**
 * The allocations of a trace that nothing shows to have been populated: large ones that are aligned to nothing but pages, as those of
 * `get_vm_area`, `vmap` and `vmalloc` are, and without the array of page pointers that `vmalloc` allocates next.
 */
export class ReservedAreas {
  private waiting: Waiting[] = [];
  private readonly found = new Set<number>();

  /** Goes on with the event of that number; numbers grow. */
  add(event: FtraceEvent, number: number): void {
    if (event.event !== "alloc" || event.failed || event.align !== 1) return;
    const match = this.waiting.findIndex(({ arrayBytes }) => arrayBytes === event.sizeBytes);
    if (match >= 0) this.waiting.splice(match, 1);
    for (const each of this.waiting) if (--each.allocsLeft === 0) this.found.add(each.number);
    this.waiting = this.waiting.filter(({ allocsLeft }) => allocsLeft > 0);
    const pages = event.sizeBytes / PAGE_SIZE - 1;
    if (pages <= PAGES_WITHOUT_ARRAY_MAX) return;
    const arrayBytes = (Math.ceil((pages * POINTER_BYTES) / PAGE_SIZE) + 1) * PAGE_SIZE;
    this.waiting.push({ number, arrayBytes, allocsLeft: ARRAY_WITHIN_ALLOCS });
  }

  /** Whether the event of that number is such an allocation; to be asked when all have been added. */
  has(number: number): boolean {
    return this.found.has(number) || this.waiting.some((each) => each.number === number);
  }
}

/** Bytes of an area that are mapped: all but the guard page; nothing of a vmap block, which is as large as its alignment. */
export function mappedBytes({ sizeBytes, align }: Alloc): number {
  if (sizeBytes === align && align >= 2 ** 20) return 0;
  return sizeBytes > PAGE_SIZE ? sizeBytes - PAGE_SIZE : sizeBytes;
}
