/** A line that cores of several clusters write: who gets it next, beside the simplest model of that. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { LateCpus } from "../../../arch/time/hold-queue.ts";
import { SharedLines } from "../../../arch/time/shared-lines.ts";
import { Topology } from "../../../arch/time/topology.ts";
import { comingApart, cyclesBetween } from "./coming-apart.ts";
import { tuplesOf } from "./late-tuples.ts";
import { nextToAct } from "./next-to-act.ts";

const NEAR = 24;
const FAR = 96;
const CLUSTERS = 3;
const CORES = 4;
const CPUS = CLUSTERS * CORES;
const TOPOLOGY = new Topology(CPUS, { sockets: 1, coresPerSocket: CPUS, threadsPerCore: 1, coresPerCluster: CORES });
const TRANSFERS = [0, 0, NEAR, FAR, FAR, FAR] as const;

/** What each CPU computes before each of its writes of the line, in cycles. */
type Programs = readonly (readonly { readonly computes: number }[])[];

/** Lines, and clocks that the test sets. */
function machine() {
  const clockCycles = new Float64Array(CPUS);
  const clock = {
    clockCycles,
    earliestCycles: 0,
    interrupts: { run: 1 },
    currentCpu: 0,
    topology: TOPOLOGY,
    delayForLine(late: LateCpus): void {
      for (const [cpu, , cycles] of tuplesOf(late)) if (cpu !== clock.currentCpu) clockCycles[cpu] += cycles;
    },
  };
  const lines = new SharedLines(clock);
  lines.transferCycles = TRANSFERS;
  const line = lines.make(1);
  /** `cpu` writes the line at its clock. */
  const write = (cpu: number): void => {
    clock.currentCpu = cpu;
    clock.earliestCycles = clockCycles[cpu];
    lines.write(line);
  };
  return { clock, write };
}

/**
 * CPUs run their programs, a turn at a time: always the one whose clock is furthest behind or, by arrival, the one that comes for the line first.
 * @returns their clocks at the end
 */
function inTurns(programs: Programs, byArrival = false): Float64Array {
  const { clock, write } = machine();
  const clocks = clock.clockCycles;
  const done = programs.map(() => 0);
  for (;;) {
    const cpu = nextToAct(programs, clocks, done, byArrival);
    if (cpu < 0) return clocks;
    clocks[cpu] += programs[cpu][done[cpu]++].computes;
    write(cpu);
  }
}

/**
 * The model: who waits longest has the line next, and behind it those of its cluster who came before it had got it, the longest waiting first.
 * @param fair who waits longest has it always
 * @returns when each CPU has written the last time
 */
function model(programs: Programs, fair = false): number[] {
  const clocks = programs.map(([first]) => first?.computes ?? Number.POSITIVE_INFINITY);
  const ends = programs.map(() => 0);
  const done = programs.map(() => 0);
  const clusterOf = (cpu: number) => TOPOLOGY.clusterOf[cpu];
  let freeAt = 0;
  let owner = -1;
  let leaderHadIt = 0;
  for (;;) {
    const waiting = clocks
      .flatMap((at, cpu) => (at < Number.POSITIVE_INFINITY ? [cpu] : []))
      .sort((a, b) => clocks[a] - clocks[b]);
    if (waiting.length === 0) return ends;
    const follows = (cpu: number) => clocks[cpu] < leaderHadIt && clusterOf(cpu) === clusterOf(owner);
    const follower = fair ? undefined : waiting.find(follows);
    const cpu = follower ?? waiting[0];
    const transfer = owner < 0 ? 0 : TRANSFERS[TOPOLOGY.distance(owner, cpu)];
    const end = Math.max(clocks[cpu], transfer === 0 ? 0 : freeAt) + transfer;
    freeAt = Math.max(freeAt, end);
    if (follower === undefined) leaderHadIt = end;
    owner = cpu;
    ends[cpu] = end;
    const next = programs[cpu][++done[cpu]];
    clocks[cpu] = next === undefined ? Number.POSITIVE_INFINITY : end + next.computes;
  }
}

/** Programs of all CPUs that compute as `computes` says before each of `turns` writes. */
const programsOf = (turns: number, computes: fc.Arbitrary<number>) =>
  fc
    .array(fc.array(fc.record({ computes }), { minLength: turns, maxLength: turns }), {
      minLength: CPUS,
      maxLength: CPUS,
    })
    .map(comingApart);

describe("a line that cores of several clusters write", () => {
  it("goes to those of the cluster that has it first, as in the model, when the loop runs CPUs in the order of their times", () => {
    fc.assert(
      fc.property(programsOf(12, fc.oneof(cyclesBetween(1, 60), cyclesBetween(1, 900))), (programs) => {
        const expected = model(programs);
        inTurns(programs, true).forEach((clock, cpu) => {
          expect(clock).toBeCloseTo(expected[cpu], 6);
        });
      }),
      { endOnFailure: true },
    );
  });

  it("goes round in about the time of the model when the loop runs CPUs ahead of each other", () => {
    fc.assert(
      fc.property(programsOf(60, cyclesBetween(100, 900)), (programs) => {
        const last = Math.max(...model(programs));
        expect(Math.abs(Math.max(...inTurns(programs)) - last)).toBeLessThan(0.2 * last);
      }),
      { numRuns: 20, endOnFailure: true },
    );
  });

  it("takes a time from cluster to cluster, and a short one for each further core that waits there", () => {
    // In the order in which they come for it the first time each is of another cluster than the one before.
    const first = (cpu: number) => ({ computes: 10 * ((cpu % CORES) * CLUSTERS + Math.floor(cpu / CORES)) + 1 });
    const programs = Array.from({ length: CPUS }, (_, cpu) => [
      first(cpu),
      ...Array.from({ length: 199 }, () => ({ computes: 400 })),
    ]);
    const perWrite = (clocks: ArrayLike<number>) => Math.max(...Array.from(clocks)) / (CPUS * 200);
    expect(perWrite(inTurns(programs, true))).toBeCloseTo((FAR + (CORES - 1) * NEAR) / CORES, 0);
    expect(perWrite(model(programs, true))).toBeGreaterThan(0.9 * FAR);
  });
});

describe("a core that comes for a line", () => {
  /** CPUs 0 (of cluster 0), 4 (of cluster 1) and `cpu` write a line that CPU 8 has, at 1000, 1010 and `at`; when each has it. */
  function threeCome(cpu: number, at: number): number[] {
    const { clock, write } = machine();
    write(8);
    for (const [who, comes] of [
      [0, 1000],
      [4, 1010],
      [cpu, at],
    ]) {
      clock.clockCycles[who] = comes;
      write(who);
    }
    return [0, 4, cpu].map((who) => clock.clockCycles[who]);
  }

  it("has it before others that wait while a core of its cluster has it or waits, else after them", () => {
    expect(threeCome(1, 1020)).toEqual([1096, 1192 + NEAR, 1096 + NEAR]);
    expect(threeCome(9, 1020)).toEqual([1096, 1192, 1288]);
    expect(threeCome(5, 1020)).toEqual([1096, 1192, 1192 + NEAR]);
  });

  it("comes after them when its cluster has lost the line", () => {
    expect(threeCome(1, 1100)).toEqual([1096, 1192, 1288]);
  });
});
