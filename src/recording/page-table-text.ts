/** The text of `/sys/kernel/debug/page_tables/kernel` as typed runs (`arch/x86/mm/dump_pagetables.c`). */
import { TextFormatError } from "../../arch/isa/errors.ts";
import { LINEAR_SPACE_BYTES, parseLinearAddress } from "../../arch/isa/linear-address.ts";
import type { PageTableLevel, PageTableRun } from "../../mm/views/page-table-run.ts";

const RUN = /^(0x[0-9a-f]{16})-(0x[0-9a-f]{16}) {3} *(\d+)([BKMGTPE]) (.{30})(pgd|p4d|pud|pmd|pte)$/;
const MARKER = /^---\[ (.+) \]---$/;
const KERNEL_LOG = /^\[ *\d+\.\d{6}\] /;

/** Whether a line is a message of the kernel log (`[    1.858682] text`), which can get among console output. */
export function isKernelLogLine(line: string): boolean {
  return KERNEL_LOG.test(line);
}

/** The name in a marker line (`---[ vmalloc() Area ]---`), or null for another line. */
export function parseAddressMarker(line: string): string | null {
  return MARKER.exec(line)?.[1] ?? null;
}

/**
 * Reads one line of the dump.
 * @throws TextFormatError when it is not one
 */
export function parsePageTableRun(line: string): PageTableRun {
  const match = RUN.exec(line);
  if (match === null) throw new TextFormatError(line, `not a line of a page-table dump: "${line}"`);
  const start = parseLinearAddress(match[1]);
  const end = parseLinearAddress(match[2]);
  const flags = match[5];
  return {
    start,
    end: end === 0 ? LINEAR_SPACE_BYTES : end,
    level: match[6] as PageTableLevel,
    present: flags.trim() !== "",
    user: flags.slice(0, 3) === "USR",
    rw: flags.slice(4, 6) === "RW",
    pwt: flags.slice(7, 10) === "PWT",
    pcd: flags.slice(11, 14) === "PCD",
    pse: flags.slice(15, 18) === "PSE",
    pat: flags.slice(19, 22) === "PAT",
    global: flags.slice(23, 26) === "GLB",
    nx: flags.slice(27, 29) === "NX",
  };
}
