/** `fracture`: what INVLPG does to a guest whose large pages the host backs with smaller ones. */

import {
  type Cpu,
  Machine,
  PTE_ACCESSED,
  PTE_DIRTY,
  PTE_GLOBAL,
  PTE_PRESENT,
  PTE_RW,
  PTE_USER,
} from "../../arch/index.ts";
import { GuestSpace } from "../guests/guest-space.ts";
import { GUEST_PAGE_SIZES, type GuestPageSize, Hypervisor } from "../guests/hypervisor.ts";
import { NativeSpace } from "../guests/native-space.ts";
import { counted } from "../report/counted.ts";
import type { Experiment, ExperimentContext, ExperimentOutcome } from "./base/experiment.ts";
import { MACHINE_MEMORY_BYTES } from "./base/mapped-memory.ts";
import { plotByKind } from "./base/plot.ts";
import { DataTable, type Row } from "./base/table.ts";

/** What the guest works on, in its large pages, and the pages of 4 KiB that it unmaps. */
const WORK = 0x8880_0000_0000;
const UNMAPPED = 0x1000_0000_0000;
const PAGE_BYTES = 4096;
const LARGE_BYTES = 2 ** 21;
const LEAF = PTE_PRESENT | PTE_RW | PTE_ACCESSED | PTE_DIRTY;

const NATIVE = "native";
const PIECES_PER_PAGE = 8;
/** Rounds before those that are counted. */
const WARMUP = 4;

const COLUMNS = {
  invlpgs: { heading: "INVLPGs", axis: "pages invalidated" },
  hostPage: { heading: "host page", text: true },
  flush: { heading: "flush", text: true },
  flushCycles: { heading: "flush cycles" },
  refillWalks: { heading: "walks after it" },
  refillCycles: { heading: "walk cycles after it", axis: "walk cycles of the work after the flush" },
  totalCycles: { heading: "cycles", axis: "cycles of the flush and of the work after it" },
} as const;
type FractureRow = Row<typeof COLUMNS>;

/** The experiment. */
export const fracture: Experiment = {
  name: "fracture",
  summary: "INVLPG in a guest by the size of the host's pages: what it costs, and the work after it",
  description: `A guest works on global pages of 2 MiB, as a kernel on its direct map, then invalidates pages of 4 KiB that it has unmapped: one by one with
INVLPG, or all with one MOV to CR3, which leaves global pages. Then it works on the same pages again. Where the host backs a page of 2 MiB
with smaller ones, TLBs hold pieces of it ("fractured"), and on presets that say so any INVLPG removes everything of the guest. "Native" is the
same without a guest. Cycles are those of one round.`,
  parameters: [
    {
      name: "invlpgs",
      kind: "integers",
      low: 1,
      high: 512,
      default: [1, 4, 16, 33],
      summary: "pages invalidated in a round",
    },
    {
      name: "host_pages",
      kind: "words",
      words: GUEST_PAGE_SIZES,
      default: GUEST_PAGE_SIZES,
      summary: "pages of the host",
    },
    { name: "work", kind: "integer", low: 1, high: 4096, default: 64, summary: "4 KiB pieces that the guest works on" },
    { name: "rounds", kind: "integer", low: 1, high: 1e5, default: 50, summary: "rounds that are counted" },
  ],
  settings: [],
  hasKernel: false,
  runsGuests: true,
  example: "mmulab experiment fracture --invlpgs 33 --host-pages 4K,2M",
  headline: "totalCycles",
  sensitivityParameters: { invlpgs: "1,33", rounds: "5" },
  run,
};

function run(context: ExperimentContext): ExperimentOutcome {
  const { parameters, onProgress } = context;
  const plan = parameters
    .list("invlpgs")
    .flatMap((invlpgs) =>
      [NATIVE, ...parameters.words("host_pages")].flatMap((hostPage) =>
        ["INVLPG", "MOV CR3"].map((flush) => ({ invlpgs, hostPage, flush })),
      ),
    );
  const rows = plan.map((cell, i) => {
    onProgress(i, plan.length, `${counted(cell.invlpgs, "page")} on ${cell.hostPage}`);
    return measure(context, cell);
  });
  const table = new DataTable("fracture", "A flush and the work after it", COLUMNS, rows);
  const curveOf = ({ hostPage, flush }: FractureRow): string => `${flush}, ${hostPage}`;
  const style = { title: "Cycles of a round", xLog: true, yLog: false };
  return {
    tables: [table.toResult()],
    plots: [plotByKind(table, "invlpgs", "totalCycles", style, curveOf)],
    findings: findings(rows),
  };
}

function measure(context: ExperimentContext, plan: Pick<FractureRow, "invlpgs" | "hostPage" | "flush">): FractureRow {
  const { parameters } = context;
  const { invlpgs, hostPage, flush } = plan;
  const pieces = parameters.number("work");
  const rounds = parameters.number("rounds");
  const { machine, cpu } = cpuOf(context, hostPage, invlpgs, pieces);
  const clock = machine.loop.clockCycles;
  const sums = { flush: 0, work: 0, walks: 0, walkCycles: 0 };
  for (let round = -WARMUP; round < rounds; round++) {
    for (let i = 0; i < invlpgs; i++) cpu.touch(UNMAPPED + i * PAGE_BYTES);
    work(cpu, pieces);
    const start = clock[0];
    if (flush === "MOV CR3") cpu.writeCr3(cpu.cr3);
    else for (let i = 0; i < invlpgs; i++) cpu.invlpg(UNMAPPED + i * PAGE_BYTES);
    const flushed = clock[0];
    const before = cpu.counters();
    work(cpu, pieces);
    const after = cpu.counters();
    if (round < 0) continue;
    sums.flush += flushed - start;
    sums.work += clock[0] - flushed;
    sums.walks += after["dTLB-load-misses"] - before["dTLB-load-misses"];
    sums.walkCycles += after["dtlb_load_misses.walk_active"] - before["dtlb_load_misses.walk_active"];
  }
  const perRound = (sum: number): number => Math.round((sum / rounds) * 10) / 10;
  return {
    ...plan,
    flushCycles: perRound(sums.flush),
    refillWalks: perRound(sums.walks),
    refillCycles: perRound(sums.walkCycles),
    totalCycles: perRound(sums.flush + sums.work),
  };
}

/** Loads from each piece of 4 KiB of the pages that the guest works on, spread over them. */
function work(cpu: Cpu, pieces: number): void {
  for (let i = 0; i < pieces; i++) cpu.touch(WORK + pieceOffset(i));
}

/** Eight pieces in each page of 2 MiB. */
function pieceOffset(piece: number): number {
  return (
    Math.floor(piece / PIECES_PER_PAGE) * LARGE_BYTES + (piece % PIECES_PER_PAGE) * (LARGE_BYTES / PIECES_PER_PAGE)
  );
}

/** A CPU on tables with the pages, in the guest where there is one. */
function cpuOf(
  { preset, build }: ExperimentContext,
  hostPage: string,
  invlpgs: number,
  pieces: number,
): { readonly machine: Machine; readonly cpu: Cpu } {
  const machine = build(() => new Machine({ preset, memoryBytes: MACHINE_MEMORY_BYTES, features: { page1g: true } }));
  const [cpu] = machine.cpus;
  const largePages = Math.ceil(pieces / PIECES_PER_PAGE);
  const isNative = hostPage === NATIVE;
  const hypervisor = isNative ? null : new Hypervisor(machine, { pageSize: hostPage as GuestPageSize, levels: 4 });
  const space = hypervisor === null ? new NativeSpace(machine, 4) : new GuestSpace(hypervisor, 4);
  const map = (la: number, level: 1 | 2, bits: number): void => {
    const first = space.mapPage(la, level, bits);
    hypervisor?.giveAll(first, 512 ** (level - 1));
  };
  for (let i = 0; i < largePages; i++) map(WORK + i * LARGE_BYTES, 2, LEAF | PTE_GLOBAL);
  for (let i = 0; i < invlpgs; i++) map(UNMAPPED + i * PAGE_BYTES, 1, LEAF | PTE_USER);
  if (space instanceof GuestSpace) cpu.enterGuest(space.vcpu(1));
  else cpu.writeCr3(space.rootFrame * PAGE_BYTES);
  return { machine, cpu };
}

/** For each size of the host's pages: what the work pays after the fewest and after the most INVLPGs, and after MOV to CR3. */
function findings(rows: readonly FractureRow[]): string[] {
  return [...new Set(rows.map(({ hostPage }) => hostPage))].map((hostPage) => {
    const own = rows.filter((row) => row.hostPage === hostPage);
    const flushed = own.filter(({ flush }) => flush === "INVLPG");
    const counts = flushed.map(({ invlpgs }) => invlpgs);
    const after = [...new Set([Math.min(...counts), Math.max(...counts)])].map((count) => {
      const row = flushed.find(({ invlpgs }) => invlpgs === count);
      return `${row?.refillCycles} after ${counted(count, "INVLPG")}`;
    });
    const full = own.find(({ flush }) => flush === "MOV CR3");
    const where = hostPage === NATIVE ? "Natively" : `On host pages of ${hostPage}`;
    return `${where} the work walks for ${[...after, `${full?.refillCycles} after one MOV to CR3`].join(", ")} (cycles).`;
  });
}
