/** Lines that the CPUs of an address space share. */
import type { SharedLines } from "../../arch/time/shared-lines.ts";
import { LineTable } from "../kernel/line-table.ts";
import { MM_LINES } from "./mm-struct.ts";

/** Address spaces with lines of their own, a power of two; more of them share. */
const MMS_WITH_LINES = 64;
/**
 * Lines of `mmap_lock` and the mappings beside the lock's count, for each address space: the lock's owner, which each reader writes and beside which
 * `mm_lock_seq` lies (`mm_types.h`: the lock's "two hot fields 'count' and 'owner' sit in 2 different cachelines"), and the tree of mappings.
 */
export const MMAP_LINES = 2;
/** The line of the lock's owner. */
export const MMAP_LINE_OWNER = 0;
/** The line of the tree of mappings. */
export const MMAP_LINE_TREE = 1;
/** Lines of the locks of mappings, a power of two; more of them share. */
const VMA_LINES = 1024;

/** Lines of address spaces by `MM_LINES` times their context id, and those of their mappings. */
export class MmLines extends LineTable {
  /** By `MMAP_LINES` times the context id. */
  readonly mmap: LineTable;
  /** The lock of each mapping. */
  readonly vmas: LineTable;

  constructor(lines: SharedLines) {
    super(lines, MM_LINES * MMS_WITH_LINES);
    this.mmap = new LineTable(lines, MMAP_LINES * MMS_WITH_LINES);
    this.vmas = new LineTable(lines, VMA_LINES);
  }
}
