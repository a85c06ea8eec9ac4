/**
 * Interrupts that CPUs take. Code between two pauses is emulated in one go, so that a CPU may have gone past the arrival of an interrupt
 * when it can take it; by the clock it took it as it arrived, or when interrupts were on again (`PendingInterrupts.takenAt`).
 */
import { CpuClocks } from "./cpu-clocks.ts";
import { ACTIVITY_INTERRUPT, SHARED_CORE } from "./cycle-accounts.ts";
import type { LateCpus } from "./hold-queue.ts";
import {
  INTERRUPTED_RUNNING,
  type InterruptHandler,
  interruptedState,
  NO_SENDER,
  type PendingInterrupt,
  PendingInterrupts,
} from "./pending-interrupts.ts";
import { ReadyQueue } from "./ready-queue.ts";
import { RunQueues } from "./run-queues.ts";
import { SharedCores } from "./shared-cores.ts";
import { PAUSE_COMPUTE } from "./thread.ts";
import type { VcpuScheduler } from "./vcpu-scheduler.ts";

/** CPUs with clocks that take interrupts. */
export abstract class InterruptedCpus extends CpuClocks {
  readonly interrupts = new PendingInterrupts(this.cpus);
  /** Shares out physical CPUs among these; null: each is one. */
  vcpuScheduler: VcpuScheduler | null = null;
  /** Earliest time at which another CPU than the current one can act, or an interrupt reaches the current one. */
  horizonCycles = Number.POSITIVE_INFINITY;
  /** Threads that could run. */
  readonly runQueues = new RunQueues(this.cpus);
  /** When each CPU can act. */
  protected readonly ready = new ReadyQueue(this.cpus);
  /** By CPU: why the thread that runs there paused; `PAUSE_TURN` once nothing keeps it from going on. */
  protected readonly pauses = new Uint8Array(this.cpus);
  /** By CPU: when that thread can go on; infinity while it waits to be woken. */
  protected readonly goesOnCycles = new Float64Array(this.cpus);
  /** Whether the current CPU's clock is set back for an interrupt handler. */
  private isSetBack = false;
  /** When the stores are done that it had not done at the time from which its clock is set back. */
  private storedAfterHandlerCycles = 0;

  /** A thread or a call from outside begins: interrupts and stores of those before it are over. */
  protected beginRun(): void {
    this.interrupts.beginRun();
    this.lines.beginRun();
  }

  /** What `cpu` is doing, as an interrupt finds it: one of the `INTERRUPTED_` values. */
  stateOf(cpu: number): number {
    // A CPU that waits or idles takes an interrupt when it arrives; only one that ran can be past that.
    return this.isSetBack ? INTERRUPTED_RUNNING : interruptedState(this.running[cpu]);
  }

  /** Sets a CPU's clock back for a handler that ran before the CPU came so far; what was booked stays as it is. */
  private setBack(cpu: number, cycles: number): void {
    this.accounts.setBack(cpu, cycles);
    this.clockCycles[cpu] -= cycles;
    this.storedAfterHandlerCycles = this.lines.storedAtCycles[cpu];
    this.lines.storedAtCycles[cpu] = 0;
    this.sharedCores?.wasSetBack(cpu, cycles);
    this.isSetBack = true;
  }

  /** The handler has ended, which took `tookCycles`: everything that the CPU did after its begin is later by that. Its own stores are done (IRET). */
  private setForward(cpu: number, cycles: number, tookCycles: number): void {
    this.accounts.setBack(cpu, -cycles);
    this.clockCycles[cpu] += cycles;
    this.lines.storedAtCycles[cpu] = this.storedAfterHandlerCycles + tookCycles;
    this.sharedCores?.wasSetBack(cpu, -cycles);
    this.isSetBack = false;
  }

  /** A timer's interrupt that reaches `cpu` at `arrivalCycles`; it is taken then, or, if it can be masked, once interrupts are on. */
  postInterrupt(cpu: number, arrivalCycles: number, handler: InterruptHandler, isMaskable = true): void {
    this.post(cpu, { arrivalCycles, handler, isMaskable, senderCpu: NO_SENDER, sentCycles: 0 });
  }

  /**
   * The current CPU sends an interrupt at `sentCycles`, which reaches `cpu` after `latencyCycles`: later, if it turns out before that the sender has
   * come so far later (`takeInterrupts`).
   */
  sendInterrupt(
    cpu: number,
    sentCycles: number,
    latencyCycles: number,
    handler: InterruptHandler,
    isMaskable = true,
  ): void {
    const arrivalCycles = sentCycles + latencyCycles;
    this.post(cpu, { arrivalCycles, handler, isMaskable, senderCpu: this.currentCpu, sentCycles });
  }

  private post(cpu: number, interrupt: PendingInterrupt): void {
    this.topology.checkCpu(cpu);
    this.interrupts.post(cpu, interrupt);
    if (cpu === this.currentCpu) this.lookAhead(cpu);
    this.refresh(cpu);
  }

  /** The current CPU has had interrupts off since `sinceCycles`: for plain code, which takes none before it pauses anyway. */
  interruptsWereOff(sinceCycles: number): void {
    this.interrupts.wereOff(this.currentCpu, sinceCycles, this.nowCycles());
  }

  /**
   * Lets `cpu`, which acts at `actsAtCycles`, take every interrupt that has arrived by its clock; whether there was one.
   *
   * By its clock, what the CPU did after a late handler's begin is as much later as the handler took, and so is the arrival of what it sent to other
   * CPUs after that (`sentLater`). None of these has been taken when the late handler runs, since the loop acts in the order of times and an
   * arrival lies after its sending.
   */
  protected takeInterrupts(cpu: number, actsAtCycles: number): boolean {
    const { interrupts, accounts, clockCycles } = this;
    let taken = false;
    const began = clockCycles[cpu];
    while (interrupts.nextAt[cpu] <= clockCycles[cpu]) {
      const interrupt = interrupts.take(cpu);
      if (interrupt === undefined) break;
      const at = interrupts.takenAt(cpu, interrupt.arrivalCycles, interrupt.isMaskable);
      const behind = clockCycles[cpu] - at;
      if (behind > 0) this.setBack(cpu, behind);
      const activity = accounts.enter(cpu, ACTIVITY_INTERRUPT);
      interrupts.handles(cpu);
      interrupt.handler(cpu);
      accounts.enter(cpu, activity);
      const tookCycles = clockCycles[cpu] - at;
      if (behind > 0) this.setForward(cpu, behind, tookCycles);
      for (const target of interrupts.handled(cpu, at, tookCycles, behind > 0)) this.refresh(target);
      this.idleCycles[cpu] = 0;
      taken = true;
    }
    interrupts.forgetBefore(cpu, actsAtCycles, clockCycles[cpu]);
    this.computesLater(cpu, this.clockCycles[cpu] - began);
    if (taken) this.sharedCores?.settle(cpu);
    return taken;
  }

  /**
   * What `cpu` did after `fromCycles`, which its clock has gone past, was `cycles` later: until then it was busy with `activity`, interrupts off. As
   * with an interrupt that it takes after it has gone past it, others see the difference from now on. The current CPU's clock is left
   * alone: if it has gone past that time, it runs an interrupt's handler, which makes what it did later anyway.
   */
  delay(cpu: number, fromCycles: number, cycles: number, activity: number): void {
    if (cpu === this.currentCpu) return;
    this.accounts.within(cpu, activity, this.clockCycles[cpu] + cycles);
    this.stalledCycles[cpu] += cycles;
    this.comesLater(cpu, fromCycles, cycles);
  }

  /** {@link delay} of CPUs that were put behind others at a line; what they wait is booked by `SharedLines.waitedCycles`. */
  delayForLine({ count, cpus, fromCycles, cycles }: LateCpus): void {
    const { currentCpu } = this;
    const { waitedCycles } = this.lines;
    for (let i = 0; i < count; i++) {
      const cpu = cpus[i];
      if (cpu === currentCpu) continue;
      waitedCycles[cpu] += cycles[cpu];
      this.comesLater(cpu, fromCycles[cpu], cycles[cpu]);
    }
  }

  /**
   * Siblings slow each other from now on where both execute; their clocks are those of vCPUs, whose host says what runs where, if a scheduler of such is
   * set later: then they do not.
   * @param throughput as for `SharedCores.of`
   */
  shareCores(throughput: number): void {
    this.sharedCores = SharedCores.of(this, throughput);
    if (this.sharedCores !== null) this.accounts.activity(SHARED_CORE);
  }

  /** What `cpu` did from `fromCycles` until `untilCycles`, interrupts included, took `cycles` more, as a sibling executed beside it. */
  stretch(cpu: number, fromCycles: number, untilCycles: number, cycles: number): void {
    this.interrupts.stretch(cpu, fromCycles, untilCycles, cycles);
    for (const target of this.interrupts.sentStretched(cpu, fromCycles, untilCycles, cycles)) this.refresh(target);
    this.accounts.within(cpu, this.accounts.activity(SHARED_CORE), this.clockCycles[cpu] + cycles);
    if (cpu !== this.currentCpu) {
      this.putForward(cpu, cycles);
      return;
    }
    this.clockCycles[cpu] += cycles;
    this.lines.storedAtCycles[cpu] += cycles;
    this.computesLater(cpu, cycles);
  }

  private comesLater(cpu: number, fromCycles: number, cycles: number): void {
    this.interrupts.wasLater(cpu, fromCycles, cycles);
    this.sentLater(cpu, fromCycles, cycles);
    this.putForward(cpu, cycles);
  }

  /** What `cpu` sent after `fromCycles` reaches others `cycles` later. */
  private sentLater(cpu: number, fromCycles: number, cycles: number): void {
    for (const target of this.interrupts.sentLater(cpu, fromCycles, cycles)) this.refresh(target);
  }

  /**
   * Puts a CPU's clock, and what its thread computes, forward by `cycles`. Most often the CPU could act at its clock and no interrupt comes before
   * that: then it still can.
   */
  private putForward(cpu: number, cycles: number): void {
    const { clockCycles } = this;
    const was = clockCycles[cpu];
    const clock = was + cycles;
    clockCycles[cpu] = clock;
    this.lines.storedAtCycles[cpu] += cycles;
    if (
      this.ready.at[cpu] === was &&
      this.interrupts.nextAt[cpu] >= clock &&
      this.vcpuScheduler === null &&
      this.pauses[cpu] !== PAUSE_COMPUTE
    ) {
      this.setReady(cpu, clock);
    } else {
      this.computesLater(cpu, cycles);
      this.refresh(cpu);
    }
  }

  /** The current CPU must not go past the arrival of its own next interrupt, if it can take it. */
  protected lookAhead(cpu: number): void {
    const arrival = this.interrupts.nextAt[cpu];
    if (arrival < this.horizonCycles) this.horizonCycles = arrival;
  }

  /** When `cpu` can act without an interrupt, at the earliest; infinity when it cannot. The thread that runs there is not looked at. */
  protected threadActsAt(cpu: number): number {
    const clock = this.clockCycles[cpu];
    return this.running[cpu] === null
      ? this.runQueues.earliestReady(cpu, clock)
      : Math.max(clock, this.goesOnCycles[cpu]);
  }

  /** Recomputes when `cpu` can act next. */
  refresh(cpu: number): void {
    const clock = this.clockCycles[cpu];
    const threadsAt = this.threadActsAt(cpu);
    const arrival = this.interrupts.nextAt[cpu];
    const at = Math.min(threadsAt, arrival < clock ? this.interrupts.takenAt(cpu, arrival) : arrival);
    if (this.vcpuScheduler === null) this.setReady(cpu, at);
    else this.vcpuScheduler.couldAct(cpu, at);
  }

  get earliestCycles(): number {
    return this.ready.firstAt;
  }

  /** Says when `cpu` can act next. */
  setReady(cpu: number, atCycles: number): void {
    this.ready.set(cpu, atCycles);
    if (cpu !== this.currentCpu && atCycles < this.horizonCycles) this.horizonCycles = atCycles;
  }

  /** What the thread of `cpu` was computing is done so much later. */
  computesLater(cpu: number, cycles: number): void {
    if (this.pauses[cpu] === PAUSE_COMPUTE) this.goesOnCycles[cpu] += cycles;
  }
}
