/** An emulated CPU as a {@link ChainTimer}: what the curves of a preset look like. */
import { Machine, type Preset, PTE_ACCESSED, PTE_DIRTY, PTE_PRESENT, PTE_RW } from "../../arch/index.ts";
import { bytesOfVisits, type ChainTimer } from "./chain-timer.ts";
import type { CurveOrigin } from "./curves.ts";

const LEAF = PTE_PRESENT | PTE_RW | PTE_ACCESSED | PTE_DIRTY;
const TOP_TABLE = 1;
/** All pages lead to one frame: data accesses cost the same wherever they go. */
const DATA_FRAME = 2;
const FIRST_TABLE = 3;
const MEMORY_BYTES = 2 ** 30;
/** As many pages as the probe has on the host. */
const MEMORY_PAGES = 9 * 2 ** 16;
/** Cycles of visits before the time counts: replacement settles, mostly. */
export const WARM_CYCLES = 6;
const CYCLES_MIN = 4;
const VISITS_MIN = 128;

/** Cycles of visits that are timed. @param visits of a cycle */
export function timedCycles(visits: number): number {
  return Math.max(CYCLES_MIN, Math.ceil(VISITS_MIN / visits));
}

/** Times chains on one CPU of a preset. */
export class EmulatedTimer implements ChainTimer {
  readonly memoryPages = MEMORY_PAGES;
  readonly isAligned = true;
  readonly origin: CurveOrigin;
  readonly clockGhz: number;
  private readonly machine: Machine;
  private readonly noise: () => number;
  /** Frames of page tables by level and the bits of the page number that lead to them. */
  private readonly tables = new Map<string, number>();
  private readonly mapped = new Set<number>();
  /** What a load that hits takes beyond what the emulated clock counts for it: its latency, which a dependent load waits for. */
  private readonly latencyCycles: number;

  /** @param noise a factor for each repetition, at least about 1; by default always 1 */
  constructor(preset: Preset, noise: () => number = () => 1) {
    this.machine = new Machine({ cpus: 1, memoryBytes: MEMORY_BYTES, preset });
    this.noise = noise;
    this.clockGhz = preset.frequencyGhz.value;
    const hitCycles = preset.dataCaches[0]?.hitCycles ?? preset.memory;
    this.latencyCycles = hitCycles.value - preset.costs.load.value;
    const vendor = preset.vendor === "amd" ? "AuthenticAMD" : "GenuineIntel";
    this.origin = { processor: preset.name, vendor, isVirtual: false, hugePages: "", madeBy: "emulated" };
  }

  time(visits: readonly number[], repetitions: number): number {
    const { machine } = this;
    const [cpu] = machine.cpus;
    for (const page of visits) this.map(page);
    const addresses = bytesOfVisits(visits);
    cpu.writeCr3(TOP_TABLE << 12);
    const visit = (cycles: number) => {
      for (let cycle = 0; cycle < cycles; cycle++) for (let i = 0; i < addresses.length; i++) cpu.load(addresses[i], 4);
    };
    visit(WARM_CYCLES);
    const before = machine.loop.clockCycles[0];
    const cycles = timedCycles(visits.length);
    visit(cycles);
    const spent = (machine.loop.clockCycles[0] - before) / (cycles * visits.length);
    const ns = (spent + this.latencyCycles) / this.clockGhz;
    let least = Number.POSITIVE_INFINITY;
    for (let i = 0; i < repetitions; i++) least = Math.min(least, ns * this.noise());
    return least;
  }

  private map(page: number): void {
    if (this.mapped.has(page)) return;
    this.mapped.add(page);
    const table = this.tableBelow(this.tableBelow(this.tableBelow(TOP_TABLE, 3, page), 2, page), 1, page);
    this.machine.memory.writeWord(table, 2 * (page % 512), (DATA_FRAME << 12) | LEAF);
  }

  private tableBelow(parent: number, level: number, page: number): number {
    const prefix = Math.floor(page / 512 ** level);
    const key = `${level}/${prefix}`;
    let frame = this.tables.get(key);
    if (frame === undefined) {
      frame = FIRST_TABLE + this.tables.size;
      this.tables.set(key, frame);
      this.machine.memory.writeWord(parent, 2 * (prefix % 512), (frame << 12) | LEAF);
    }
    return frame;
  }
}
