/** Where a trace shows memory in use, by its page walks and hits of the second-level TLB: the same places are used here. */
import { PageFault } from "../../arch/isa/faults.ts";
import { USER_END } from "../../mm/index.ts";
import type { Kernel } from "../machine/kernel.ts";
import type { FtraceEvent } from "./ftrace-lines.ts";
import type { Allocation, TracedCalls } from "./traced-calls.ts";

/** A place that is used. */
export interface TracedUse {
  /** A load (0), a store (1), an instruction (2). */
  readonly kind: number;
  /** What it lies in, and the bytes before it there; null for a place that is the same here. */
  readonly allocation: Allocation | null;
  readonly offset: number;
}

const STORE = 1;
const FETCH = 2;
const BYTES = 4;

/** Uses memory as the trace shows. */
export class TracedUses {
  /** Places that could not be used: nothing is mapped there here. */
  private missed = 0;
  /** Uses of memory that no traced call has allocated. */
  private unknown = 0;
  private readonly kernel: Kernel;

  constructor(kernel: Kernel) {
    this.kernel = kernel;
  }

  /** What a use of memory in the trace shows; null for memory that nothing is known of. */
  of({ kind, address }: FtraceEvent & { event: "use" }, traced: TracedCalls): TracedUse | null {
    if (address < BigInt(USER_END)) return { kind, allocation: null, offset: Number(address) };
    const found = traced.find(address);
    if (found !== null) return { kind, ...found };
    this.unknown++;
    return null;
  }

  /**
   * Uses the place on the current CPU, so that it is done at `atCycles`: the time between the calls of the trace has it in it, and its walks are
   * booked as walks, taken out of that time. On a CPU that is late here it takes its own time.
   */
  make({ kind, allocation, offset }: TracedUse, atCycles: number): void {
    const { machine } = this.kernel;
    const cpu = machine.cpus[machine.loop.currentCpu];
    if (allocation !== null && (!allocation.isMade || allocation.address === 0)) {
      this.missed++;
      return;
    }
    const la = allocation === null ? offset : allocation.address + offset;
    const { clockCycles, currentCpu } = machine.loop;
    try {
      if (kind === STORE) cpu.store(la, BYTES, 1);
      else if (kind === FETCH) cpu.fetch(la, BYTES);
      else cpu.load(la, BYTES);
    } catch (error) {
      if (!(error instanceof PageFault)) throw error;
      this.missed++;
    }
    if (clockCycles[currentCpu] < atCycles) clockCycles[currentCpu] = atCycles;
  }

  /** What could not be used, in words. */
  differences(): string[] {
    return [
      ...(this.missed === 0
        ? []
        : [`${this.missed} uses of memory in the trace are not made: nothing is mapped there here`]),
      ...(this.unknown === 0
        ? []
        : [`${this.unknown} uses of memory in the trace are not made: no traced call allocated what they are for`]),
    ];
  }
}
