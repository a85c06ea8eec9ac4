import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { vmallocinfo } from "../../../../mm/index.ts";
import { tlbView } from "../../../../src/inspect/tlb-view.ts";
import { begin } from "../../../../src/view/model/begin.ts";
import { costView } from "../../../../src/view/model/cost-view.ts";
import { Journal } from "../../../../src/view/model/journal/journal.ts";
import { pictureOf } from "../../../../src/view/model/picture.ts";
import { DEFAULT_SCENARIO, type WorkloadScenario } from "../../../../src/view/model/scenario.ts";
import { Session } from "../../../../src/view/model/session.ts";
import { spaceView } from "../../../../src/view/model/space-view.ts";
import { tableViews } from "../../../../src/view/model/table-view.ts";
import { Tracks } from "../../../../src/view/model/tracks.ts";
import { walkView } from "../../../../src/view/model/walk-view.ts";

const scenario = (change: Partial<WorkloadScenario>): WorkloadScenario => ({
  ...DEFAULT_SCENARIO,
  cpus: 3,
  operations: 120,
  ...change,
});

/** Machines that differ in who changes what: purges, user address spaces, other CPUs' TLBs written from afar. */
const SCENARIOS: readonly WorkloadScenario[] = [
  scenario({ settings: { "lazy-max": "32" } }),
  scenario({ name: "user_processes" }),
  scenario({ name: "fork_storm" }),
  scenario({ name: "fs_buffer_cache", settings: { "lazy-max": "64" } }),
  scenario({ preset: "zen3", settings: { policy: "invlpgb", "lazy-max": "32" } }),
];

/** All that the page can show of a machine, as text. */
function shown({ kernel, tracks, told, position }: Session): string {
  const space = spaceView(kernel);
  const address = space.areas[0]?.start ?? space.rangeStart;
  const cpus = kernel.machine.cpus.map(({ id }) => [tlbView(kernel, id), walkView(kernel, id, address)]);
  const happened = [
    tracks.spansSince(0, 1e6),
    tracks.ipis.items,
    tracks.events.items,
    tracks.callPositions.items,
    costView(kernel, tracks),
    tracks.counters.since(0, position, 1e4),
    tracks.lastSearch,
  ];
  const clocks = [...kernel.machine.loop.clockCycles];
  return JSON.stringify([
    position,
    space,
    cpus,
    tableViews(kernel, 0, address),
    happened,
    told,
    clocks,
    kernel.log.lines,
  ]);
}

/** How a session of its own shows a position, for those asked for before. */
class Fresh {
  private readonly known = new Map<number, string>();
  private readonly of: WorkloadScenario;

  constructor(of: WorkloadScenario) {
    this.of = of;
  }

  at(position: number): string {
    const known = this.known.get(position);
    if (known !== undefined) return known;
    const session = new Session(this.of);
    session.goTo(position);
    const found = shown(session);
    this.known.set(position, found);
    return found;
  }
}

const MOVES = fc.array(
  fc.oneof(
    fc.record({ kind: fc.constant("go" as const), to: fc.nat(140) }),
    fc.record({ kind: fc.constant("back" as const), to: fc.integer({ min: 1, max: 12 }) }),
    fc.record({ kind: fc.constant("forward" as const), to: fc.integer({ min: 1, max: 6 }) }),
    fc.record({ kind: fc.constant("event" as const), to: fc.constant(1) }),
    fc.record({ kind: fc.constant("prepare" as const), to: fc.integer({ min: 1, max: 30 }) }),
  ),
  { minLength: 4, maxLength: 10 },
);

describe("going back", () => {
  it.each(SCENARIOS.map((each) => [each.name, each] as const))(
    "shows what a machine that was run to there shows, whichever way one goes: %s",
    (_name, of) => {
      const fresh = new Fresh(of);
      fc.assert(
        fc.property(MOVES, fc.boolean(), (moves, looks) => {
          const session = new Session(of);
          for (const { kind, to } of moves) {
            if (kind === "go") session.goTo(to);
            else if (kind === "back") session.goTo(Math.max(0, session.position - to));
            else if (kind === "event") session.forward("event");
            else if (kind === "prepare") {
              let left = to;
              session.prepare(() => --left < 0);
            } else for (let i = 0; i < to; i++) session.forward("step");
            if (looks)
              expect(shown(session) === fresh.at(session.position), `${kind} to ${session.position}`).toBe(true);
          }
          expect(shown(session) === fresh.at(session.position), `position ${session.position}`).toBe(true);
        }),
        { numRuns: 4 },
      );
    },
    60_000,
  );

  it("needs no other machine among the steps that are kept, and prepares more while nothing is asked for", () => {
    let booted = 0;
    const of = scenario({ operations: 4000 });
    const opener = () => {
      booted++;
      return begin(of);
    };
    // Without room for machines that wait for jumps.
    const session = new Session(of, opener, 0);
    session.runTo("end");
    const { position } = session;
    // One machine found the end, the other keeps its last steps: the first of them back needs no third.
    expect([booted, position > 2000, session.length]).toEqual([2, true, position]);
    session.back("step");
    session.forward("step");
    expect(booted).toBe(2);
    while (session.prepare(() => false));
    expect([booted, session.position, session.isOver]).toEqual([3, position, true]);
    const info = vmallocinfo(session.kernel.vm);
    for (let i = 1; i <= 900; i++) session.back("step");
    expect([booted, session.position]).toEqual([3, position - 900]);
    expect(vmallocinfo(session.kernel.vm)).not.toEqual(info);
    // Few are left: more are prepared behind the position, and it stays where it is.
    while (session.prepare(() => false));
    expect([booted, session.position]).toEqual([4, position - 900]);
    session.goTo(position);
    expect(vmallocinfo(session.kernel.vm)).toEqual(info);
    expect(session.verify()).toEqual([]);
  });

  it("keeps what happened before the first step that it keeps", () => {
    const of = scenario({ operations: 400, settings: { "lazy-max": "64" } });
    const session = new Session(of);
    session.goTo(200);
    while (session.position > 168) session.back("step");
    const fresh = new Session(of);
    fresh.goTo(168);
    expect(shown(session)).toBe(shown(fresh));
    expect(session.tracks.events.total).toBeGreaterThan(100);
  });

  it.each(SCENARIOS.map((each) => [each.name, each] as const))(
    "has nothing to take back of those who look at the machine, at any step: %s",
    (_name, of) => {
      const session = new Session(of);
      const { kernel, tracks } = session;
      const journal = new Journal(kernel, tracks, 0);
      for (let position = 1; position <= 60; position++) {
        session.forward("step");
        journal.add(position);
        const { keptBytes } = journal;
        for (const { id: cpu } of kernel.machine.cpus) {
          const [area] = pictureOf(session, { cpu, address: null }).space.areas;
          pictureOf(session, { cpu, address: area?.end ?? 0 });
        }
        journal.add(position);
        expect(journal.keptBytes, `step ${position}`).toBe(keptBytes);
      }
    },
  );

  it("keeps no more than it may: the oldest steps go", () => {
    const begun = begin(scenario({}));
    const tracks = new Tracks(begun.kernel);
    const journal = new Journal(begun.kernel, tracks, 0, 2 ** 14);
    for (let position = 1; position <= 60; position++) {
      begun.step();
      journal.add(position);
    }
    const kept = journal.behind;
    expect(kept).toBeGreaterThan(0);
    expect(kept).toBeLessThan(60);
    for (let i = 0; i < kept; i++) journal.back();
    expect([journal.behind, journal.ahead, journal.note]).toEqual([0, kept, 60 - kept]);
    for (let i = 0; i < kept; i++) journal.again();
    expect([journal.behind, journal.ahead, journal.note]).toEqual([kept, 0, 60]);
  });
});
