/**
 * Which vCPU runs on each physical CPU, as threads of vCPUs do in a host that gives each its share of the time (`kernel/sched/fair.c`), simplified:
 * a vCPU stays on its physical CPU; while another waits for that, it runs for a slice, then the one that has waited longest does. One that
 * has nothing to do (HLT) gives its physical CPU away at once if another waits, and else polls for a while before it blocks
 * (`kvm_vcpu_halt`). What a vCPU is to do while it does not run waits: interrupts too.
 */
import type { EventLoop, VcpuScheduler } from "../../arch/index.ts";
import { checkState } from "../../arch/isa/state-error.ts";

/** Times of a scheduler, in cycles. */
export interface SchedulerTimes {
  /** How long a vCPU runs while another waits. */
  readonly sliceCycles: number;
  /** How long one without anything to do polls before it blocks (`halt_poll_ns`). */
  readonly haltPollCycles: number;
}

/** What a vCPU begins to run after. */
export type Resumption = "preemption" | "halt";

/** Which vCPUs run, and what each has lost to others. Arrays have one element a vCPU, the first two one a physical CPU. */
export interface HostSchedulerState {
  /** The vCPU that has it, and since when. */
  readonly current: Int32Array;
  readonly sliceStart: Float64Array;
  readonly stolenCycles: Float64Array;
  readonly preemptions: Float64Array;
  /** Since when each has had something to do and no physical CPU; -1 for not. */
  readonly offSince: Float64Array;
}

/** The scheduler of one host. */
export class HostScheduler implements VcpuScheduler {
  /** By vCPU: cycles in which it had something to do and another ran on its physical CPU. */
  readonly stolenCycles: Float64Array;
  /** By vCPU: how often it lost its physical CPU although it had something to do. */
  readonly preemptions: Float64Array;
  private readonly loop: EventLoop;
  private readonly physicalCpus: number;
  private readonly times: SchedulerTimes;
  private readonly onResume: (cpu: number, after: Resumption) => void;
  private readonly stolen: number;
  /** By physical CPU: its vCPUs, the one that has it, and since when. */
  private readonly vcpusOf: readonly (readonly number[])[];
  private readonly current: Int32Array;
  private readonly sliceStart: Float64Array;
  /** By vCPU: when it could act if it had a physical CPU, and since when it has been without one although it has something to do, or -1. */
  private readonly wantsAt: Float64Array;
  private readonly offSince: Float64Array;
  /** By vCPU: since when it has been in the host and waits there, or -1. */
  private readonly heldSince: Float64Array;
  /** By vCPU: 1 if somebody who found it preempted counts on what it does when it runs again, however soon that is. */
  private readonly skipped: Uint8Array;
  /** vCPUs that could act at some time without another's doing. */
  private able = 0;

  /** @param onResume books what it takes that a vCPU runs again; called on its clock */
  constructor(
    loop: EventLoop,
    physicalCpus: number,
    times: SchedulerTimes,
    onResume: (cpu: number, after: Resumption) => void,
  ) {
    const { cpus } = loop;
    this.loop = loop;
    this.physicalCpus = physicalCpus;
    this.times = times;
    this.onResume = onResume;
    this.stolen = loop.accounts.activity("stolen by other vCPUs");
    this.stolenCycles = new Float64Array(cpus);
    this.preemptions = new Float64Array(cpus);
    this.vcpusOf = Array.from({ length: physicalCpus }, (_, physical) =>
      Array.from({ length: Math.ceil((cpus - physical) / physicalCpus) }, (_, i) => physical + i * physicalCpus),
    );
    this.current = Int32Array.from(this.vcpusOf, ([first]) => first);
    this.sliceStart = new Float64Array(physicalCpus);
    this.wantsAt = new Float64Array(cpus).fill(Number.POSITIVE_INFINITY);
    this.offSince = new Float64Array(cpus).fill(-1);
    this.heldSince = new Float64Array(cpus).fill(-1);
    this.skipped = new Uint8Array(cpus);
  }

  /** Whether a vCPU does not run: it was preempted, or has blocked for want of anything to do. @param atCycles the time now */
  isPreempted(cpu: number, atCycles: number): boolean {
    if (this.current[cpu % this.physicalCpus] !== cpu) return true;
    return !this.isBusy(cpu) && atCycles - this.loop.clockCycles[cpu] > this.times.haltPollCycles;
  }

  /**
   * A vCPU was found preempted, and is to do something when it runs again. It may have had something to do before the time at which it was
   * found so, and only not have come to it: what it does then comes after all the same.
   */
  skip(cpu: number): void {
    this.skipped[cpu] = 1;
  }

  /** Whether a vCPU is entered anew before it does anything: it does not have its physical CPU, or was found so. */
  isEnteredFirst(cpu: number): boolean {
    return this.current[cpu % this.physicalCpus] !== cpu || this.skipped[cpu] !== 0;
  }

  /** A vCPU waits in the host, with whatever it has to do, until {@link release}. */
  hold(cpu: number): void {
    this.heldSince[cpu] = this.loop.clockCycles[cpu];
    this.choose(cpu % this.physicalCpus);
  }

  isHeld(cpu: number): boolean {
    return this.heldSince[cpu] >= 0;
  }

  /** Ends that. */
  release(cpu: number, atCycles: number): void {
    const { loop, heldSince } = this;
    const waited = atCycles - Math.max(heldSince[cpu], loop.clockCycles[cpu]);
    heldSince[cpu] = -1;
    if (waited <= 0) return;
    loop.interrupts.wereOff(cpu, loop.clockCycles[cpu], atCycles, true);
    loop.clockCycles[cpu] = atCycles;
    loop.computesLater(cpu, waited);
  }

  /** Copies its state while nothing is under way. @throws StateError for a vCPU that waits in the host */
  capture(): HostSchedulerState {
    const held = this.heldSince.findIndex((since) => since >= 0);
    checkState(`vCPU ${held}`, held < 0, "waits in the host");
    return {
      current: this.current.slice(),
      sliceStart: this.sliceStart.slice(),
      stolenCycles: this.stolenCycles.slice(),
      preemptions: this.preemptions.slice(),
      offSince: this.offSince.slice(),
    };
  }

  /** Brings it into a captured state; `EventLoop.refresh` then says when each vCPU can act. @throws StateError for other CPUs */
  restore(state: HostSchedulerState): void {
    const { current, sliceStart, stolenCycles, preemptions, offSince, vcpusOf } = this;
    const fits =
      state.current.length === current.length &&
      state.sliceStart.length === current.length &&
      [state.stolenCycles, state.preemptions, state.offSince].every(({ length }) => length === offSince.length) &&
      vcpusOf.every((vcpus, physical) => vcpus.includes(state.current[physical]));
    checkState("scheduler of vCPUs", fits, `is not one of ${offSince.length} vCPUs on ${current.length} CPUs`);
    current.set(state.current);
    sliceStart.set(state.sliceStart);
    stolenCycles.set(state.stolenCycles);
    preemptions.set(state.preemptions);
    offSince.set(state.offSince);
  }

  couldAct(cpu: number, atCycles: number): void {
    const was = this.wantsAt[cpu];
    if (was !== atCycles) {
      this.wantsAt[cpu] = atCycles;
      this.able += (atCycles < Number.POSITIVE_INFINITY ? 1 : 0) - (was < Number.POSITIVE_INFINITY ? 1 : 0);
    }
    this.choose(cpu % this.physicalCpus);
  }

  act(cpu: number, atCycles: number): boolean {
    const physical = cpu % this.physicalCpus;
    const { clockCycles } = this.loop;
    if (this.current[physical] !== cpu) {
      this.switchTo(physical, cpu, atCycles);
      return true;
    }
    const halted = atCycles - clockCycles[cpu];
    if (this.skipped[cpu] === 0 && (this.isBusy(cpu) || halted <= this.times.haltPollCycles)) return false;
    this.loop.catchUp(cpu, atCycles);
    this.resume(cpu, "halt", atCycles);
    return true;
  }

  take(cpu: number): void {
    const physical = cpu % this.physicalCpus;
    const before = this.current[physical];
    if (before === cpu) {
      if (this.skipped[cpu] !== 0) this.resume(cpu, "halt", this.loop.clockCycles[cpu]);
      return;
    }
    const { clockCycles } = this.loop;
    this.switchTo(physical, cpu, Math.max(clockCycles[cpu], clockCycles[before]));
    this.choose(physical);
  }

  /** Takes the physical CPU from the vCPU that has it. */
  private switchTo(physical: number, cpu: number, atCycles: number): void {
    const { loop, current, offSince, wantsAt } = this;
    const before = current[physical];
    if (this.isBusy(before)) {
      loop.catchUp(before, atCycles);
      offSince[before] = loop.clockCycles[before];
      this.preemptions[before]++;
    }
    const wasPreempted = offSince[cpu] >= 0;
    if (!wasPreempted) loop.catchUp(cpu, Math.min(atCycles, Math.max(wantsAt[cpu], loop.clockCycles[cpu])));
    const sinceCycles = loop.clockCycles[cpu];
    this.steal(cpu, atCycles);
    offSince[cpu] = -1;
    current[physical] = cpu;
    this.sliceStart[physical] = atCycles;
    this.resume(cpu, wasPreempted ? "preemption" : "halt", sinceCycles);
  }

  /** A vCPU that has not run since `sinceCycles` does; interrupts that came meanwhile it takes now. */
  private resume(cpu: number, after: Resumption, sinceCycles: number): void {
    this.skipped[cpu] = 0;
    this.onResume(cpu, after);
    this.loop.interrupts.wereOff(cpu, sinceCycles, this.loop.clockCycles[cpu], true);
  }

  /** Moves a vCPU's clock over time in which it did not run although it had something to do. */
  private steal(cpu: number, untilCycles: number): void {
    const { loop } = this;
    const cycles = untilCycles - loop.clockCycles[cpu];
    if (cycles <= 0) return;
    const activity = loop.accounts.enter(cpu, this.stolen);
    loop.clockCycles[cpu] = untilCycles;
    loop.accounts.enter(cpu, activity);
    this.stolenCycles[cpu] += cycles;
    // What it was computing is not done any sooner.
    loop.computesLater(cpu, cycles);
  }

  /** Whether a vCPU that has its physical CPU uses it. */
  private isBusy(cpu: number): boolean {
    return this.isHeld(cpu) || this.loop.running[cpu] !== null || this.wantsAt[cpu] <= this.loop.clockCycles[cpu];
  }

  /** Says which vCPU of a physical CPU acts next, and when: the one that has it, or the one that has waited longest. */
  private choose(physical: number): void {
    const { loop, wantsAt, offSince } = this;
    const running = this.current[physical];
    loop.setReady(running, this.heldSince[running] >= 0 ? Number.POSITIVE_INFINITY : wantsAt[running]);
    if (this.vcpusOf[physical].length === 1) return;
    const clock = loop.clockCycles[running];
    const free = this.isBusy(running) ? Math.max(clock, this.sliceStart[physical] + this.times.sliceCycles) : clock;
    let next = -1;
    let nextAt = Number.POSITIVE_INFINITY;
    let waitsSince = Number.POSITIVE_INFINITY;
    for (const cpu of this.vcpusOf[physical]) {
      if (cpu === running) continue;
      loop.setReady(cpu, Number.POSITIVE_INFINITY);
      // A vCPU that waits busily has something to do, but only while another can end its wait.
      const since = offSince[cpu] < 0 ? wantsAt[cpu] : this.able > 0 ? offSince[cpu] : Number.POSITIVE_INFINITY;
      const at = Math.max(free, since);
      if (at > nextAt || (at === nextAt && since >= waitsSince)) continue;
      next = cpu;
      nextAt = at;
      waitsSince = since;
    }
    if (next >= 0) loop.setReady(next, nextAt);
  }
}
