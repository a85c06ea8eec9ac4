/** CPUs that have memory of their own to work on: what a flush takes away from them, they must walk for again. */
import { compute, type KernelCode, PAGE_SIZE } from "../../../arch/index.ts";
import type { Kernel } from "../../machine/kernel.ts";
import { computeUntil } from "./busy-cpu.ts";

/** How long the others have been busy when CPU 0 acts, in cycles. */
const LEAD_CYCLES = 10_000;

/** A resident area for each CPU of a kernel. */
export class ResidentCpus {
  private readonly kernel: Kernel;
  private readonly pages: number;
  private readonly areas: readonly number[];

  /** @param pages pages of each CPU's area */
  constructor(kernel: Kernel, pages: number) {
    this.kernel = kernel;
    this.pages = pages;
    this.areas = kernel.machine.cpus.map(() =>
      pages === 0 ? 0 : kernel.vmalloc(pages * PAGE_SIZE, "resident+0x0/0x0"),
    );
  }

  /** One CPU's thread touches every page of its area. */
  touch(cpu: number): void {
    const { [cpu]: target } = this.kernel.machine.cpus;
    for (let page = 0; page < this.pages; page++) target.touch(this.areas[cpu] + page * PAGE_SIZE);
  }

  /** Every CPU touches its area; returns when all have. */
  touchAll(): void {
    const { kernel } = this;
    for (const { id } of kernel.machine.cpus) kernel.spawn(`touch/${id}`, id, this.touching(id));
    kernel.runUntilIdle();
  }

  /**
   * Runs `code` on CPU 0 while all others work: they compute, in user mode if `inUser`, until it is done, and touch their
   * areas after it, as CPU 0 does.
   */
  runAmongBusy(code: KernelCode<void>, inUser: boolean): void {
    const { kernel } = this;
    const { loop } = kernel.machine;
    const { userMode } = kernel.vm.flushing;
    let done = false;
    // All start at the same time, whoever is ahead by now.
    const start = Math.max(...loop.clockCycles);
    const busy = function* (this: ResidentCpus, cpu: number): KernelCode<void> {
      if (loop.currentThread !== null) yield* compute(loop.currentThread, start - loop.nowCycles());
      if (inUser) userMode.enterUser();
      yield* computeUntil(loop, () => done);
      if (inUser) userMode.enterKernel();
      this.touch(cpu);
    };
    const acting = function* (this: ResidentCpus): KernelCode<void> {
      // The others are well under way when it acts.
      const wait = start + LEAD_CYCLES - loop.nowCycles();
      if (loop.currentThread !== null) yield* compute(loop.currentThread, wait);
      yield* code;
      done = true;
      this.touch(0);
    };
    for (let cpu = 1; cpu < loop.cpus; cpu++) kernel.spawn(`busy/${cpu}`, cpu, busy.call(this, cpu));
    kernel.spawn("acting", 0, acting.call(this));
    kernel.runUntilIdle();
  }

  // biome-ignore lint/correctness/useYield: kernel code is a generator even where it never waits
  private *touching(cpu: number): KernelCode<void> {
    this.touch(cpu);
  }
}
