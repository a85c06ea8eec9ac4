/**
 * Runs of equal page-table entries as `/sys/kernel/debug/page_tables/kernel` prints them (`arch/x86/mm/dump_pagetables.c`):
 * the writer and the reader of its lines.
 */
import { TextFormatError } from "../../arch/isa/errors.ts";
import {
  formatLinearAddress16,
  LINEAR_SPACE_BYTES,
  linearAddressToBigInt,
  linearPageFromBigInt,
  parseAddress64,
} from "../../arch/isa/linear-address.ts";

/** The level of a paging structure; four-level paging folds `p4d` away. */
export type PageTableLevel = "pgd" | "p4d" | "pud" | "pmd" | "pte";

/** Consecutive entries of one level with equal attributes: [start, end) in pages (arch/isa/linear-address.ts). */
export interface PageTableRun {
  readonly start: number;
  /** One past the last byte; 2^48 at the end of the address space. */
  readonly end: number;
  readonly level: PageTableLevel;
  /** Whether the entries are present; all attributes of a run that is not are false. */
  readonly present: boolean;
  readonly user: boolean;
  readonly rw: boolean;
  readonly pwt: boolean;
  readonly pcd: boolean;
  /** PS: leaves above the last level. */
  readonly pse: boolean;
  readonly pat: boolean;
  readonly global: boolean;
  readonly nx: boolean;
}

const UNITS = "BKMGTPE";
const NOT_PRESENT = " ".repeat(30);
const RUN = /^(0x[0-9a-f]{16})-(0x[0-9a-f]{16}) {3} *(\d+)([BKMGTPE]) (.{30})(pgd|p4d|pud|pmd|pte)$/;
const MARKER = /^---\[ (.+) \]---$/;
const KERNEL_LOG = /^\[ *\d+\.\d{6}\] /;

/** One line of the dump, without its newline. */
export function formatPageTableRun(run: PageTableRun): string {
  const end = run.end === LINEAR_SPACE_BYTES ? "0x0000000000000000" : formatLinearAddress16(run.end);
  const range = `${formatLinearAddress16(run.start)}-${end}`;
  // A run over the non-canonical hole counts it in: the kernel subtracts 64-bit addresses.
  const last = run.end === LINEAR_SPACE_BYTES ? 0n : linearAddressToBigInt(run.end);
  const sizeBytes = Number(BigInt.asUintN(64, last - linearAddressToBigInt(run.start)));
  return `${range}   ${formatRunSize(sizeBytes).padStart(10)} ${formatFlags(run)}${run.level}`;
}

/** The marker line at which an address range begins: `---[ vmalloc() Area ]---`. */
export function formatAddressMarker(name: string): string {
  return `---[ ${name} ]---`;
}

/** A size in the largest of the units B, K, M, G, T, P, E that divides it: `4K`, `1022M`. */
export function formatRunSize(sizeBytes: number): string {
  let size = sizeBytes;
  let unit = 0;
  while (size !== 0 && size % 1024 === 0 && unit < UNITS.length - 1) {
    size /= 1024;
    unit++;
  }
  return `${size}${UNITS[unit]}`;
}

function formatFlags(run: PageTableRun): string {
  if (!run.present) return NOT_PRESENT;
  return (
    (run.user ? "USR " : "    ") +
    (run.rw ? "RW " : "ro ") +
    (run.pwt ? "PWT " : "    ") +
    (run.pcd ? "PCD " : "    ") +
    (run.pse ? "PSE " : "    ") +
    (run.pat ? "PAT " : "    ") +
    (run.global ? "GLB " : "    ") +
    (run.nx ? "NX " : "x  ")
  );
}

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
  const start = linearPageFromBigInt(parseAddress64(match[1]), 57);
  const end = linearPageFromBigInt(parseAddress64(match[2]), 57);
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
