/** The host's CPU as a {@link ChainTimer}: chains of loads in WebAssembly, timed by the host's clock. */

import { WebAssembly } from "../../arch/wasm/encoding.ts";
import { bytesOfVisits, type ChainTimer } from "../calibration/chain-timer.ts";
import type { CurveOrigin } from "../calibration/curves.ts";
import { hostNs } from "./host-clock.ts";
import { type HostMemory, readOr } from "./host-memory.ts";
import { LOADS_OF_ROUND, MULTIPLICATIONS_OF_ROUND, probeModule } from "./wasm-module.ts";

/**
 * Cycles of a 32-bit multiplication that waits for the one before. Intel optimization manual (IMUL r32, r32) since Nehalem, AMD
 * software optimization guides since family 17h: 3.
 */
const MULTIPLY_CYCLES = 3;
const WORD_BYTES = 4;
/** Loads of a repetition: some 50 us to 1 ms, less than a scheduler's slice. */
const LOADS_OF_REPETITION = 12_000;
/** Times that the whole chain is visited before anything is timed. */
const WARM_CYCLES = 8;
/** Multiplications of a look at the clock: some 10 us. */
const CLOCK_ROUNDS = 500;
/**
 * Of the repetitions, sorted, the one that this part of them is faster than counts: what disturbs a repetition makes it longer, but looks
 * at the clock that were disturbed make it seem shorter. Where the looks before and after it differ it does not count at all.
 */
const LEAST_PART = 6;
/** What V8 takes to make fast code of both functions, with a margin: loads, and multiplications, before anything counts. */
const COMPILE_STEPS = 32_000_000;
const FIRST_CLOCK_LOOKS = 400;
/** Looks at the clock that differ by less saw the same clock. */
const SAME_CLOCK = 1.04;
/** Repetitions that are tried for each that counts, while the looks around them differ. */
const TRIES_MAX = 4;

interface ProbeExports {
  readonly chase: (pointer: number, rounds: number) => number;
  readonly multiply: (value: number, rounds: number) => number;
}

/** Times chains on the CPU that this program runs on. */
export class HostTimer implements ChainTimer {
  readonly memoryPages: number;
  readonly isAligned: boolean;
  readonly origin: CurveOrigin;
  readonly clockGhz: number;
  private readonly firstByte: number;
  private readonly words: Int32Array;
  private readonly probe: ProbeExports;
  /** What a multiplication took at the clock that all times are of. */
  private readonly multiplyNs: number;

  constructor({ memory, firstByte, pages, isAligned, hugePages }: HostMemory, madeBy: string) {
    this.memoryPages = pages;
    this.isAligned = isAligned;
    this.firstByte = firstByte;
    this.words = new Int32Array(memory.buffer);
    this.probe = new WebAssembly.Instance(new WebAssembly.Module(probeModule()), { probe: { memory } })
      .exports as ProbeExports;
    this.origin = { ...processor(), hugePages, madeBy };
    this.compile();
    this.multiplyNs = this.nsOfMultiply(FIRST_CLOCK_LOOKS);
    this.clockGhz = MULTIPLY_CYCLES / this.multiplyNs;
  }

  time(visits: readonly number[], repetitions: number): number {
    let pointer = this.link(visits);
    const rounds = Math.ceil(Math.max(LOADS_OF_REPETITION, visits.length) / LOADS_OF_ROUND);
    pointer = this.probe.chase(pointer, Math.ceil((WARM_CYCLES * visits.length) / LOADS_OF_ROUND));
    const sure: number[] = [];
    const unsure: number[] = [];
    let multiplyBefore = this.nsOfMultiply(1);
    while (sure.length < repetitions && sure.length + unsure.length < TRIES_MAX * repetitions) {
      const before = hostNs();
      pointer = this.probe.chase(pointer, rounds);
      const spentNs = hostNs() - before;
      const multiplyAfter = this.nsOfMultiply(1);
      const [less, more] = [Math.min(multiplyBefore, multiplyAfter), Math.max(multiplyBefore, multiplyAfter)];
      (more <= less * SAME_CLOCK ? sure : unsure).push(spentNs / less);
      multiplyBefore = multiplyAfter;
    }
    const ratios = (sure.length > 0 ? sure : unsure).sort((a, b) => a - b);
    // In multiplications, so that it does not matter which clock the CPU had just then.
    return (ratios[Math.floor(ratios.length / LEAST_PART)] / (rounds * LOADS_OF_ROUND)) * this.multiplyNs;
  }

  /** Writes the chain: each visit's word holds the address of the next one's. @returns the address of the first */
  private link(visits: readonly number[]): number {
    const addresses = bytesOfVisits(visits).map((byte) => this.firstByte + byte);
    for (let i = 0; i < addresses.length; i++) {
      this.words[addresses[i] / WORD_BYTES] = addresses[(i + 1) % addresses.length];
    }
    return addresses[0];
  }

  private nsOfMultiply(looks: number): number {
    let least = Number.POSITIVE_INFINITY;
    for (let i = 0; i < looks; i++) {
      const before = hostNs();
      this.probe.multiply(MULTIPLY_CYCLES, CLOCK_ROUNDS);
      least = Math.min(least, hostNs() - before);
    }
    return least / (CLOCK_ROUNDS * MULTIPLICATIONS_OF_ROUND);
  }

  /** Has both functions run until V8 has compiled them for speed. */
  private compile(): void {
    let pointer = this.link([0]);
    for (let steps = 0; steps < COMPILE_STEPS; steps += CLOCK_ROUNDS * MULTIPLICATIONS_OF_ROUND) {
      pointer = this.probe.chase(pointer, Math.ceil((CLOCK_ROUNDS * MULTIPLICATIONS_OF_ROUND) / LOADS_OF_ROUND));
      this.probe.multiply(MULTIPLY_CYCLES, CLOCK_ROUNDS);
    }
  }
}

/** What the system says of the processor. */
function processor(): Pick<CurveOrigin, "processor" | "vendor" | "isVirtual"> {
  const text = readOr("/proc/cpuinfo", "");
  const field = (name: string) => new RegExp(`^${name}\\s*: (.*)$`, "m").exec(text)?.[1] ?? "";
  const model = ["family", "model", "stepping"].map((part) => field(part === "family" ? "cpu family" : part));
  const flags = field("flags");
  return {
    processor: text === "" ? "" : `${field("model name")}, family ${model[0]}, model ${model[1]}, stepping ${model[2]}`,
    vendor: field("vendor_id"),
    isVirtual: flags === "" ? null : flags.split(" ").includes("hypervisor"),
  };
}
