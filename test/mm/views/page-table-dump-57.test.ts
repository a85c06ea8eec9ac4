/** The dump of page tables with five levels: every one of its 57 bits of addresses, in the order of the addresses. */
import { expect, test } from "vitest";
import { LINEAR_SPACE_BYTES, PTE_PRESENT, PTE_RW, PTE_USER, parseAddress64 } from "../../../arch/index.ts";
import { linearAddressToBigInt } from "../../../arch/isa/linear-address.ts";
import { USER_END } from "../../../mm/lib/memory-layout.ts";
import type { PageTables } from "../../../mm/page-tables/page-tables.ts";
import { dumpPageTables, pageTableRuns } from "../../../mm/views/page-table-dump.ts";
import { formatPageTableRun, parsePageTableRun } from "../../../mm/views/page-table-run.ts";
import { Guest } from "../../arch/guest.ts";

const RIGHTS = PTE_PRESENT | PTE_RW | PTE_USER;
const PAGES = [
  0x5000n,
  0x7fff_ffff_f000n,
  1n << 47n,
  (1n << 48n) + 0x20_0000n,
  (1n << 56n) - 4096n,
  0xff00_0000_0000_0000n,
  0xfffe_8000_0000_0000n,
  0xffff_7fff_ffff_f000n,
  0xffff_8000_0000_0000n,
  0xffff_ffff_ffff_f000n,
];

function tablesOf(levels: 4 | 5, pages: readonly bigint[]): PageTables {
  const guest = new Guest({ preset: "icelake", pagingLevels: levels, memoryBytes: 2 ** 24 });
  for (const [i, at] of pages.entries()) guest.map(at, 0x40_0000 + i * 4096, i % 2 === 0 ? RIGHTS : RIGHTS - PTE_RW);
  const { memory } = guest;
  return { memory, levels, rootFrame: guest.root } as unknown as PageTables;
}

const present = (tables: PageTables, start: number, end: number) =>
  pageTableRuns(tables, start, end)
    .filter((run) => run.present)
    .map((run) => [linearAddressToBigInt(run.start), run.level]);

test("a dump of everything has the pages of the whole 57 bits, lowest first, and no gap between its runs", () => {
  const tables = tablesOf(5, PAGES);
  expect(present(tables, 0, LINEAR_SPACE_BYTES)).toEqual(PAGES.map((at) => [at, "pte"]));
  const runs = pageTableRuns(tables, 0, LINEAR_SPACE_BYTES);
  const lines = runs.map(formatPageTableRun);
  lines.forEach((line, i) => {
    const [, from, to] = /^(0x\w{16})-(0x\w{16})/.exec(line) as RegExpExecArray;
    expect(i === 0 ? 0n : parseAddress64(lines[i - 1].slice(19, 37))).toBe(parseAddress64(from));
    expect(parseAddress64(to)).toBe(i === lines.length - 1 ? 0n : parseAddress64(lines[i + 1].slice(0, 18)));
  });
  expect(lines.map(parsePageTableRun)).toEqual(runs);
});

test("the kernel's part begins at 0xff00000000000000 with five levels", () => {
  const tables = tablesOf(5, PAGES);
  const upper = PAGES.filter((at) => at >= 1n << 63n);
  expect(present(tables, USER_END, LINEAR_SPACE_BYTES)).toEqual(upper.map((at) => [at, "pte"]));
  const lines = dumpPageTables(tables, USER_END, LINEAR_SPACE_BYTES);
  expect(lines[0]).toBe("---[ Kernel Space ]---");
  expect(lines[1]).toContain("0xff00000000000000-0xff00000000001000           4K USR ro");
});

test("a run over the hole counts it in, with four levels and with five", () => {
  const first = ([4, 5] as const).map((levels) => {
    return formatPageTableRun(pageTableRuns(tablesOf(levels, []), 0, LINEAR_SPACE_BYTES)[0]).trimEnd();
  });
  expect(first[0]).toBe(`0x0000000000000000-0xffff800000000000    16777088T${" ".repeat(31)}pgd`);
  expect(first[1]).toBe(`0x0000000000000000-0xff00000000000000       16320P${" ".repeat(31)}pgd`);
});

test("with four levels nothing has changed: a machine's tables are read in 48 bits", () => {
  const pages = PAGES.filter((at) => BigInt.asUintN(64, BigInt.asIntN(48, at)) === at);
  expect(present(tablesOf(4, pages), 0, LINEAR_SPACE_BYTES)).toEqual(pages.map((at) => [at, "pte"]));
});
