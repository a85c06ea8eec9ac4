/**
 * Schedules that need not be tried because another one that is tried comes to the same: sleep sets (Godefroid, "Partial-order methods
 * for the verification of concurrent systems", 1996), for the steps whose independence can be observed.
 *
 * A step of kernel code may read whatever it likes, so two of them count as dependent. A prefetch may not: it reads the entries that
 * lead to the watched addresses, and writes what its own CPU caches. A step of another CPU is independent of it when it reaches for
 * nothing of that CPU (not its TLBs, which oracles and broadcasts do), leaves those entries as they are, and the prefetch did not have
 * to set A bits. Then "prefetch, step" comes to what "step, prefetch" comes to, and is ended as soon as the step is over.
 *
 * With a bound on preemptions that alone would lose schedules: the other one may need more of them (Coons, Musuvathi and McKinley,
 * "Bounded partial-order reduction", OOPSLA 2013). So the cost of both is compared, and a schedule is ended only where the other one
 * costs no more, whatever follows. The other one is also the earlier of the two in the order of the search. So the earliest of all
 * schedules within the bound that come to the same is never left out, and nothing that can be found is lost.
 */
import { ACTION_PREFETCH, type Action, type Cpu, cpuOf, kindOf, type Machine } from "../../../arch/index.ts";

/** The schedule so far comes to the same as one that is tried: ends it. */
export class Redundant extends Error {
  override readonly name = "Redundant";
}

/** Nothing sleeps; a prefetch is chosen; the step after it is under way. */
type Phase = "none" | "prefetch" | "step";

/** Knows while a schedule runs whether it is such a one. */
export class SleepSet {
  private readonly cpus: readonly Cpu[];
  private readonly watched: readonly number[];
  /** 1 for each CPU that some step has reached for. */
  private readonly isTouched: Uint8Array;
  private phase: Phase = "none";
  /** The CPU that prefetches. */
  private cpu = 0;
  /** What could have happened instead of the prefetch, and whether code was under way there. */
  private alternatives: readonly Action[] = [];
  private wasUnderWay = false;
  /** The entries that lead to the watched addresses, before the prefetch. */
  private walks = "";
  /** Preemptions that this schedule has needed for the prefetch and the step, and the other one for the step. */
  private cost = 0;
  private otherCost = 0;

  /** @param watched the addresses whose translations CPUs may prefetch */
  constructor({ cpus }: Machine, watched: readonly number[]) {
    this.watched = watched;
    this.cpus = [...cpus];
    this.isTouched = new Uint8Array(cpus.length);
    for (const cpu of this.cpus) {
      const get = (): Cpu => {
        this.isTouched[cpu.id] = 1;
        return cpu;
      };
      Object.defineProperty(cpus, cpu.id, { get, enumerable: true, configurable: true });
    }
  }

  /** A schedule begins. */
  begin(): void {
    this.phase = "none";
  }

  /**
   * Whether the schedule up to here comes to the same as one that is tried.
   * @param isUnderWay whether code is under way that something else would preempt
   */
  isRedundant(isUnderWay: boolean): boolean {
    if (this.phase !== "step") return false;
    this.phase = "none";
    if (this.isTouched[this.cpu] !== 0 || this.otherCost + Number(isUnderWay) > this.cost) return false;
    return this.walks === this.walksNow();
  }

  /** `actions[index]` happens next. */
  chosen(actions: readonly Action[], index: number, isUnderWay: boolean): void {
    const action = actions[index];
    const preempts = isUnderWay && index > 0;
    if (kindOf(action) === ACTION_PREFETCH) this.beginPrefetch(action, actions, isUnderWay);
    else if (this.phase === "prefetch") this.beginStep(action, preempts);
    else this.phase = "none";
  }

  private beginPrefetch(action: Action, actions: readonly Action[], isUnderWay: boolean): void {
    this.phase = "prefetch";
    this.cpu = cpuOf(action);
    this.alternatives = [...actions];
    this.wasUnderWay = isUnderWay;
    this.walks = this.walksNow();
  }

  private beginStep(action: Action, preempts: boolean): void {
    const { wasUnderWay } = this;
    const alternative = this.alternatives.indexOf(action);
    const canBeFirst = alternative >= 0 && this.walks === this.walksNow();
    this.phase = canBeFirst ? "step" : "none";
    this.cost = Number(wasUnderWay) + Number(preempts);
    this.otherCost = Number(wasUnderWay && alternative > 0);
    this.isTouched.fill(0);
  }

  private walksNow(): string {
    const cpu = this.cpus[this.cpu];
    const walks = this.watched.map((la) => {
      // In a guest the second stage decides too, which the outcome and the machine's address show.
      const { levels, outcome, physical } = cpu.probe(la);
      return [outcome, physical, levels.map(({ entryAddress, entry }) => [entryAddress, entry])];
    });
    return walks.join(";");
  }
}
