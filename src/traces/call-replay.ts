/**
 * Replays a trace call by call: the same calls of vmalloc, on the same CPUs at the same times, in an emulated kernel whose own pools, lazy
 * lists, purges and page tables do the rest. CPUs run at the same time: one thread each makes the calls of its CPU in their order; between
 * them the CPU computes, or sleeps where the trace says that it was idle.
 *
 * With the traced `lazy_max_pages` the drain work runs when it ran there; with another one when it must here. An area of which no call is
 * known (other kernel code allocated it) is reserved and not mapped.
 */
import { PAGE_SIZE } from "../../arch/isa/linear-address.ts";
import { type KernelCode, PAUSE_RESCHED, PAUSE_TURN } from "../../arch/time/event-loop.ts";
import { sleepUntil } from "../../mm/kernel/jiffies.ts";
import type { Kernel } from "../machine/kernel.ts";
import { CallMaker, isFree } from "./call-maker.ts";
import type { FtraceEvent } from "./ftrace-lines.ts";
import type { CallCost, FtraceOptions, FtraceReport } from "./ftrace-report.ts";
import type { SkipList } from "./ftrace-skips.ts";
import type { FtraceSurvey } from "./ftrace-survey.ts";
import { makeInitialAreas } from "./initial-areas.ts";
import { spinUntil } from "./spin-until.ts";
import { TaskCosts } from "./task-costs.ts";
import { type TracedCall, TracedCalls } from "./traced-calls.ts";
import { TracedKernel } from "./traced-kernel.ts";
import { type TracedUse, TracedUses } from "./traced-uses.ts";

/**
 * Calls that are read before the emulated CPUs make them: each CPU stops between two calls then, so that some of the next batch are a few
 * microseconds late. 65,536 calls take some 60 MB.
 */
const BATCH_CALLS = 2 ** 16;
/** How often a busy CPU looks whether another of its threads is ready, in microseconds: at first, and */
const POLL_USEC = 20;
/** after one part in so many of the time that it has been busy, so that an hour takes no longer to replay than a second. */
const BUSY_TIME_PARTS = 64;

/** Calls that begin at the same time begin in the order of their lines, each a fraction of a cycle after the one before. */
const TIE_LINES = 2 ** 20;
/** A call that takes longer has ended, but the trace does not say so. */
const CALL_SECONDS_MAX = 1;
/** Uses of memory that are not further apart come from one piece of code, which nothing interrupts between two pauses. */
const USES_APART_CYCLES = 1000;
/** A CPU that goes back to idle within this time, in microseconds, had only been interrupted; assumed: some times what a handler takes. */
const INTERRUPTION_USEC_MAX = 10;
/** How much later than in the trace, at most, an idle CPU waits for such an interrupt: calls before it took longer here, if it comes at all. */
const LATER_USEC_MAX = 50;
const LATER_STEP_CYCLES = 500;
/** How long before the first event the CPUs' threads begin: to begin takes some time. */
const LEAD_CYCLES = 10_000;

/** What a CPU's thread does next: a call, or times to pass. */
type Step =
  | { readonly call: TracedCall }
  | { readonly idleFromCycles: number }
  | { readonly untilCycles: number }
  /** Idle until then; `interrupts`: those that found it idle, which it was again right after each. */
  | { readonly wokenCycles: number; readonly interrupts: number }
  | { readonly isInUser: boolean; readonly atCycles: number }
  | { readonly use: TracedUse; readonly atCycles: number }
  /** A fault of user mode. */
  | { readonly faultAt: number; readonly errorCode: number; readonly atCycles: number };

/** Replays a trace of calls, event by event. */
export class CallReplay {
  private readonly subject: TracedKernel;
  private readonly kernel: Kernel;
  private readonly survey: FtraceSurvey;
  private readonly skipped: SkipList;
  private readonly traced: TracedCalls;
  private readonly maker: CallMaker;
  private readonly uses: TracedUses;
  /** What each CPU has still to do. */
  private readonly steps: Step[][];
  private readonly isIdle: boolean[];
  /** When each CPU's last call ended, in the trace and here; null when the CPU was idle since, or nothing says whether it was. */
  private readonly ended: ({ readonly tracedCycles: number; readonly cycles: number } | null)[];
  private readonly calls = new Map<string, { -readonly [Field in keyof CallCost]: CallCost[Field] }>();
  private readonly tasks = new TaskCosts();
  private readonly initial: { readonly areas: number; readonly lazyPages: number };
  private readonly cyclesPerUsec: number;
  /** By CPU: interrupts that found the traced one idle since it last began to be, and those that the emulated one had taken by then. */
  private readonly idleInterrupts: number[];
  private readonly takenBefore: number[];
  /** When the trace's first event is: after what was made before it. */
  private readonly originCycles: number;
  private waiting = 0;
  /** The time of each traced CPU's last event so far. */
  private readonly lastSeconds: number[];
  private allocatedBytes = 0;
  private atTracedAddress = 0;

  constructor(survey: FtraceSurvey, options: FtraceOptions, skipped: SkipList) {
    this.subject = new TracedKernel(survey, options, skipped);
    const { kernel, followsTrace } = this.subject;
    this.kernel = kernel;
    this.survey = survey;
    this.skipped = skipped;
    this.traced = new TracedCalls((reason, line) => skipped.add(reason, line));
    const { cpus } = kernel.machine.loop;
    this.steps = Array.from({ length: cpus }, () => []);
    this.isIdle = new Array<boolean>(cpus).fill(false);
    this.ended = this.steps.map(() => null);
    this.lastSeconds = new Array<number>(survey.cpus).fill(survey.firstSeconds);
    if (followsTrace) kernel.vm.drainWork = null;
    this.maker = new CallMaker(kernel, followsTrace, survey);
    this.uses = new TracedUses(kernel);
    this.cyclesPerUsec = this.subject.cyclesPerSecond / 1e6;
    this.idleInterrupts = new Array<number>(survey.cpus).fill(0);
    this.takenBefore = new Array<number>(cpus).fill(0);
    this.initial = makeInitialAreas(kernel, survey, this.traced, (address) => this.maker.here(address));
    this.originCycles = Math.max(...kernel.machine.loop.clockCycles) + LEAD_CYCLES;
    this.subject.startCounting();
  }

  /** Notes what an event of line `line` says; calls are made batch by batch. */
  make(event: FtraceEvent, line: number): void {
    const { traced } = this.subject;
    this.lastSeconds[event.cpu] = event.seconds;
    if (event.event === "idle") {
      this.addIdle(event);
    } else if (event.event === "user") {
      this.addStep(event.cpu, { isInUser: event.isInUser, atCycles: this.cyclesOf(event.seconds) });
      return;
    } else if (event.event === "use") {
      this.addUse(event);
      return;
    } else if (event.event === "fault") {
      const { errorCode } = event;
      const atCycles = this.cyclesOf(event.seconds);
      if (event.isUser) this.addStep(event.cpu, { faultAt: Number(event.address), errorCode, atCycles });
      return;
    } else if (event.event === "switch") {
      if (!this.survey.tasks.hasSwitchMm) this.addSwitch(event, line);
      return;
    } else if (event.event === "tlb" || event.event === "ipi" || event.event === "handler") {
      return;
    } else if (event.event === "purge") {
      traced.purges++;
      traced.areasPurged += event.areas;
    }
    const call = this.traced.next(event, line);
    if (call === null) return;
    if (call.kind === "vm_unmap_aliases" || call.kind === "purge") traced.explicitPurges++;
    this.maker.expect(call);
    this.addCall(call);
    if (++this.waiting >= BATCH_CALLS) this.runBatch(false);
  }

  /** Makes what is left, after the last event. */
  finish(): void {
    this.runBatch(true);
    this.kernel.runUntilIdle();
  }

  /** Reports what was made, once it is finished. */
  report(trace: string): FtraceReport {
    const { subject, survey } = this;
    // A kernel without the tracepoint has been seen by a probe.
    if (subject.traced.purges === 0) subject.traced.purges = survey.purgesProbed;
    const costs = [...this.calls].sort(([a], [b]) => (a < b ? -1 : 1));
    const sum = (names: readonly string[], of: (cost: CallCost) => number): number =>
      costs.filter(([name]) => names.includes(name)).reduce((total, [, cost]) => total + of(cost), 0);
    const made = (cost: CallCost): number => cost.made;
    const cycles = (cost: CallCost): number => cost.cycles;
    const report = subject.report(trace);
    return {
      ...report,
      ...(survey.tasks.faults === undefined
        ? {}
        : { pageFaults: { traced: survey.tasks.faults, emulated: this.maker.faults } }),
      differences: [...report.differences, ...this.uses.differences()],
      initial: this.initial,
      areas: {
        allocated: sum(ALLOCATING, made),
        bytes: this.allocatedBytes,
        atTracedAddress: this.atTracedAddress,
        freed: sum(FREEING, made),
        failed: sum(ALLOCATING, ({ failed }) => failed),
        live: this.traced.liveAllocations,
      },
      allocCycles: sum(ALLOCATING, cycles),
      freeCycles: sum(FREEING, cycles),
      calls: Object.fromEntries(costs),
      byTask: this.tasks.costs(this.kernel.vm.flushing.keepAccounts()),
    };
  }

  private cyclesOf(seconds: number): number {
    return this.originCycles + (seconds - this.survey.firstSeconds) * this.subject.cyclesPerSecond;
  }

  /** Within a call a CPU is idle because the call sleeps: so it will here. */
  private addIdle({ cpu, isIdle, seconds }: FtraceEvent & { event: "idle" }): void {
    const isInCall = this.traced.earliestOpen(cpu) < Number.POSITIVE_INFINITY;
    const atCycles = this.cyclesOf(seconds);
    if (isInCall) return;
    const steps = this.steps[cpu % this.steps.length];
    const last = steps.at(-1);
    if (!isIdle) {
      steps.push({ wokenCycles: atCycles, interrupts: this.idleInterrupts[cpu] });
    } else if (
      last !== undefined &&
      "wokenCycles" in last &&
      atCycles - last.wokenCycles < INTERRUPTION_USEC_MAX * this.cyclesPerUsec
    ) {
      // An interrupt woke it, as one will here, when it must still be found idle.
      steps.pop();
      this.idleInterrupts[cpu]++;
    } else {
      steps.push({ idleFromCycles: atCycles });
      this.idleInterrupts[cpu] = 0;
    }
  }

  /** Idle until a traced time, and until the interrupts that came before it have come here too, if they are not much later. */
  private *beIdle(cpu: number, untilCycles: number, interrupts: number): KernelCode<void> {
    const { loop } = this.kernel.machine;
    const { taken } = this.kernel.vm.flushing.smp;
    yield* this.pass(cpu, untilCycles);
    const latestCycles = untilCycles + LATER_USEC_MAX * this.cyclesPerUsec;
    while (this.isIdle[cpu] && taken[cpu] - this.takenBefore[cpu] < interrupts && loop.nowCycles() < latestCycles)
      yield* sleepUntil(loop, Math.min(latestCycles, loop.nowCycles() + LATER_STEP_CYCLES));
    this.isIdle[cpu] = false;
  }

  /** What uses memory within a call is done by the call again. */
  private addUse(event: FtraceEvent & { event: "use" }): void {
    if (this.traced.isInCall(event.task)) return;
    const use = this.uses.of(event, this.traced);
    if (use !== null) this.addStep(event.cpu, { use, atCycles: this.cyclesOf(event.seconds) });
  }

  /** Kernel threads go on with the address space that is loaded, and so does a task that runs again. */
  private addSwitch(event: FtraceEvent & { event: "switch" }, line: number): void {
    const mm = this.survey.tasks.mmOf(event.nextPid);
    if (mm === null && !this.survey.tasks.hasProcesses) return;
    const call = this.traced.switchTo(event, mm, line);
    this.maker.expect(call);
    this.addStep(event.cpu, { call });
  }

  /** A call is known when it has ended. A drain, which a kworker makes, began before calls that its CPU's tasks have made meanwhile. */
  private addCall(call: TracedCall): void {
    const steps = this.steps[call.cpu % this.steps.length];
    const beginCycles = this.cyclesOf(call.seconds);
    let at = steps.length;
    if (call.kind === "drain") while (at > 0 && this.beginOf(steps[at - 1]) > beginCycles) at--;
    steps.splice(at, 0, { call });
  }

  private addStep(tracedCpu: number, step: Step): void {
    this.steps[tracedCpu % this.steps.length].push(step);
  }

  /**
   * Lets all CPUs go on to where the earliest call began that has not ended yet: no CPU must be far ahead of one that has still to call it.
   * @param isLast whether nothing more comes: then they make all that is left
   */
  private runBatch(isLast: boolean): void {
    const { loop } = this.kernel.machine;
    this.waiting = 0;
    let upTo = Math.max(...this.lastSeconds);
    const longAgo = upTo - CALL_SECONDS_MAX;
    for (let cpu = 0; cpu < this.survey.cpus; cpu++) {
      upTo = Math.min(upTo, this.traced.earliestOpen(cpu, longAgo));
      this.addStep(cpu, { untilCycles: this.cyclesOf(Math.min(this.lastSeconds[cpu], upTo)) });
    }
    const limit = isLast ? Number.POSITIVE_INFINITY : this.cyclesOf(upTo);
    for (let cpu = 0; cpu < loop.cpus; cpu++) {
      if (this.steps[cpu].length > 0) this.kernel.spawn(`trace/${cpu}`, cpu, this.makeSteps(cpu, limit));
    }
    loop.run();
  }

  /** The thread of a CPU: what there is to do up to a time. */
  private *makeSteps(cpu: number, limitCycles: number): KernelCode<void> {
    const steps = this.steps[cpu];
    const count = steps.findIndex((step) => this.beginOf(step) > limitCycles);
    let lastUse = Number.NEGATIVE_INFINITY;
    for (const step of steps.splice(0, count < 0 ? steps.length : count)) {
      if ("call" in step) {
        yield* this.pass(cpu, this.startOf(cpu, step.call));
        this.enterMode(cpu, false);
        yield* this.makeCall(cpu, step.call);
        this.ended[cpu] = {
          tracedCycles: this.cyclesOf(step.call.seconds + step.call.tookSeconds),
          cycles: this.kernel.machine.loop.nowCycles(),
        };
        lastUse = this.ended[cpu].tracedCycles;
      } else if ("idleFromCycles" in step) {
        yield* this.pass(cpu, step.idleFromCycles);
        this.enterMode(cpu, false);
        this.isIdle[cpu] = true;
        this.takenBefore[cpu] = this.kernel.vm.flushing.smp.taken[cpu];
        this.ended[cpu] = null;
      } else if ("wokenCycles" in step) {
        yield* this.beIdle(cpu, step.wokenCycles, step.interrupts);
      } else if ("use" in step) {
        // One use right after the other, or after a call, is one piece of work; its time is when its walk had ended.
        const atCycles = this.afterLast(cpu, step.atCycles);
        if (step.atCycles - lastUse > USES_APART_CYCLES) yield* this.pass(cpu, atCycles);
        lastUse = step.atCycles;
        yield* this.maker.untilMade(step.use.allocation);
        this.uses.make(step.use, atCycles);
      } else if ("faultAt" in step) {
        yield* this.pass(cpu, this.afterLast(cpu, step.atCycles));
        yield* this.maker.fault(step.faultAt, step.errorCode);
      } else if ("isInUser" in step) {
        yield* this.pass(cpu, this.afterLast(cpu, step.atCycles));
        this.enterMode(cpu, step.isInUser);
      } else {
        yield* this.pass(cpu, step.untilCycles);
        this.isIdle[cpu] = false;
      }
    }
  }

  /**
   * Takes a CPU to user mode or into the kernel, if it is not there. A trace may lack the event that says so: it was lost, it was not recorded,
   * or several traced CPUs are one here. Then a call of the kernel, or being idle, says that the CPU is in the kernel.
   */
  private enterMode(cpu: number, isInUser: boolean): void {
    const { userMode } = this.kernel.vm.flushing;
    if (userMode.isInUser(cpu) === isInUser) return;
    if (isInUser) userMode.enterUser();
    else userMode.enterKernel();
  }

  private beginOf(step: Step): number {
    if ("call" in step) return this.cyclesOf(step.call.seconds);
    if ("idleFromCycles" in step) return step.idleFromCycles;
    if ("wokenCycles" in step) return step.wokenCycles;
    return "atCycles" in step ? step.atCycles : step.untilCycles;
  }

  /**
   * When a call begins: when it did, or earlier if the CPU was not idle since the call before and that has ended earlier here. A task that
   * makes call after call makes the next one sooner where one takes less time.
   */
  private startOf(cpu: number, call: TracedCall): number {
    return this.afterLast(cpu, this.cyclesOf(call.seconds) + (call.line % TIE_LINES) / TIE_LINES);
  }

  /** A traced time, or earlier: as long after the end of the CPU's last call as it was. */
  private afterLast(cpu: number, atCycles: number): number {
    const before = this.ended[cpu];
    if (before === null) return atCycles;
    return Math.min(atCycles, before.cycles + Math.max(0, atCycles - before.tracedCycles));
  }

  /** Lets time pass on the current CPU: idle, or with what the trace does not show. */
  private *pass(cpu: number, untilCycles: number): KernelCode<void> {
    const { loop, preset } = this.kernel.machine;
    if (!this.survey.hasIdle || this.isIdle[cpu]) {
      yield* sleepUntil(loop, untilCycles);
      return;
    }
    const pollCycles = POLL_USEC * 1000 * preset.frequencyGhz.value;
    const busySince = loop.nowCycles();
    while (loop.nowCycles() < untilCycles) {
      const now = loop.nowCycles();
      yield* spinUntil(loop, Math.min(untilCycles, now + Math.max(pollCycles, (now - busySince) / BUSY_TIME_PARTS)));
      if (loop.needsResched()) yield PAUSE_RESCHED;
    }
    // Where it is late already, CPUs that are behind it still come first.
    while (loop.mustYield()) yield PAUSE_TURN;
  }

  private *makeCall(cpu: number, call: TracedCall): KernelCode<void> {
    const { loop } = this.kernel.machine;
    const { records } = this.kernel.vm.flushing.keepAccounts();
    const flushesBefore = records.length;
    const outer = loop.enterActivity(loop.accounts.activity(call.kind));
    const since = loop.nowCycles();
    const outcome = yield* this.maker.make(call);
    const cycles = loop.nowCycles() - since;
    loop.enterActivity(outer);
    if (outcome === "made" && !isFree(call) && !this.survey.hasUses) this.maker.touch(call);
    let cost = this.calls.get(call.kind);
    if (cost === undefined) {
      cost = { made: 0, failed: 0, cycles: 0, tracedSeconds: 0 };
      this.calls.set(call.kind, cost);
    }
    if (outcome === "made") cost.made++;
    else cost.failed++;
    cost.cycles += cycles;
    cost.tracedSeconds += call.tookSeconds;
    if (outcome === "not there") this.skipped.add("frees what could not be allocated here", call.line);
    if (outcome === "made" && ALLOCATING.includes(call.kind)) this.countAllocation(call);
    const flushes: number[] = [];
    for (let i = flushesBefore; i < records.length; i++) if (records[i].cpu === cpu) flushes.push(i);
    this.tasks.add(call.task, cycles, flushes);
  }

  private countAllocation({ args, address, allocation }: TracedCall): void {
    this.allocatedBytes += Number(args.get("size") ?? (args.get("count") ?? 0n) * BigInt(PAGE_SIZE));
    if (allocation?.address === this.maker.here(address)) this.atTracedAddress++;
  }
}

const ALLOCATING: readonly string[] = ["vmalloc", "vmap", "vm_map_ram", "ioremap", "vrealloc", "area"];
const FREEING: readonly string[] = ["vfree", "vunmap", "vm_unmap_ram", "iounmap", "free area"];
