/** `nested-walk`: page walks of a guest in two dimensions beside those of a native system, by page sizes, levels and footprint. */
import { type Cpu, Machine } from "../../arch/index.ts";
import { GuestSpace } from "../guests/guest-space.ts";
import { GUEST_PAGE_SIZES, type GuestPageSize, Hypervisor, levelOfPage } from "../guests/hypervisor.ts";
import { NativeSpace } from "../guests/native-space.ts";
import { type Random, randomStream } from "../machine/random.ts";
import type { Experiment, ExperimentContext, ExperimentOutcome } from "./base/experiment.ts";
import {
  footprintsParameter,
  isWholePages,
  MACHINE_MEMORY_BYTES,
  MAPPED_AT,
  MAPPED_BITS,
  roundedTo,
} from "./base/mapped-memory.ts";
import { plotByKind } from "./base/plot.ts";
import { DataTable, type Row } from "./base/table.ts";

const MIB = 2 ** 20;
const PAGE_BYTES = 4096;
const GIB_FRAMES = 2 ** 18;
/** Walks after a flush that are averaged. */
const COLD_WALKS = 64;
const NATIVE = "native";

const COLUMNS = {
  sizeMiB: { heading: "MiB", axis: "memory (MiB)" },
  guestPage: { heading: "page", text: true },
  hostPage: { heading: "host page", text: true },
  guestLevels: { heading: "levels" },
  hostLevels: { heading: "host levels" },
  missPercent: { heading: "misses %", axis: "misses (% of accesses)" },
  cyclesPerWalk: { heading: "cycles/walk", mayLack: true, axis: "cycles per walk" },
  walkCyclesPerAccess: { heading: "walk cycles/access", axis: "walk cycles per access" },
  overNativeCycles: { heading: "cycles/access over native" },
  coldWalkCycles: { heading: "cycles/walk after a flush" },
} as const;
type WalkRow = Row<typeof COLUMNS>;
type Plan = Pick<WalkRow, "sizeMiB" | "guestPage" | "hostPage" | "guestLevels" | "hostLevels">;

/** The experiment. */
export const nestedWalk: Experiment = {
  name: "nested-walk",
  summary: "page walks of a guest beside native ones: all pairs of page sizes and levels, by footprint",
  description: `One CPU loads words at random addresses of memory that is mapped with pages of one size; natively, and in a guest whose memory the host
maps with pages of each size. Misses are loads that no TLB level served, walk cycles those of both dimensions. "Over native" is what walk
cycles per access are above those of the native row of the same footprint, page size and levels. The last column is a walk right after everything
that the caches hold of guest and host has gone, when each level of each dimension is fetched. Everything is mapped before the first load.
Sizes that are no whole number of pages are left out; levels of the host that the CPU does not have for guests, too.`,
  parameters: [
    footprintsParameter([64, 1024]),
    { name: "pages", kind: "words", words: GUEST_PAGE_SIZES, default: GUEST_PAGE_SIZES, summary: "page sizes" },
    { name: "host_pages", kind: "words", words: GUEST_PAGE_SIZES, default: GUEST_PAGE_SIZES, summary: "of the host" },
    { name: "levels", kind: "integers", low: 4, high: 5, default: [4, 5], summary: "levels of the guest's tables" },
    { name: "host_levels", kind: "integers", low: 4, high: 5, default: [4, 5], summary: "levels of the host's" },
    {
      name: "accesses",
      kind: "integer",
      low: 1,
      high: 1e8,
      default: 10_000,
      summary: "loads for each cell, after as many to warm up",
    },
    {
      name: "scatter",
      kind: "integer",
      unit: "GiB",
      low: 0,
      high: 512,
      default: 0,
      summary: "GiB that the guest's pages and tables are scattered over; 0: they lie side by side",
    },
  ],
  settings: [],
  hasKernel: false,
  runsGuests: true,
  example: "mmulab experiment nested-walk --size 1024 --levels 4 --host-levels 4",
  headline: "walkCyclesPerAccess",
  sensitivityParameters: { size: "64", levels: "4", host_levels: "4", accesses: "2000" },
  run,
};

function run(context: ExperimentContext): ExperimentOutcome {
  const { onProgress, preset } = context;
  const plan = cellsOf(context);
  const rows: WalkRow[] = [];
  plan.forEach((cell, i) => {
    onProgress(i, plan.length, `${cell.sizeMiB} MiB, ${cell.guestPage} on ${cell.hostPage}`);
    const measured = measure(context, cell);
    const native = rows.find(
      (row) =>
        row.hostPage === NATIVE &&
        row.sizeMiB === cell.sizeMiB &&
        row.guestPage === cell.guestPage &&
        row.guestLevels === cell.guestLevels,
    );
    const base = native?.walkCyclesPerAccess ?? measured.walkCyclesPerAccess;
    rows.push({ ...measured, overNativeCycles: roundedTo(measured.walkCyclesPerAccess - base, 100) });
  });
  const table = new DataTable("nested-walk", "Loads, native and in a guest", COLUMNS, rows);
  const curveOf = ({ guestPage, hostPage, guestLevels, hostLevels }: WalkRow): string =>
    hostPage === NATIVE
      ? `${guestPage} native, ${guestLevels} levels`
      : `${guestPage} on ${hostPage}, ${guestLevels} in ${hostLevels} levels`;
  const style = { xLog: true, yLog: false };
  return {
    tables: [table.toResult()],
    plots: [
      plotByKind(table, "sizeMiB", "walkCyclesPerAccess", { title: "Walk cycles per access", ...style }, curveOf),
      plotByKind(table, "sizeMiB", "missPercent", { title: "Misses of all TLB levels", ...style }, curveOf),
    ],
    findings: [
      ...(context.parameters.list("host_levels").includes(5) && !hasHostLevels(context, 5)
        ? [`Five levels of the host are left out: ${preset.name} has none for guests.`]
        : []),
      ...(rows.length === 0 ? ["No footprint is a whole number of pages of any size."] : findings(rows)),
    ],
  };
}

function cellsOf(context: ExperimentContext): Plan[] {
  const { parameters } = context;
  const hosts = parameters.list("host_levels").filter((levels) => hasHostLevels(context, levels));
  const cells: Plan[] = [];
  for (const sizeMiB of parameters.list("size")) {
    for (const guestPage of parameters.words("pages")) {
      if (!isWholePages(sizeMiB, guestPage)) continue;
      for (const guestLevels of parameters.list("levels")) {
        cells.push({ sizeMiB, guestPage, hostPage: NATIVE, guestLevels, hostLevels: 0 });
        for (const hostPage of parameters.words("host_pages")) {
          for (const hostLevels of hosts) cells.push({ sizeMiB, guestPage, hostPage, guestLevels, hostLevels });
        }
      }
    }
  }
  return cells;
}

/** Whether a guest can have a second stage of so many levels: of EPT as the preset says, of AMD's as the host's own tables. */
function hasHostLevels({ preset }: ExperimentContext, levels: number): boolean {
  return levels === 4 || preset.vendor === "amd" || preset.virtualization.features.ept5;
}

function measure(context: ExperimentContext, plan: Plan): WalkRow {
  const { parameters, seed } = context;
  const cpu = cpuOf(context, plan, parameters.number("scatter"), seed);
  const accesses = parameters.number("accesses");
  const random = randomStream(seed, 0);
  const pages = (plan.sizeMiB * MIB) / PAGE_BYTES;
  const load = (): void => {
    cpu.touch(MAPPED_AT + random.between(0, pages - 1) * PAGE_BYTES);
  };
  for (let i = 0; i < accesses; i++) load();
  const before = cpu.counters();
  for (let i = 0; i < accesses; i++) load();
  const after = cpu.counters();
  const misses = after["dTLB-load-misses"] - before["dTLB-load-misses"];
  const walkCycles = after["dtlb_load_misses.walk_active"] - before["dtlb_load_misses.walk_active"];
  return {
    ...plan,
    missPercent: roundedTo((100 * misses) / accesses, 100),
    cyclesPerWalk: misses === 0 ? null : roundedTo(walkCycles / misses, 10),
    walkCyclesPerAccess: roundedTo(walkCycles / accesses, 100),
    overNativeCycles: 0,
    coldWalkCycles: coldWalkCycles(cpu, pages, random),
  };
}

/** A CPU with the memory mapped, in the guest where there is one. */
function cpuOf({ preset, build }: ExperimentContext, plan: Plan, scatterGib: number, seed: number): Cpu {
  const { sizeMiB, hostPage, guestLevels, hostLevels } = plan;
  const guestPage = plan.guestPage as GuestPageSize;
  const isNative = hostPage === NATIVE;
  const needs57 = guestLevels === 5 || hostLevels === 5;
  const features = { page1g: true, ...(needs57 ? { la57: true } : {}) };
  const pagingLevels = (isNative ? guestLevels : preset.vendor === "amd" ? hostLevels : 4) as 4 | 5;
  const machine = build(() => new Machine({ preset, memoryBytes: MACHINE_MEMORY_BYTES, features, pagingLevels }));
  const [cpu] = machine.cpus;
  const level = levelOfPage(guestPage);
  const pageBytes = PAGE_BYTES * 512 ** (level - 1);
  const end = MAPPED_AT + sizeMiB * MIB;
  if (isNative) {
    const space = new NativeSpace(machine, pagingLevels);
    for (let la = MAPPED_AT; la < end; la += pageBytes) space.mapPage(la, level, MAPPED_BITS);
    cpu.writeCr3(space.rootFrame * PAGE_BYTES);
    return cpu;
  }
  const scattered = scatterGib === 0 ? null : { frames: scatterGib * GIB_FRAMES, random: randomStream(seed, 1) };
  const hypervisor = new Hypervisor(machine, { pageSize: hostPage as GuestPageSize, levels: hostLevels as 4 | 5 });
  const space = new GuestSpace(hypervisor, guestLevels as 4 | 5, scattered);
  for (let la = MAPPED_AT; la < end; la += pageBytes)
    hypervisor.giveAll(space.mapPage(la, level, MAPPED_BITS), 512 ** (level - 1));
  cpu.enterGuest(space.vcpu(1));
  return cpu;
}

/** Cycles of a walk when nothing of either dimension is cached. */
function coldWalkCycles(cpu: Cpu, pages: number, random: Random): number {
  let cycles = 0;
  for (let i = 0; i < COLD_WALKS; i++) {
    forgetAll(cpu);
    const before = cpu.counters()["dtlb_load_misses.walk_active"];
    cpu.touch(MAPPED_AT + random.between(0, pages - 1) * PAGE_BYTES);
    cycles += cpu.counters()["dtlb_load_misses.walk_active"] - before;
  }
  return roundedTo(cycles / COLD_WALKS, 10);
}

/** Empties TLBs and the caches of both dimensions: INVEPT of everything, or a VMRUN with TLB_CONTROL 1; natively a flush. */
function forgetAll(cpu: Cpu): void {
  const { vcpu } = cpu;
  if (vcpu === null) {
    cpu.flushTlbAll();
    return;
  }
  cpu.exitGuest();
  if (vcpu.secondStage !== null && "eptp" in vcpu.secondStage) {
    cpu.invept(2, 0n);
    cpu.enterGuest(vcpu);
    return;
  }
  vcpu.tlbControl = 1;
  cpu.enterGuest(vcpu);
  vcpu.tlbControl = 0;
}

/** What the second dimension costs where it costs most, and what large pages on one side or both give. */
function findings(rows: readonly WalkRow[]): string[] {
  const lines: string[] = [];
  for (const native of rows) {
    if (native.hostPage !== NATIVE || native.guestPage !== "4K") continue;
    const same = rows.filter(
      ({ sizeMiB, guestLevels, hostPage, hostLevels }) =>
        hostPage !== NATIVE &&
        sizeMiB === native.sizeMiB &&
        guestLevels === native.guestLevels &&
        hostLevels === native.guestLevels,
    );
    if (same.length === 0) continue;
    const described = same.map((row) => `${row.guestPage} on ${row.hostPage} ${row.walkCyclesPerAccess}`).join(", ");
    lines.push(
      `${native.sizeMiB} MiB, ${native.guestLevels} levels: ${native.walkCyclesPerAccess} walk cycles per access native with 4K pages; in a guest, its pages on the host's: ${described}.`,
    );
  }
  return lines;
}
