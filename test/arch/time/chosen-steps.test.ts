import { describe, expect, it } from "vitest";
import { EventLoop, type KernelCode, PAUSE_TURN } from "../../../arch/index.ts";
import {
  ACTION_GO_ON,
  ACTION_INTERRUPT,
  ACTION_PREFETCH,
  type Action,
  actionOf,
  ChosenSteps,
  cpuOf,
  kindOf,
  type Scheduler,
} from "../../../arch/time/chosen-steps.ts";

/** What could happen at one place, and what was chosen. */
interface Choice {
  readonly actions: readonly string[];
  readonly current: number;
  readonly at: string;
  readonly taken: number;
}

const KINDS = ["go", "irq", "prefetch"];

function shown(action: Action): string {
  return `${KINDS[kindOf(action)]}${cpuOf(action)}`;
}

/** Follows a list of choices, and takes the first action where the list has ended. */
class Follower implements Scheduler {
  readonly choices: Choice[] = [];
  private readonly path: readonly number[];
  private readonly log: string[];
  prefetches: number;

  constructor(path: readonly number[], log: string[], prefetches = 0) {
    this.path = path;
    this.log = log;
    this.prefetches = prefetches;
  }

  choose(actions: readonly Action[], current: number, at: string): Action {
    const taken = this.path[this.choices.length] ?? 0;
    this.choices.push({ actions: actions.map(shown), current, at, taken });
    return actions[taken];
  }

  canPrefetch(cpu: number): boolean {
    return cpu === 1 && this.prefetches > 0;
  }

  prefetch(cpu: number): void {
    this.prefetches--;
    this.log.push(`prefetch${cpu}`);
  }
}

type Program = (loop: EventLoop, log: string[]) => void;

/** Runs a program once. */
function run(
  program: Program,
  path: readonly number[],
  prefetches = 0,
): { log: string[]; choices: Choice[]; loop: EventLoop } {
  const loop = new EventLoop(2);
  const log: string[] = [];
  const follower = new Follower(path, log, prefetches);
  loop.chosenSteps = new ChosenSteps(loop, follower);
  program(loop, log);
  loop.run();
  return { log, choices: follower.choices, loop };
}

/** The logs of every schedule of a program, in order. */
function allLogs(program: Program, prefetches = 0): string[] {
  const logs = new Set<string>();
  const paths: number[][] = [[]];
  for (let path = paths.pop(); path !== undefined; path = paths.pop()) {
    const { log, choices } = run(program, path, prefetches);
    logs.add(log.join(" "));
    for (let i = path.length; i < choices.length; i++) {
      const before = choices.slice(0, i).map(({ taken }) => taken);
      for (let other = 1; other < choices[i].actions.length; other++) paths.push([...before, other]);
    }
  }
  return [...logs].sort();
}

/** Steps of a thread, each of which looks whether it must give way. */
function* steps(loop: EventLoop, log: string[], names: readonly string[]): KernelCode<void> {
  for (const name of names) {
    while (loop.mustYield()) yield PAUSE_TURN;
    log.push(name);
    loop.spend(10);
  }
}

const twoThreads: Program = (loop, log) => {
  loop.spawn("a", 0, steps(loop, log, ["a1", "a2"]));
  loop.spawn("b", 1, steps(loop, log, ["b1", "b2"]));
};

describe("an action", () => {
  it("is a CPU and what it does", () => {
    for (const cpu of [0, 1, 7, 255]) {
      for (const kind of [ACTION_GO_ON, ACTION_INTERRUPT, ACTION_PREFETCH]) {
        expect([cpuOf(actionOf(cpu, kind)), kindOf(actionOf(cpu, kind))]).toEqual([cpu, kind]);
      }
    }
  });
});

describe("chosen steps", () => {
  it("reach every order of two threads' steps, and no other", () => {
    expect(allLogs(twoThreads)).toEqual([
      "a1 a2 b1 b2",
      "a1 b1 a2 b2",
      "a1 b1 b2 a2",
      "b1 a1 a2 b2",
      "b1 a1 b2 a2",
      "b1 b2 a1 a2",
    ]);
  });

  it("ask with the CPU under way first, and its going on is the first choice", () => {
    const { choices, log } = run(twoThreads, []);
    expect(log).toEqual(["a1", "a2", "b1", "b2"]);
    expect(choices[0]).toMatchObject({ actions: ["go0", "go1"], current: -1, at: "pause" });
    expect(choices[1]).toMatchObject({ actions: ["go0", "go1"], current: 0, at: "before" });
    for (const { actions, current } of choices) {
      expect(new Set(actions).size).toBe(actions.length);
      if (current >= 0) expect(actions[0]).toBe(`go${current}`);
    }
    // Once the first thread has ended, only the second is left.
    expect(choices.at(-1)).toMatchObject({ actions: ["go1"], current: 1 });
  });

  it("let others act at a point in plain code, which goes on when they have paused or ended", () => {
    const program: Program = (loop, log) => {
      // biome-ignore lint/correctness/useYield: plain code
      function* plain(): KernelCode<void> {
        log.push("a1");
        loop.point("between", "a subject");
        log.push("a2");
      }
      loop.spawn("a", 0, plain());
      loop.spawn("b", 1, steps(loop, log, ["b1", "b2"]));
    };
    expect(allLogs(program)).toEqual([
      "a1 a2 b1 b2",
      "a1 b1 a2 b2",
      "a1 b1 b2 a2",
      "b1 a1 a2 b2",
      "b1 a1 b2 a2",
      "b1 b2 a1 a2",
    ]);
    const { choices } = run(program, [0]);
    expect(choices[1]).toMatchObject({ at: "between", current: 0, actions: ["go0", "go1"] });
    const { loop } = run(program, [0, 1]);
    expect(loop.currentThread).toBeNull();
  });

  it("let a CPU take an interrupt that is under way where interrupts are on: at points, not in code that says otherwise", () => {
    const at =
      (isOff: boolean): Program =>
      (loop, log) => {
        // biome-ignore lint/correctness/useYield: plain code
        function* plain(): KernelCode<void> {
          log.push("a1");
          if (isOff) loop.pointIrqsOff("between");
          else loop.point("between");
          log.push("a2");
        }
        loop.spawn("a", 0, plain());
        loop.postInterrupt(0, 5, () => log.push("irq"));
      };
    expect(allLogs(at(false))).toEqual(["a1 a2 irq", "a1 irq a2", "irq a1 a2"]);
    expect(allLogs(at(true))).toEqual(["a1 a2 irq", "irq a1 a2"]);
  });

  it("prefetch wherever anything else can happen, on CPUs that have something to", () => {
    const logs = allLogs(twoThreads, 1);
    expect(logs).toContain("a1 prefetch1 a2 b1 b2");
    expect(logs).toContain("b1 a1 b2 prefetch1 a2");
    expect(logs).toContain("a1 a2 b1 b2");
    // Nothing is prefetched when all is done.
    expect(logs.filter((log) => log.endsWith("prefetch1"))).toEqual([]);
    // Before each of four steps, or never: in each of the six orders.
    expect(logs.length).toBe(6 * 5);
  });

  it("count time on, but it decides nothing", () => {
    const { loop } = run(twoThreads, [1, 0, 0]);
    expect([...loop.clockCycles]).toEqual([20, 20]);
  });
});
