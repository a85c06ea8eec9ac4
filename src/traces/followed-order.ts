/** Lets CPUs of a replay take room for areas, free and purge them in the order in which the traced ones did, each area at its place. */
import type { EventLoop, KernelCode } from "../../arch/time/event-loop.ts";
import { type AreaPlacement, type LazyOrder, VMALLOC_END, type Vmalloc } from "../../mm/index.ts";
import { spinUntil } from "./spin-until.ts";
import { StepOrder } from "./step-order.ts";
import type { TracedCall, TracedStep } from "./traced-calls.ts";

/** How soon a CPU looks again whether it is its turn: mostly another one has a lock for as long. */
const TURN_AGAIN_CYCLES = 50;
/** How long it waits at most: what comes before may not happen here at all. */
const TURN_CYCLES_MAX = 100_000;
/** How long it waits at most for a place to become free: about as long as a purge takes for what it has flushed. */
const PLACE_CYCLES_MAX = 20_000;
/** Part of the vmalloc range, at its end, for areas whose traced places are not free. */
const SPARE_BYTES = 2 ** 40;

/** A step of the call under way. */
interface OwnStep extends Pick<TracedStep, "kind" | "sizeBytes" | "order"> {
  /** Where the area lies here. */
  readonly start: number;
}

/** The order of a trace. */
export class FollowedOrder implements AreaPlacement, LazyOrder {
  readonly spareStart = VMALLOC_END + 1 - SPARE_BYTES;
  private readonly loop: EventLoop;
  private readonly freeTree: Vmalloc["freeTree"];
  /** What is to be done of each kind. Allocations come in their order; frees come before or after purges, in any order among themselves. */
  private readonly expected = { alloc: new StepOrder(), free: new StepOrder(), purge: new StepOrder() };
  /** Purges that have still to ask for the lock. */
  private readonly locking = new StepOrder();
  /** What the call under way on each CPU has still to do. */
  private readonly steps: OwnStep[][];

  constructor(vm: Vmalloc) {
    this.loop = vm.loop;
    this.freeTree = vm.freeTree;
    this.steps = Array.from({ length: vm.loop.cpus }, () => []);
  }

  /** A call that will be made: what comes later in the trace waits for its steps. */
  expect({ steps }: TracedCall): void {
    for (const { kind, order } of steps) {
      this.expected[kind].expect(order);
      if (kind === "purge") this.locking.expect(order);
    }
  }

  /** The current CPU begins a call. @param here gives the place of a traced address */
  begin({ steps }: TracedCall, here: (address: bigint) => number): void {
    this.steps[this.loop.currentCpu] = steps.map(({ kind, address, sizeBytes, order }) => ({
      kind,
      start: here(address),
      sizeBytes,
      order,
    }));
  }

  /** The call has ended: what it has not done it never will. */
  end({ steps }: TracedCall): void {
    for (const step of steps) this.done(step);
  }

  wantedPlace(sizeBytes: number): number {
    return this.findPlace(sizeBytes)?.start ?? -1;
  }

  /** Waits for a purge too that has still to give the place back. */
  *turn(sizeBytes: number): KernelCode<void> {
    const { loop } = this;
    const { alloc, free, purge } = this.expected;
    const step = this.findPlace(sizeBytes);
    if (step === undefined) return;
    this.doneBefore(step);
    yield* this.spinUntilNext(step, alloc, free, purge);
    const giveUpCycles = loop.nowCycles() + PLACE_CYCLES_MAX;
    while (!this.isFree(step) && loop.nowCycles() < giveUpCycles)
      yield* spinUntil(loop, loop.nowCycles() + TURN_AGAIN_CYCLES);
  }

  placed(sizeBytes: number): void {
    this.doneUpTo(this.findPlace(sizeBytes));
  }

  *freeTurn(start: number): KernelCode<void> {
    const step = this.findFree(start);
    if (step === undefined) return;
    this.doneBefore(step);
    yield* this.spinUntilNext(step, this.expected.alloc, this.expected.purge);
  }

  freed(start: number): void {
    this.doneUpTo(this.findFree(start));
  }

  *purgeTurn(): KernelCode<void> {
    const step = this.findPurge();
    if (step !== undefined) yield* this.spinUntilNext(step, this.locking);
  }

  purgeAsked(): void {
    const step = this.findPurge();
    if (step !== undefined) this.locking.done(step.order);
  }

  *purging(): KernelCode<void> {
    const step = this.findPurge();
    if (step === undefined) return;
    this.doneBefore(step);
    yield* this.spinUntilNext(step, this.expected.free);
    this.doneUpTo(step);
  }

  private get own(): OwnStep[] {
    return this.steps[this.loop.currentCpu];
  }

  private findPlace(sizeBytes: number): OwnStep | undefined {
    return this.own.find((step) => step.kind === "alloc" && step.sizeBytes === sizeBytes);
  }

  private findFree(start: number): OwnStep | undefined {
    return this.own.find((step) => step.kind === "free" && step.start === start);
  }

  private findPurge(): OwnStep | undefined {
    return this.own.find(({ kind }) => kind === "purge");
  }

  private isFree({ start, sizeBytes }: OwnStep): boolean {
    return this.freeTree.holds(start, start + sizeBytes);
  }

  /** Waits while other CPUs have still to do what the traced ones did before. */
  private *spinUntilNext({ order }: OwnStep, ...before: StepOrder[]): KernelCode<void> {
    const { loop } = this;
    const giveUpCycles = loop.nowCycles() + TURN_CYCLES_MAX;
    while (!before.every((steps) => steps.isNext(order)) && loop.nowCycles() < giveUpCycles)
      yield* spinUntil(loop, loop.nowCycles() + TURN_AGAIN_CYCLES);
  }

  /** What the traced kernel did before a step in the same call has not come about here. */
  private doneBefore(step: OwnStep): void {
    const { own } = this;
    for (const each of own.splice(0, own.indexOf(step))) this.done(each);
  }

  private doneUpTo(step: OwnStep | undefined): void {
    if (step === undefined) return;
    this.doneBefore(step);
    this.own.shift();
    this.done(step);
  }

  private done({ kind, order }: Pick<TracedStep, "kind" | "order">): void {
    this.expected[kind].done(order);
    if (kind === "purge") this.locking.done(order);
  }
}
