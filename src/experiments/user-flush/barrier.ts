/** A barrier of the threads of a process: one makes the calls that are measured, the others run for a moment and sleep, their CPUs idle and in lazy mode. */
import { compute, type KernelCode, PAUSE_SLEEP, type Thread } from "../../../arch/index.ts";
import type { MmStruct, UserSpaces } from "../../../mm/index.ts";
import type { Kernel } from "../../machine/kernel.ts";

/** Between two looks at who has come to the barrier, and before the caller goes on: the others sleep by then. */
const SLICE_CYCLES = 2000;

/** A barrier at which a thread sleeps on every CPU but the first. */
export class Barrier {
  private readonly kernel: Kernel;
  private readonly spaces: UserSpaces;
  private readonly mm: MmStruct;
  private readonly inUserMode: (cpu: number) => void;
  private asleep: Thread[] = [];
  private isOpen = false;

  /** @param inUserMode what each thread does in user mode, on its CPU, before it sleeps */
  constructor(kernel: Kernel, spaces: UserSpaces, mm: MmStruct, inUserMode: (cpu: number) => void) {
    this.kernel = kernel;
    this.spaces = spaces;
    this.mm = mm;
    this.inUserMode = inUserMode;
  }

  /** Makes the threads that sleep. */
  spawnSleepers(): void {
    for (let cpu = 1; cpu < this.kernel.machine.cpus.length; cpu++) {
      this.kernel.spawn(`sleeper/${cpu}`, cpu, this.sleeper(cpu));
    }
  }

  /** The caller lets all go on for a round, and waits until they sleep again. */
  *allCome(): KernelCode<void> {
    const { loop } = this.kernel.machine;
    const thread = loop.currentThread;
    if (thread === null) return;
    while (this.asleep.length < loop.cpus - 1) yield* compute(thread, SLICE_CYCLES);
    this.wakeAll();
    while (this.asleep.length < loop.cpus - 1) yield* compute(thread, SLICE_CYCLES);
    yield* compute(thread, SLICE_CYCLES);
  }

  /** The end: all may go. */
  open(): void {
    this.isOpen = true;
    this.wakeAll();
  }

  /** What the thread on `cpu` does: runs in user mode and sleeps, its CPU idle and in lazy mode, again and again. */
  private *sleeper(cpu: number): KernelCode<void> {
    const { kernel, spaces, mm } = this;
    const { loop } = kernel.machine;
    const { userMode } = kernel.mm.flushing;
    while (loop.currentThread !== null) {
      this.asleep.push(loop.currentThread);
      yield PAUSE_SLEEP;
      if (this.isOpen) return;
      spaces.switchTo(mm);
      userMode.enterUser();
      this.inUserMode(cpu);
      userMode.enterKernel();
      spaces.switchTo(null);
    }
  }

  private wakeAll(): void {
    const { loop } = this.kernel.machine;
    for (const thread of this.asleep.splice(0)) loop.wake(thread, loop.nowCycles());
  }
}
